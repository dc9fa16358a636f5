"""What is found without samples, by what a cloud shows: off, attached to nothing, bound to nothing, empty."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv6Address
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from broker.inventory.models import ServerSnapshot
from broker.utilisation import detection, findings
from broker.utilisation.findings import FindingKind
from broker.utilisation.models import IdleFinding
from providers.contract import Key, Kind, SnapshotSpec
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.stories import road
from tests.stories.detecting import Desk, desk
from tests.stories.world import MONDAY

__all__ = ["desk"]


def test_a_disk_attached_to_nothing_is_found_when_it_was_seen_so_long_enough(desk: Desk) -> None:
    """From the first day that its cloud showed it so: until then it may have been attached by hand."""
    faults.inject(desk.world.clouds_url, Fault("jyt", "list", None, Mode.HTTP_5XX))
    assert desk.detect(days=2)["watched"] == 0
    faults.clear(desk.world.clouds_url)
    assert desk.detect()["watched"] == 1
    assert desk.detect(days=1)["watched"] == 1
    assert desk.open(FindingKind.UNATTACHED_VOLUME) == []
    assert desk.detect(days=2)["found"] == 1
    found = desk.only(FindingKind.UNATTACHED_VOLUME)
    assert (found.resource_id, found.first_day, found.days) == (desk.spare.id, desk.today - timedelta(days=3), 4)
    with desk.world.app.sessions.begin() as session:
        session.execute(
            text("UPDATE broker.resource SET server_id = :s WHERE id = :v"),
            {"s": desk.servers[0].id, "v": desk.spare.id},
        )
    desk.detect()
    assert desk.ended(found) == "in_use"
    with desk.world.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.resource SET server_id = NULL WHERE id = :v"), {"v": desk.spare.id})


def test_a_server_that_is_off_is_found_when_it_was_seen_so_long_enough(desk: Desk) -> None:
    """Seen off on three days; a day on which its cloud is silent ends nothing; running, it is let go."""
    provider = desk.world.app.providers("jyt")
    key = Key(Kind.SERVER, desk.servers[0].id, desk.servers[0].project_id)
    provider.power(key, on=False)
    desk.detect()
    faults.inject(desk.world.clouds_url, Fault("jyt", "list", None, Mode.HTTP_5XX))
    assert desk.detect(days=1)["silent"] == ["jyt"]
    assert desk.detect(days=1)["found"] == 1
    found = desk.only(FindingKind.OFF)
    assert (found.days, found.evidence[0].code) == (3, "seen.stopped")
    provider.power(key, on=True)
    desk.detect(days=1)
    assert desk.ended(found) == "in_use"


def test_a_server_that_samples_show_off_is_one_finding_not_two(desk: Desk, tmp_path: Path) -> None:
    """The samples know since when."""
    provider = desk.world.app.providers("jyt")
    key = Key(Kind.SERVER, desk.servers[0].id, desk.servers[0].project_id)
    provider.power(key, on=False)
    desk.measure(desk.servers[0].number, 6, tmp_path, vcpu="0", cpu_avg_pct="90")
    desk.detect()
    assert desk.only(FindingKind.OFF).policy == "off-measured"
    provider.power(key, on=True)


def test_an_address_without_a_host_and_a_snapshot_that_nobody_used(desk: Desk) -> None:
    """Both by the cloud's own ids, under the segment and the server that they belong to.

    A snapshot that a reclaim case keeps is not one of them.
    """
    provider = desk.world.app.providers("jyt")
    faults.leave_port(desk.world.clouds_url, "jyt", desk.segment.id, IPv6Address("3fff::1"))
    snapshot = SnapshotSpec(uuid7(), desk.servers[1].project_id, desk.servers[1].id, "before-upgrade")
    provider.create(snapshot)
    kept = SnapshotSpec(uuid7(), snapshot.project_id, snapshot.server_id, "kept")
    provider.create(kept)
    with desk.world.app.sessions.begin() as session:
        row = ServerSnapshot(
            id=kept.id, resource_id=kept.server_id, subject_id=uuid7(), ordered_at=desk.world.clock.now
        )
        session.add(row)
    assert desk.detect()["watched"] >= 2
    desk.detect(days=1)
    address, copy = desk.only(FindingKind.UNBOUND_ADDRESS), desk.only(FindingKind.UNUSED_SNAPSHOT)
    assert (address.resource_id, address.evidence[0].params["address"]) == (desk.segment.id, "3fff::1")
    assert (copy.resource_id, copy.evidence[0].params["name"]) == (desk.servers[1].id, "before-upgrade")
    assert (address.whole_resource, copy.whole_resource, address.monthly_fen) == (False, False, None)
    with desk.world.app.sessions.begin() as session:
        session.get_one(ServerSnapshot, kept.id).removed_at = desk.world.clock.now
    desk.detect(days=1)
    assert desk.detect(days=1)["watched"] == 0
    assert len(desk.open(FindingKind.UNUSED_SNAPSHOT)) == 2, "left behind once its case was over"
    for each in (snapshot, kept):
        provider.delete(Key(Kind.SNAPSHOT, each.id, each.project_id))


def test_a_segment_without_hosts_is_found_since_the_last_one_went(desk: Desk) -> None:
    """The segment of the servers is in use; one that never had a server is not."""
    items = [{"kind": "segment", "name": "empty", "zone": "private"}]
    request_id = road.up_to_order(desk.world, items=items)
    road.walk(desk.world)
    (empty,) = desk.world.rows("SELECT id FROM broker.resource WHERE request_id = :r", r=request_id)
    desk.detect(days=3)
    found = desk.only(FindingKind.EMPTY_SEGMENT)
    assert (found.resource_id, found.days) == (empty.id, 4)
    road.release(desk.world, request_id)
    road.walk(desk.world)
    desk.detect()
    assert desk.ended(found) == "gone"


def test_the_days_detection_is_made_at_its_hour_and_only_the_newest_is_carried(desk: Desk) -> None:
    """At four in the morning; a day that was missed says nothing that today does not."""
    desk.world.clock.now = MONDAY.replace(hour=19)  # three in the morning of Tuesday
    with desk.world.app.works.begin() as work:
        assert not detection.make(work)
    for _ in range(2):
        desk.world.clock.forward(days=1, hours=1)
        with desk.world.app.works.begin() as work:
            assert detection.make(work)
            assert not detection.make(work)
    with desk.world.app.sessions() as session:
        (errand,) = detection.due(session, desk.world.clock())
    newest = desk.world.scalar("SELECT id FROM broker.idle_scan ORDER BY day DESC LIMIT 1")
    assert errand.id == newest
    assert UUID(str(newest))


def test_what_is_only_watched_is_nobodys_finding(desk: Desk) -> None:
    """Reclaiming asks by id; it gets what has been found."""
    desk.detect()
    with desk.world.app.sessions() as session:
        watched = session.query(IdleFinding).filter(IdleFinding.cleared_at.is_(None)).first()
        assert watched is not None
        with pytest.raises(Exception, match=r"finding\.not_found"):
            findings.finding(session, watched.id)

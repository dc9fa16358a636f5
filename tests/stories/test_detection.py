"""What is idle is found day after day, once each, with reason and cost, and ends when somebody looks and it is not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from broker.inventory.models import ServerSnapshot
from broker.utilisation import detection, findings, looking, service, sizing
from broker.utilisation.collectors import Bench
from broker.utilisation.files import Found
from broker.utilisation.findings import Day, Evidence, Finding, FindingKind, Seen
from broker.utilisation.models import IdleFinding
from providers.contract import Key, Kind, SnapshotSpec
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.broker.utilisation.files import hours, row, write_csv
from tests.stories import road
from tests.stories.world import MONDAY, World

ZONE = ZoneInfo("Asia/Shanghai")

POLICIES = """
version: test-1
policies:
  - {name: idle, kind: server, days: 5, when: {all: [{metric: cpu_avg_pct, daily: mean, below: 5}]}, exempt: [kept]}
  - {name: off-measured, kind: server, days: 5, when: {all: [{metric: vcpu, daily: max, below: 1}]}}
  - {name: off, seen: stopped, days: 3}
  - {name: loose-volume, seen: unattached, days: 4, exempt: [kept]}
  - {name: empty, seen: empty, days: 4}
  - {name: loose-address, seen: unbound, days: 2}
  - {name: old-snapshot, seen: unused, days: 2}
exemptions:
  - {name: kept, reason: 灾备, resources: [%s]}
"""


_YEARS = itertools.count(1000, 1000)


class Desk:
    """A world with two servers, their disks, a spare disk and a segment, and the detection of its days."""

    def __init__(self, world: World, policies: Path) -> None:
        self.world, self.policies = world, policies
        found = world.rows("SELECT id, number, name, kind, project_id, sub_cloud_id FROM broker.resource ORDER BY id")
        self.servers = [r for r in found if r.kind == "server"]
        self.spare = next(r for r in found if r.name == "backup")
        self.segment = next(r for r in found if r.kind == "segment")
        self.exempt()

    def exempt(self, *numbers: str) -> None:
        self.policies.write_text(POLICIES % ", ".join(numbers))

    def detect(self, *, days: int = 0) -> dict[str, Any]:
        """What the machine does on the day ``days`` later, at its hour."""
        self.world.clock.forward(days=days)
        with self.world.app.works.begin() as work:
            errand = detection.today(work)
        app = self.world.app
        assert detection.detect(Bench(app.works, app.settings, app.providers), errand)
        return dict(self.world.scalar("SELECT outcome FROM broker.idle_scan ORDER BY day DESC LIMIT 1"))

    def open(self, kind: FindingKind) -> list[Finding]:
        with self.world.app.sessions() as session:
            return findings.current(session, kinds=[kind])

    def only(self, kind: FindingKind) -> Finding:
        (found,) = self.open(kind)
        return found

    def ended(self, finding: Finding) -> str | None:
        with self.world.app.sessions() as session:
            return findings.finding(session, finding.id).cleared_because

    def measure(self, number: str, days: int, folder: Path, until: datetime | None = None, **values: str) -> None:
        """Samples of whole days up to the midnight before now."""
        end = (until or self.world.clock()).astimezone(ZONE).replace(hour=0, minute=0)
        samples = [
            row(number, at, **values) for at in hours(end.astimezone(MONDAY.tzinfo) - timedelta(days=days), 24 * days)
        ]
        service.import_file(self.world.app.settings, write_csv(folder / "m.csv", samples), self.world.clock())

    def state(self, state: str) -> None:
        """The first server's, as a case's suspension sets it."""
        with self.world.app.sessions.begin() as session:
            statement = text("UPDATE broker.resource SET state = :s WHERE id = :id")
            session.execute(statement, {"s": state, "id": self.servers[0].id})

    @property
    def today(self) -> date:
        return self.world.clock().astimezone(ZONE).date()


@pytest.fixture
def desk(measured: World) -> Iterator[Desk]:
    """Nothing has been found, nothing measured, and it is the Monday of all stories."""
    world = measured
    assert world.app.settings.idle_policy_file is not None
    yield Desk(world, world.app.settings.idle_policy_file)
    world.clock.now = MONDAY
    faults.clear(world.clouds_url)
    for path in (world.app.settings.home / "utilisation").glob("hourly/*/*.parquet"):
        path.unlink()
    with world.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.idle_finding SET cleared_at = now(), cleared_because = 'gone'"))
        old = "UPDATE broker.idle_scan SET day = day - CAST(:n AS int), finished_at = now() WHERE day > '2026-01-01'"
        session.execute(text(old), {"n": next(_YEARS)})


def test_an_idle_server_is_found_with_its_days_figures_and_cost(desk: Desk, tmp_path: Path) -> None:
    """The run that goes on, since when, by which figures, and what a month of the server costs by the tariff."""
    number = desk.servers[0].number
    desk.measure(number, 9, tmp_path)
    assert desk.detect()["found"] == 1
    found = desk.only(FindingKind.IDLE)
    assert (found.resource_id, found.policy, found.policy_version) == (desk.servers[0].id, "idle", "test-1")
    assert (found.first_day, found.last_day, found.days) == (
        desk.today - timedelta(days=9), desk.today - timedelta(days=1), 9,
    )  # fmt: skip
    assert found.evidence[0].params["metric"] == "cpu_avg_pct"
    assert found.evidence[0].params["greatest"] == 1.5
    assert found.monthly_fen
    assert found.monthly_fen > 1000
    assert found.whole_resource


def test_a_day_is_detected_once_and_the_next_one_goes_on_with_the_same_finding(desk: Desk, tmp_path: Path) -> None:
    """Carried twice it adds nothing; a day later the run is a day longer; busy again, it ends and says so."""
    number = desk.servers[0].number
    desk.measure(number, 6, tmp_path)
    desk.detect()
    first = desk.only(FindingKind.IDLE)
    assert desk.detect()["found"] == 0
    assert desk.only(FindingKind.IDLE) == first
    assert (
        len(desk.world.rows("SELECT FROM broker.idle_finding WHERE cleared_at IS NULL AND found_at IS NOT NULL")) == 1
    )

    desk.world.clock.forward(days=1)
    desk.measure(number, 1, tmp_path)
    desk.detect()
    longer = desk.only(FindingKind.IDLE)
    assert (longer.id, longer.first_day, longer.days) == (first.id, first.first_day, first.days + 1)

    desk.world.clock.forward(days=4)
    desk.measure(number, 4, tmp_path, cpu_avg_pct="40")
    assert desk.detect()["cleared"] == 1
    assert desk.open(FindingKind.IDLE) == []
    assert desk.ended(first) == "in_use"


def test_a_long_run_is_continued_without_reading_all_of_it_again(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time all is read; then the policies' days and a margin; all of it again for a new version."""
    read: list[date | None] = []
    real = service.scan_store

    def scan(*given: Any, first: date | None = None) -> Iterator[Found]:
        read.append(first)
        return real(*given, first=first)

    monkeypatch.setattr(service, "scan_store", scan)
    number, window = desk.servers[0].number, timedelta(days=5) + looking.MARGIN
    desk.measure(number, 40, tmp_path)
    desk.detect()
    found = desk.only(FindingKind.IDLE)
    assert (found.days, read) == (40, [desk.today - window, None])

    desk.world.clock.forward(days=1)
    desk.measure(number, 1, tmp_path)
    for _ in range(2):
        read.clear()
        desk.detect()
        longer = desk.only(FindingKind.IDLE)
        assert (longer.id, longer.first_day, longer.days) == (found.id, found.first_day, 41)
        assert read == [desk.today - window]

    desk.policies.write_text(desk.policies.read_text().replace("test-1", "test-2").replace("below: 5", "below: 1.6"))
    desk.detect()
    assert (desk.only(FindingKind.IDLE).days, read[-1]) == (41, None)


def test_a_server_that_a_case_has_suspended_is_neither_idle_nor_off(desk: Desk, tmp_path: Path) -> None:
    """It is off because we stopped it, and its work is not charged: the finding ends, and none begins."""
    desk.measure(desk.servers[0].number, 6, tmp_path)
    desk.detect()
    found = desk.only(FindingKind.IDLE)
    key = Key(Kind.SERVER, desk.servers[0].id, desk.servers[0].project_id)
    desk.world.app.providers("jyt").power(key, on=False)
    desk.state("stopped")
    desk.measure(desk.servers[0].number, 6, tmp_path, vcpu="0", n_samples="24")
    desk.detect()
    assert desk.ended(found) == "suspended"
    desk.detect(days=2)
    desk.measure(desk.servers[0].number, 9, tmp_path, vcpu="0", n_samples="24")
    desk.detect(days=2)
    assert desk.open(FindingKind.OFF) == desk.open(FindingKind.IDLE) == []
    desk.state("active")
    desk.detect()
    assert desk.only(FindingKind.OFF).resource_id == desk.servers[0].id, "started by nobody, and charged again"
    desk.world.app.providers("jyt").power(key, on=True)


def test_a_run_that_nobody_measures_any_more_ends_as_not_measured(desk: Desk, tmp_path: Path) -> None:
    """Three days late is late; after that nobody can say."""
    desk.measure(desk.servers[0].number, 6, tmp_path)
    desk.detect()
    found = desk.only(FindingKind.IDLE)
    assert desk.detect(days=2)["going_on"] == 1
    desk.detect(days=2)
    assert desk.ended(found) == "not_measured"


@pytest.mark.parametrize("first", [{}, {"cpu_avg_pct": ""}], ids=["no samples", "without the metric"])
def test_a_gap_is_not_told_as_use(first: dict[str, str], desk: Desk, tmp_path: Path) -> None:
    """A day that nobody measured breaks the run; it is idle on each day that was: nobody says that it is in use."""
    number = desk.servers[0].number
    desk.measure(number, 6, tmp_path)
    desk.detect()
    found = desk.only(FindingKind.IDLE)
    gap = desk.world.clock() + timedelta(days=1)
    desk.world.clock.forward(days=5)
    if first:
        desk.measure(number, 1, tmp_path, until=gap, **first)
    desk.measure(number, 4, tmp_path)
    desk.detect()
    assert desk.ended(found) == "not_measured"


def test_samples_under_two_names_are_one_server(desk: Desk, tmp_path: Path) -> None:
    """By its number from a collector, by our id from a file: one finding; at work under either name it is at work."""
    server = desk.servers[0]
    desk.measure(server.number, 8, tmp_path)
    desk.measure(str(server.id), 8, tmp_path)
    assert desk.detect()["found"] == 1
    found = desk.only(FindingKind.IDLE)
    assert (found.resource_id, found.days) == (server.id, 8)
    desk.world.clock.forward(days=5)
    desk.measure(server.number, 5, tmp_path)
    desk.measure(str(server.id), 5, tmp_path, cpu_avg_pct="40")
    desk.detect()
    assert (desk.open(FindingKind.IDLE), desk.ended(found)) == ([], "in_use")


def test_two_runs_of_the_last_days_are_one_finding(desk: Desk, tmp_path: Path) -> None:
    """With a policy of one day, idle again after a busy day: the later run is what is found."""
    idle = "idle, kind: server, days: "
    desk.policies.write_text(desk.policies.read_text().replace(f"{idle}5", f"{idle}1"))
    number, now = desk.servers[0].number, desk.world.clock()
    desk.measure(number, 5, tmp_path)
    desk.measure(number, 1, tmp_path, until=now - timedelta(days=1), cpu_avg_pct="60", n_samples="13")
    assert desk.detect()["found"] == 1
    found = desk.only(FindingKind.IDLE)
    assert (found.first_day, found.days) == (desk.today - timedelta(days=1), 1)


def test_what_cannot_be_written_down_stops_nothing_else(desk: Desk) -> None:
    """One resource of which a cloud says what no database takes: the others are found, and it is counted."""
    with desk.world.app.works.begin() as work:
        said = (Evidence("x", {"name": "\0"}), Evidence("x", {}))
        seen = [
            Seen(r.id, FindingKind.OFF, "off", "", desk.today, desk.today, 1, (each,), 1, ripe=True)
            for r, each in zip(desk.servers, said, strict=True)
        ]
        done = findings.record(work, Day(desk.today, "t"), seen, {}, {})
    assert (done.found, done.left) == (1, 1)
    assert desk.only(FindingKind.OFF).resource_id == desk.servers[1].id


def test_a_cloud_that_answers_nonsense_hides_no_other(desk: Desk, tmp_path: Path) -> None:
    """Its adapter breaks: it counts as silent, what was measured is found all the same."""
    desk.measure(desk.servers[0].number, 6, tmp_path)

    def providers(code: str) -> Any:
        if code == "jyt":
            raise ZeroDivisionError
        return desk.world.app.providers(code)

    with desk.world.app.works.begin() as work:
        errand = detection.today(work)
    with capture_logs():
        assert detection.detect(Bench(desk.world.app.works, desk.world.app.settings, providers), errand)
    outcome = desk.world.scalar("SELECT outcome FROM broker.idle_scan ORDER BY day DESC LIMIT 1")
    assert (outcome["found"], outcome["silent"]) == (1, ["jyt"])


def test_a_detection_that_breaks_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks it, the row has a code, and it is due again in an hour, not for ever at once."""
    monkeypatch.setattr(looking, "look", lambda *_: 1 / 0)
    with desk.world.app.works.begin() as work:
        errand = detection.today(work)
    app = desk.world.app
    with capture_logs() as said:
        assert not detection.detect(Bench(app.works, app.settings, app.providers), errand)
    assert [each["event"] for each in said] == ["not detected"]
    (row,) = desk.world.rows("SELECT error_code, due_at FROM broker.idle_scan ORDER BY day DESC LIMIT 1")
    assert (row.error_code, row.due_at) == ("detection.broken", desk.world.clock() + timedelta(hours=1))


def test_an_exempted_resource_is_not_found_and_one_exempted_later_is_let_go(desk: Desk, tmp_path: Path) -> None:
    """Disaster recovery waits on purpose."""
    desk.measure(desk.servers[0].number, 6, tmp_path)
    desk.measure(desk.servers[1].number, 6, tmp_path)
    desk.exempt(desk.servers[0].number)
    assert desk.detect()["found"] == 1
    found = desk.only(FindingKind.IDLE)
    desk.exempt(desk.servers[0].number, desk.servers[1].number)
    desk.detect()
    assert desk.ended(found) == "exempted"


def test_a_policy_that_is_gone_takes_its_findings_with_it(desk: Desk, tmp_path: Path) -> None:
    """And a file that cannot be read changes nothing: the detection is due again."""
    desk.measure(desk.servers[0].number, 6, tmp_path)
    desk.detect()
    found = desk.only(FindingKind.IDLE)
    desk.policies.write_text("policies: [{name: x}]")
    with desk.world.app.works.begin() as work:
        errand = detection.today(work)
    app = desk.world.app
    assert not detection.detect(Bench(app.works, app.settings, app.providers), errand)
    assert desk.world.scalar("SELECT error_code FROM broker.idle_scan ORDER BY day DESC LIMIT 1") == "form.invalid"
    assert desk.only(FindingKind.IDLE) == found
    desk.policies.write_text("version: test-2\npolicies: [{name: off, seen: stopped, days: 3}]")
    desk.detect()
    assert desk.ended(found) == "policy_gone"


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


def test_right_sizing_goes_by_cores_peaks_and_enough_hours_of_each_figure(desk: Desk, tmp_path: Path) -> None:
    """Memory that is full at times is kept; what was measured once is unknown; a share of 64 cores is no share of 4."""
    first, second = desk.servers
    spec = desk.world.scalar("SELECT spec FROM broker.resource WHERE id = :id", id=first.id)
    vcpu, memory = spec["vcpu"], spec["memory_gib"]
    held = hours(desk.world.clock().replace(minute=0, second=0, microsecond=0) - timedelta(days=20), 20 * 24)
    little = {"cpu_avg_pct": "10", "cpu_max_pct": "12", "vcpu": str(vcpu)}
    full, once = f"{memory * 0.95}", {"mem_used_gib": ""}
    rows = [row(first.number, at, **little, mem_used_gib=full if n % 25 == 0 else "1") for n, at in enumerate(held)]
    big = {"cpu_avg_pct": "9", "cpu_max_pct": "10", "vcpu": str(vcpu * 8)}
    rows += [
        row(str(second.id), at, **(once if n else {}), **(big if n < 400 else little)) for n, at in enumerate(held)
    ]
    service.import_file(desk.world.app.settings, write_csv(tmp_path / "s.csv", rows), desk.world.clock())
    with desk.world.acting("audit") as work:
        servers = [each for each in sizing.servers_of(work) if each.resource.id in {first.id, second.id}]
    found = {each.resource_id: each for each in sizing.proposals(desk.world.app.settings, servers, desk.world.clock())}
    assert found[first.id].to_memory_gib == memory
    assert found[first.id].to_vcpu < vcpu
    assert second.id not in found, "it needs its cores, and of its memory nothing is known"

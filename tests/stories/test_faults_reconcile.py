"""Reconcile finds what the cloud has and the rows have not, and the reverse; it tells it once, and corrects nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from broker.delivery import begin, provision
from broker.delivery.reconcile import Drift, DriftKind, reconcile, sweep
from broker.delivery.service import Action
from broker.errors import Forbidden, NotFound
from broker.reclamation import steps
from broker.workflows.drift import compare
from providers.contract import AttachmentSpec, Key, Kind, ProjectLimits, ProjectSpec, VolumeSpec
from providers.errors import Temporary
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.stories import road, slate
from tests.stories.world import World

CLOUD = "jyt"


@pytest.fixture
def delivered(town: World) -> Any:
    """A delivered request, taken back after the test."""
    request_id = road.up_to_order(town)
    road.walk(town)
    assert town.request(request_id).state == "delivered"
    town.clock.forward(hours=1)
    yield request_id
    road.release(town, request_id)
    road.walk(town)
    sweep(town.app.tools(), CLOUD)


def drifts(world: World) -> list[tuple[str, str]]:
    return [(d.kind.value, d.key.kind.value) for d in reconcile(world.app.tools(), CLOUD)]


def named(world: World, request_id: UUID, name: str) -> Any:
    [row] = world.rows("SELECT * FROM broker.resource WHERE request_id = :r AND name = :n", r=request_id, n=name)
    return row


def test_where_all_is_in_its_place_nothing_is_found(delivered: UUID, town: World) -> None:
    """No false alarm: not after a delivery, nor while one is planned."""
    town.ask_health()
    planned = road.up_to_order(town)
    assert reconcile(town.app.tools(), CLOUD) == []
    assert town.scalar("SELECT count(*) FROM broker.notice WHERE code LIKE 'drift.%'") == 0
    road.walk(town)
    assert reconcile(town.app.tools(), CLOUD) == []
    town.clock.forward(hours=1)
    road.release(town, planned)
    road.walk(town)


def test_an_object_with_our_id_and_no_row_is_an_orphan_until_it_is_swept(delivered: UUID, town: World) -> None:
    """It is told once to the cloud's operators, and removed only on somebody's word."""
    project = named(town, delivered, "net").project_id
    stranger = VolumeSpec(uuid7(), project, "谁的盘", 5, "hdd")
    with_room(town, delivered)
    town.app.providers(CLOUD).create(stranger)
    for _ in range(2):
        [found] = reconcile(town.app.tools(), CLOUD)
        assert (found.kind, found.key.id, found.row_state) == (DriftKind.ORPHAN, stranger.id, "none")
        assert found.found == {"size_gib": 5}
    told = town.rows("SELECT role, params FROM broker.notice WHERE code = 'drift.orphan' AND params->>'id' = :i",
                     i=str(stranger.id))  # fmt: skip
    assert sorted(row.role for row in told) == ["cloud_operator", "operator"]
    events = town.rows("SELECT data FROM broker.audit_event WHERE action = 'sub_cloud.drifted'")
    assert [d["id"] for e in events for d in e.data["drifts"]].count(str(stranger.id)) == 1

    assert sweep(town.app.tools(), CLOUD, only=[uuid7()]) == [], "only what was named"
    assert [d.key.id for d in sweep(town.app.tools(), CLOUD, only=[stranger.id])] == [stranger.id]
    assert reconcile(town.app.tools(), CLOUD) == []
    slate.check(town)


def with_room(world: World, request_id: UUID) -> None:
    """Lift the cloud's own limits, which would refuse what nobody was granted."""
    row = named(world, request_id, "net")
    world.app.providers(CLOUD).change(ProjectSpec(row.project_id, "guiyun-jyt", ProjectLimits()))


def test_only_who_delivers_for_the_cloud_may_sweep(delivered: UUID, town: World) -> None:
    """Removing things from a cloud needs the duty, whoever asks."""
    with town.acting("approve.jyt") as work, pytest.raises(Forbidden):
        sweep(town.app.tools(), CLOUD, by=work.actor)
    with town.acting("deliver.jyt") as work:
        assert sweep(town.app.tools(), CLOUD, by=work.actor) == []


def test_a_late_create_after_giving_up_is_an_orphan(town: World) -> None:
    """The cloud accepted, said nothing, and acted when all was undone: found, and swept."""
    request_id = road.up_to_order(town)
    backup = named(town, request_id, "backup")
    with_volumes_to_spare = road.up_to_order(town)
    fault = Fault(CLOUD, "create", Kind.VOLUME, Mode.LATE, times=99, looks=99, object_id=backup.id)
    faults.inject(town.clouds_url, fault)
    walk_only(town, request_id)
    road.decide_all(town, request_id, Action.GIVE_UP)
    walk_only(town, request_id)
    assert town.request(request_id).state == "undelivered"
    faults.clear(town.clouds_url)
    faults.let_late_orders_act(town.clouds_url, CLOUD)
    found = reconcile(town.app.tools(), CLOUD)
    assert [(d.kind, d.key.id, d.row_state) for d in found] == [(DriftKind.ORPHAN, backup.id, "undone")]
    sweep(town.app.tools(), CLOUD)
    assert slate.in_the_clouds(town) == {}
    road.walk(town)
    town.clock.forward(hours=1)
    road.release(town, with_volumes_to_spare)
    road.walk(town)
    slate.check(town)


def walk_only(world: World, request_id: UUID) -> None:
    for row in road.jobs(world):
        if row.job.request_id == request_id:
            road.fulfil(world, row.job)


def test_a_late_create_beside_the_second_one_is_a_duplicate(town: World) -> None:
    """Two disks carry one id: delivered all the same; the one that does not count is swept, the other stays."""
    request_id = road.up_to_order(town)
    room = road.submit(town)
    road.approve(town, room)
    road.assess(town, room)  # granted, so that the project's limits leave room for a duplicate
    disk = named(town, request_id, "web-01-data1")
    faults.inject(town.clouds_url, Fault(CLOUD, "create", Kind.VOLUME, Mode.LATE, object_id=disk.id))
    road.walk(town)
    assert town.request(request_id).state == "delivered"
    assert slate.in_the_clouds(town)[Kind.VOLUME, disk.id] == 2
    [found] = reconcile(town.app.tools(), CLOUD)
    counts = named(town, request_id, "web-01-data1").ref
    assert (found.kind, found.key.id) == (DriftKind.DUPLICATE, disk.id)
    assert counts not in found.refs
    sweep(town.app.tools(), CLOUD)
    things = faults.things(town.clouds_url, CLOUD, kind=Kind.VOLUME)
    assert [t.ref for t in things if t.object_id == disk.id] == [counts]
    town.clock.forward(hours=1)
    slate.check(town, waiting=True)
    road.release(town, request_id)
    road.walk(town)


@pytest.mark.parametrize(("kind", "name"), [(Kind.SERVER, "web-02"), (Kind.VOLUME, "backup")])
def test_what_somebody_removed_behind_our_back_is_lost(kind: Kind, name: str, delivered: UUID, town: World) -> None:
    """The row stays as it is: what becomes of it is for people to decide, and no sweep touches it."""
    row = named(town, delivered, name)
    faults.vanish(town.clouds_url, CLOUD, kind, row.id)
    found = reconcile(town.app.tools(), CLOUD)
    assert (DriftKind.LOST, Key(kind, row.id, row.project_id)) in [(d.kind, d.key) for d in found]
    assert {d.kind for d in found} == {DriftKind.LOST}, "a disk of a lost server is missing its attachment, too"
    assert sweep(town.app.tools(), CLOUD) == []
    assert named(town, delivered, name).state == "active"


def test_another_size_and_another_server_are_reported(delivered: UUID, town: World) -> None:
    """Drift names what is expected and what is there."""
    provider = town.app.providers(CLOUD)
    with_room(town, delivered)
    backup, disk = named(town, delivered, "backup"), named(town, delivered, "web-01-data1")
    provider.change(VolumeSpec(backup.id, backup.project_id, backup.name, 300, "hdd"))
    other = named(town, delivered, "web-02")
    provider.delete(Key(Kind.ATTACHMENT, disk.id, disk.project_id))
    provider.create(AttachmentSpec(disk.id, disk.project_id, other.id))
    found = {d.key.id: d for d in reconcile(town.app.tools(), CLOUD)}
    assert {d.kind for d in found.values()} == {DriftKind.SIZE}
    assert (found[backup.id].expected, found[backup.id].found) == ({"size_gib": 200}, {"size_gib": 300})
    assert found[disk.id].expected == {"server_id": str(disk.server_id)}
    assert found[disk.id].found == {"server_id": str(other.id)}


def test_what_is_being_made_or_taken_back_is_no_drift(town: World) -> None:
    """A delivery on its way has objects without finished rows and rows without objects: that is its business."""
    request_id = road.up_to_order(town)
    [wanting] = road.jobs(town)
    tools = town.app.tools()
    begin.pin_hold(tools, wanting.job)
    road.patiently(lambda pace: provision.create_project(tools, wanting.job, pace))
    road.patiently(lambda pace: provision.create(tools, wanting.job, "segment", pace))
    assert drifts(town) == []
    road.fulfil(town, wanting.job)
    town.clock.forward(hours=1)
    road.release(town, request_id)
    [wanting] = road.jobs(town)
    steps.last_reading(tools, wanting.job)
    assert drifts(town) == []
    road.give_back(town, wanting.job)
    assert drifts(town) == []


def test_a_difference_that_has_gone_at_the_second_look_is_none(delivered: UUID, town: World) -> None:
    """Cloud and rows are not read at one instant: only what lasts is told."""
    faults.inject(town.clouds_url, Fault(CLOUD, "create", Kind.VOLUME, Mode.VANISH, delay_s=0.2))
    faults.inject(town.clouds_url, Fault(CLOUD, "list", Kind.VOLUME, Mode.SLOW, delay_s=0.4))
    stranger = VolumeSpec(uuid7(), named(town, delivered, "net").project_id, "一闪而过", 5, "hdd")
    with_room(town, delivered)
    town.app.providers(CLOUD).create(stranger)
    assert drifts(town) == []
    assert faults.unspent(town.clouds_url, CLOUD) == 0


def test_a_new_difference_is_told_again_and_a_dead_cloud_is_left_for_later(delivered: UUID, town: World) -> None:
    """The fingerprint of a drift holds what differs; a cloud that does not answer ends no round."""
    key = Key(Kind.VOLUME, uuid7(), uuid7())
    drift = Drift(DriftKind.SIZE, CLOUD, key, ("x",), "active", {"size_gib": 1}, {"size_gib": 2})
    assert drift.fingerprint == replace(drift).fingerprint
    assert drift.fingerprint != replace(drift, found={"size_gib": 3}).fingerprint
    faults.inject(town.clouds_url, Fault(CLOUD, "list", None, Mode.HTTP_5XX, times=2))
    with pytest.raises(Temporary):
        reconcile(town.app.tools(), CLOUD)
    compare(town.app, CLOUD)
    assert faults.unspent(town.clouds_url, CLOUD) == 0
    with pytest.raises(NotFound):
        sweep(town.app.tools(), "nowhere")

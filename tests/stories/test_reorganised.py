"""A system goes to another unit or into another system: resources, quota, cases, requests follow (Art. 28, 29)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from broker.chargeback import closing
from broker.chargeback.verify import verify
from broker.errors import BrokerError, Conflict, Forbidden, Invalid, NotFound
from broker.inventory import owners
from broker.inventory import repository as inventory
from broker.inventory.register import Ending
from broker.pricing.months import Month
from broker.reclamation import cases
from broker.reclamation import service as reclamation
from broker.region.loader import load
from broker.region.reading import read_region
from broker.region.schema import UnitChange
from broker.reorganisation import systems as reorganised
from broker.reorganisation import units
from broker.request import service as requests
from quotas import moving
from tests.quotas.world import somebody_waits
from tests.stories import reclaim, road, slate
from tests.stories.test_quota import limit, unit_of
from tests.stories.test_system_nodes import VCPU, agrees, counted, id_of
from tests.stories.world import World


def move(world: World, to: str = "wjw", *, were: str = "", **values: Any) -> None:
    """``were``: SQL that makes things as they might have been, in the same transaction."""
    with world.acting("approve.1") as work:
        if were:
            work.session.execute(text(were), values)
        reorganised.move(work, id_of(world), to=to, reason="机构改革", version=None)


def refusal(act: Any, *args: Any, **more: Any) -> tuple[str, object]:
    with pytest.raises(BrokerError) as refused:
        act(*args, **more)
    return refused.value.code, refused.value.problems[0].params.get("what")


def owners_of(world: World, request_id: UUID) -> set[tuple[str, str]]:
    rows = world.rows(
        "SELECT u.code, s.code AS system FROM broker.resource r JOIN broker.unit u ON u.id = r.unit_id"
        " JOIN broker.information_system s ON s.id = r.system_id WHERE r.request_id = :r AND r.state <> 'undone'",
        r=request_id,
    )
    return {(row.code, row.system) for row in rows}


def nothing_moves_it(world: World, case_id: UUID, server: UUID) -> UUID:
    """While something of it is on its way, or has no room, nobody moves it; a request that was given back meanwhile."""
    world.ask_health()
    other = road.up_to_order(world)
    assert refusal(move, world)[0] == "system.in_flight"
    road.walk(world)
    with world.acting("apply.jyt") as work:
        releases = reclamation.ask(work, other, reason="不再使用")
    assert refusal(move, world) == ("system.in_flight", world.request(other).number)
    with world.acting("deliver.jyt") as work:
        reclamation.confirm(work, releases[0].id)
    road.walk(world)
    limit(world, "wjw", VCPU, 3)
    assert refusal(move, world)[0] == "system.no_room"
    limit(world, "wjw", VCPU, 4)
    measuring = "UPDATE broker.reclaim_case SET state = 'measuring' WHERE id = :id"
    assert refusal(move, world, were=measuring, id=case_id)[0] == "system.in_flight"
    another, its = "UPDATE broker.resource SET system_id = :other WHERE server_id = :id", id_of(world, "zsksy-wsbm")
    assert refusal(move, world, were=another, id=server, other=its)[0] == "system.case_mixed"
    with world.app.sessions() as closing:
        closing.execute(text("SELECT pg_advisory_xact_lock(hashtext('broker.month_close'))"))
        assert refusal(move, world)[0] == "month.closing"
    return other


def test_a_system_goes_to_another_unit_with_all_it_has(world: World) -> None:
    """What is being delivered or given back keeps it; then everything is the new unit's, and the old one's past."""
    request_id, case_id, servers = reclaim.noticed(world)
    other = nothing_moves_it(world, case_id, servers[0].id)
    assert owners_of(world, request_id) == {("jyt", "jyt-xjgl")}

    noticed_at = reclaim.case(world, case_id).noticed_at
    with pytest.raises(IntegrityError, match="is not with the unit"), world.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.reclaim_case SET unit_id = :u"), {"u": unit_of(world, "wjw")})

    world.clock.forward(hours=30, microseconds=1)
    moved_at = world.clock.now
    move(world)
    assert owners_of(world, request_id) == {("wjw", "jyt-xjgl")}
    assert owners_of(world, other) == {("jyt", "jyt-xjgl")}  # it was given back before
    assert (counted(world, unit_of(world, "jyt")), counted(world, unit_of(world, "wjw"))) == (0, 4)
    with world.app.sessions() as session:
        now, before = owners.history(session, servers[0].id, now=moved_at)
        second = moved_at.replace(microsecond=0)
        assert (before.since, before.until, now.since, now.until) == (None, second, second, None)
    with world.acting("apply.jyt") as work, pytest.raises(NotFound):
        inventory.resource(work.session, work.actor, servers[0].id, now=work.now)
    with world.acting("apply.jyt") as work, pytest.raises(NotFound):
        cases.object_to(work, case_id, reason="仍在使用")

    reclaim.days_come(world)  # the case is told to the new unit, which has its whole window
    row = reclaim.case(world, case_id)
    assert (row.state, row.unit_id, row.noticed_at > noticed_at) == ("noticed", unit_of(world, "wjw"), True)
    told = world.rows(
        "SELECT u.code AS unit, n.code FROM broker.notice n JOIN broker.unit u ON u.id = n.unit_id"
        " WHERE n.created_at >= :at AND n.role = 'applicant'",
        at=moved_at,
    )
    assert {(t.unit, t.code) for t in told} == {
        ("jyt", "system.passed_on"), ("wjw", "system.passed_on"), ("wjw", "reclaim.noticed_idle"),
    }  # fmt: skip
    with world.acting("apply.wjw") as work:
        assert cases.object_to(work, case_id, reason="接收后仍需使用").state == "objected"

    slate.check(world)
    assert agrees(world)
    with world.acting("apply.wjw") as work:
        reclamation.ask(work, request_id, reason="接收后不再使用")
    world.clock.now = datetime(2026, 4, 1, tzinfo=UTC)
    march = Month(2026, 3)
    with world.app.works.begin() as work:
        assert closing.close(work, march).lines > 0
    with world.app.sessions() as session:
        assert verify(session, march) == ()


def test_a_merged_systems_resources_are_the_other_ones(world: World) -> None:
    """Art. 29: they are the other unit's from that second on, and counted there though a limit is passed."""
    request_id = reclaim.delivered(world)
    head = world.rows(
        "SELECT s.code, u.code AS unit FROM broker.information_system s JOIN broker.unit u ON u.id = s.unit_id"
        " WHERE u.code = 'rst' AND s.retired_at IS NULL ORDER BY s.code LIMIT 1"
    )[0]
    limit(world, "rst", VCPU, 1)
    system = id_of(world)
    into = Ending("merged", "并入", into=head.code)
    with pytest.raises(Forbidden, match=r"system\.merge_elsewhere"), world.acting("apply.jyt") as work:
        reorganised.end(work, system, into, version=None)  # nobody makes another unit pay for what he has
    with world.acting("admin") as work:
        reorganised.end(work, system, into, version=None)
    assert owners_of(world, request_id) == {("rst", head.code)}
    assert (counted(world, unit_of(world, "jyt")), counted(world, unit_of(world, "rst"))) == (0, 4)
    assert agrees(world)
    with world.acting("apply.rst") as work:
        assert reclamation.ask(work, request_id, reason="合并后不再使用")


def changed(world: World, **change: Any) -> None:
    """The region file says that from tomorrow on a unit stands elsewhere; then tomorrow comes."""
    region = read_region()
    day = world.clock.now.date() + timedelta(days=1)
    one = UnitChange.model_validate({"from": day, **change})
    units_of = region.units.model_copy(update={"changes": (one,)})
    with world.app.sessions.begin() as session:
        load(
            session, region.model_copy(update={"units": units_of}), now=world.clock.now, demonstration=True, hasher=str
        )
    assert units.come(world.app.works) == 0
    world.clock.forward(days=2)
    world.ask_health()


def test_a_unit_that_moves_in_the_tree_takes_its_quota_along(town: World) -> None:
    """From its day on it is counted below the new parent, over a limit that it passes; by hand elsewhere, it stays."""
    request_id = road.submit(town, "apply.zsksy", unit="jyt-zsksy", system="zsksy-wsbm")
    road.approve(town, request_id)
    road.assess(town, request_id)
    old, new, office = (unit_of(town, code) for code in ("jyt", "wjw", "jyt-zsksy"))
    assert (counted(town, old), counted(town, new), counted(town, office)) == (8, 0, 8)
    changed(town, unit="jyt-zsksy", parent="wjw")
    limit(town, "wjw", VCPU, 1)
    assert (units.come(town.app.works), units.come(town.app.works)) == (1, 0)
    assert (counted(town, old), counted(town, new), counted(town, office)) == (0, 8, 8)
    assert agrees(town)
    [event] = town.rows("SELECT data FROM broker.audit_event WHERE action = 'quota.node_moved'")
    assert [each["node"] for each in event.data["over"]] == [str(new)]
    with town.app.works.begin() as work:  # an operator puts it back; nobody moves it again
        moving.node(work.session, office, old)
    assert units.come(town.app.works) == 0
    assert counted(town, old) == 8


def test_a_unit_that_was_merged_leaves_everything_to_the_other(world: World) -> None:
    """Systems with resources, resources without one, requests, cases, networks; what cannot yet, at the next look."""
    request_id, case_id, _ = reclaim.noticed(world)
    world.ask_health()
    other = road.up_to_order(world)
    with world.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.dedicated_network SET unit_id = :u"), {"u": unit_of(world, "jyt")})
    changed(world, unit="jyt", into="wjw")
    limit(world, "wjw", VCPU, 1)  # a merger is a fact: over it, and only growth is refused
    assert units.come(world.app.works) == 0  # the other request is still being delivered
    assert owners_of(world, request_id) == {("jyt", "jyt-xjgl")}
    assert world.scalar("SELECT params->>'what' FROM broker.notice WHERE code = 'unit.waits'")
    road.walk(world)
    assert units.come(world.app.works) == 1
    assert owners_of(world, request_id) | owners_of(world, other) == {("wjw", "jyt-xjgl")}
    assert reclaim.case(world, case_id).unit_id == unit_of(world, "wjw")
    left = "SELECT count(*) FROM broker.{} WHERE unit_id = :u"
    for table in ("information_system", "resource", "reclaim_case", "dedicated_network", "service_request"):
        ended = " AND retired_at IS NULL" if table == "information_system" else ""
        assert world.scalar(left.format(table) + ended, u=unit_of(world, "jyt")) == 0, table
    assert counted(world, unit_of(world, "jyt")) == 0
    assert counted(world, unit_of(world, "wjw")) == 12
    slate.check(world)
    with pytest.raises(Invalid), world.acting("apply.jyt") as work:
        requests.submit(work, road.form_now(world))


def test_what_was_asked_for_a_system_that_left_is_not_planned_any_more(town: World) -> None:
    """An assessment that comes while the system moves waits for it and is refused; nothing is held."""
    request_id = road.submit(town)
    road.approve(town, request_id)
    met: list[BaseException] = []

    def assess() -> None:
        try:
            road.assess(town, request_id)
        except (Conflict, Forbidden) as error:
            met.append(error)

    with town.acting("approve.1") as work:
        reorganised.move(work, id_of(town), to="wjw", reason="机构改革", version=None)
        work.session.flush()
        other = threading.Thread(target=assess)
        other.start()
        somebody_waits(town.app.engine)
    other.join()
    assert [str(error) for error in met] == ["system.left"]
    assert town.scalar("SELECT count(*) FROM quotas.hold WHERE owner = :r", r=request_id) == 0

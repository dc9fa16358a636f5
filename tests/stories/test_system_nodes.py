"""The lowest level of the tree: an information system with a node of its own, below its unit (issue 3)."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from broker.errors import Conflict, Invalid, NotFound
from broker.inventory import register
from broker.reorganisation import systems as reorganised
from broker.request import repository
from broker.scarcity import asked, by_hand, notices, tree, waiting
from broker.scarcity.by_hand import Hand
from quotas import availability, moving
from quotas import service as quotas
from quotas.errors import QuotaExceeded
from quotas.values import Line, ResourceClass
from tests.quotas.world import PATIENCE_S, somebody_waits
from tests.stories import road
from tests.stories.test_quota import beside, limit, row_of, unit_of, used
from tests.stories.world import World

VCPU = ResourceClass.VCPU
SYSTEM = "jyt-xjgl"


def id_of(world: World, code: str = SYSTEM) -> UUID:
    return UUID(str(world.scalar("SELECT id FROM broker.information_system WHERE code = :code", code=code)))


def give_node(world: World, code: str = SYSTEM) -> int:
    with world.app.works.begin() as work:
        return by_hand.give_node(work, Hand(reason="单独控制"), id_of(world, code))


def move(world: World, hold: UUID, node: UUID) -> int:
    with world.app.works.begin() as work:
        return moving.holds(work.session, [hold], node)


def cap(world: World, amount: int | None) -> None:
    with world.app.works.begin() as work:
        quotas.set_limit(work.session, id_of(world), VCPU, None, amount)


def counted(world: World, node: UUID) -> int:
    with world.app.sessions() as session:
        return next(each.used for each in availability.left(session, node) if each.resource_class is VCPU)


def agrees(world: World) -> bool:
    with world.app.sessions() as session:
        return quotas.verify(session) == []


def test_what_a_system_has_moves_to_its_node_and_what_comes_is_counted_there(world: World) -> None:
    """Posted, held and new amounts are at the system; the unit and all above keep what they had; release gives back."""
    jyt, system = unit_of(world, "jyt"), id_of(world)
    posted = road.up_to_order(world)
    road.walk(world)
    held = road.submit(world)
    road.approve(world, held)
    road.assess(world, held)
    assert (counted(world, jyt), give_node(world), give_node(world)) == (16, 2, 0)
    assert (counted(world, jyt), counted(world, system)) == (16, 16)
    assert agrees(world)
    cap(world, 20)
    assert agrees(world)

    found = beside(world)
    row = row_of(found.unit, VCPU)
    assert (row.used, row.asked, row.limit, row.left, row.bound_by) == (16, 8, 20, 4, system)
    assert (found.of_system, found.names[system]) == (True, found.names[found.node_id])
    third = road.submit(world)
    road.approve(world, third)
    with world.acting("assess.jyt") as work:
        request = repository.load(work.session, work.actor, third)
        contested = next(c for c in waiting.compete(work, request).counters if c.node == system)
        assert (contested.limit, contested.used, contested.asked) == (20, 16, 8)
        assert asked.of_request(work, request).refusals[0].node == system
    with pytest.raises(Conflict) as refused:
        road.assess(world, third)
    assert found.names[system] == refused.value.problems[0].params["owner"]

    cap(world, 24)
    road.assess(world, third)
    assert (counted(world, jyt), counted(world, system)) == (24, 24)
    road.order(world, third)
    road.walk(world)
    road.release(world, posted)
    road.walk(world)
    assert (counted(world, jyt), counted(world, system)) == (16, 16)
    assert agrees(world)
    with world.acting("apply.jyt") as work:
        branch = next(b for b in tree.of_unit(work, "jyt").systems if b.unit.id == system)
    bar = next(b for b in branch.bars if (b.resource_class, b.pool) == (VCPU, None))
    assert (branch.unit.code, bar.limit, bar.use.in_use, bar.use.held) == (SYSTEM, 24, 8, 8)
    event = world.rows("SELECT data FROM broker.audit_event WHERE action = 'quota.node_given'")
    assert [row.data["moved"] for row in event] == [2]


def test_a_request_of_the_department_for_its_offices_system_counts_at_the_office(world: World) -> None:
    """Without a node: at the unit that asks. With one: at the system, and so at the office it belongs to."""
    request_id = road.submit(world, system="zsksy-wsbm")
    road.approve(world, request_id)
    road.assess(world, request_id)
    assert used(world)[0] == (0, 8)
    office = unit_of(world, "jyt-zsksy")
    assert counted(world, office) == 0
    limit(world, "jyt-zsksy", VCPU, 4)
    with pytest.raises(QuotaExceeded):  # the office's own limit would not bear it: nothing has changed
        give_node(world, "zsksy-wsbm")
    with world.app.sessions() as session:
        assert availability.lowest(session, [id_of(world, "zsksy-wsbm")]) is None
    limit(world, "jyt-zsksy", VCPU, 8)
    assert give_node(world, "zsksy-wsbm") == 1
    assert (counted(world, office), used(world)[0]) == (8, (0, 8))
    assert agrees(world)


def test_a_merged_system_takes_its_node_along(world: World) -> None:
    """Art. 29: what it has is counted at the other unit at once; a limit there is passed and named, growth refused."""
    jyt, rst, system = unit_of(world, "jyt"), unit_of(world, "rst"), id_of(world)
    road.up_to_order(world)
    road.walk(world)
    give_node(world)
    with world.app.works.begin() as work:
        head = work.session.scalars(
            text("SELECT code FROM broker.information_system WHERE unit_id = :rst ORDER BY code LIMIT 1"), {"rst": rst}
        ).one()
        quotas.set_limit(work.session, rst, VCPU, None, 4)
    before = (counted(world, jyt), counted(world, system), counted(world, rst))
    with world.acting("admin") as work:
        reorganised.end(work, system, register.Ending("merged", "并入", into=head), version=None)
    assert (counted(world, jyt), counted(world, rst)) == (before[0] - before[1], before[2] + before[1])
    assert counted(world, unit_of(world, "450000")) >= before[1] > 4
    assert agrees(world)
    moved = world.scalar("SELECT data FROM broker.audit_event WHERE action = 'quota.node_moved'")
    assert [each["node"] for each in moved["over"]] == [str(rst)]
    cloud = UUID(str(world.scalar("SELECT id FROM broker.sub_cloud WHERE code = 'jyt'")))
    line, soon = [Line(ResourceClass.VCPU_X86_64, 2, cloud)], world.clock.now.replace(year=2099)
    with world.app.works.begin() as work, pytest.raises(QuotaExceeded):
        quotas.hold(work.session, owner=system, node=rst, below=system, lines=line, expires_at=soon)


def test_a_system_without_a_node_has_no_limit_of_its_own(town: World) -> None:
    """It is said what to do; an unknown code is an unknown unit."""
    with town.app.works.begin() as work:
        with pytest.raises(NotFound) as refused:
            by_hand.node_of(work.session, SYSTEM, now=work.now)
        assert refused.value.code == "quota.no_node_of_its_own"
        with pytest.raises(Invalid):
            by_hand.node_of(work.session, "nowhere", now=work.now)


def test_the_units_people_are_told_of_a_systems_quota(world: World) -> None:
    """A node of a system has people: those of its unit."""
    road.up_to_order(world)
    give_node(world)
    cap(world, 8)
    with world.app.works.begin() as work:
        assert notices.tell(work, percent=80) >= 3
    rows = world.rows(
        "SELECT u.code, n.role, n.params->>'unit' AS name FROM broker.notice n JOIN broker.unit u ON u.id = n.unit_id"
        " WHERE n.code = 'quota.full'"
    )
    assert {(row.code, row.role) for row in rows} == {("jyt", r) for r in ("applicant", "unit_leader", "cloud_chief")}
    assert {row.name for row in rows} == {
        world.scalar("SELECT name FROM broker.information_system WHERE code = :code", code=SYSTEM)
    }


def test_a_hold_and_a_node_that_comes_meanwhile_cannot_miss_each_other(world: World) -> None:
    """A hold that was made and not yet committed is waited for, and moves; one that comes later is there.

    So is one that somebody is posting: he passed the gate before, and waits for nobody who moves it.
    """
    system, jyt, sessions = id_of(world), unit_of(world, "jyt"), world.app.sessions
    cloud = UUID(str(world.scalar("SELECT id FROM broker.sub_cloud WHERE code = 'jyt'")))
    request_id = road.submit(world)
    road.approve(world, request_id)
    line = [Line(ResourceClass.VCPU_X86_64, 4, cloud)]

    def hold_for_it(session: Session) -> UUID:
        return quotas.hold(
            session, owner=request_id, node=jyt, below=system, lines=line, expires_at=world.clock.now.replace(year=2099)
        )

    moved: list[int] = []
    with sessions.begin() as first:
        made = hold_for_it(first)
        giver = threading.Thread(target=lambda: moved.append(give_node(world)))
        giver.start()
        somebody_waits(world.app.engine)
    giver.join(PATIENCE_S)
    assert (moved, counted(world, system)) == ([1], 4)

    with sessions.begin() as second:
        hold_for_it(second)
    assert (counted(world, system), counted(world, jyt)) == (8, 8)
    with sessions.begin() as third:
        quotas.post(third, made)
        mover = threading.Thread(target=lambda: moved.append(move(world, made, jyt)))
        mover.start()
        somebody_waits(world.app.engine)
    mover.join(PATIENCE_S)
    assert (moved, counted(world, system), counted(world, jyt)) == ([1, 1], 4, 8)
    assert agrees(world)


def test_a_system_that_goes_to_another_unit_takes_its_node_along(world: World) -> None:
    """What is counted there is counted at the new unit from then on, if its limits bear it; else nothing moves."""
    road.up_to_order(world)
    road.walk(world)
    give_node(world)
    old, new, system = unit_of(world, "jyt"), unit_of(world, "wjw"), id_of(world)
    before = counted(world, new)
    with world.app.works.begin() as work:
        quotas.set_limit(work.session, new, VCPU, None, before + 1)
    with pytest.raises(Conflict, match=r"system\.no_room"), world.acting("approve.1") as work:
        reorganised.move(work, system, to="wjw", reason="机构改革", version=None)
    assert (counted(world, old), counted(world, new)) == (8, before)
    with world.app.works.begin() as work:
        quotas.set_limit(work.session, new, VCPU, None, before + 8)
    with world.acting("approve.1") as work:
        reorganised.move(work, system, to="wjw", reason="机构改革", version=None)
    assert (counted(world, old), counted(world, new), counted(world, system)) == (0, before + 8, 8)
    assert agrees(world)


def test_a_system_that_was_merged_gets_its_node_where_the_merger_would_have_put_it(world: World) -> None:
    """One fact, one answer: before the merger or after it, the node stands below what the system became part of."""
    system, head = id_of(world), unit_of(world, "rst")
    into = world.scalar(
        "SELECT code FROM broker.information_system WHERE unit_id = :rst AND ended_kind IS NULL ORDER BY code LIMIT 1",
        rst=head,
    )
    with world.acting("apply.jyt") as work:
        reorganised.end(work, system, register.Ending("merged", "并入", into=into), version=None)
    give_node(world)
    assert world.scalar("SELECT parent_id FROM quotas.node WHERE id = :id", id=system) == head
    assert agrees(world)


def test_a_node_and_a_move_that_comes_meanwhile_cannot_miss_each_other(world: World) -> None:
    """Who gives a node waits for who is moving the system, and then stands where the register says."""
    system = id_of(world)
    with world.acting("approve.1") as work:
        reorganised.move(work, system, to="wjw", reason="职能划转", version=None)
        work.session.flush()
        other = threading.Thread(target=give_node, args=(world,))
        other.start()
        somebody_waits(world.app.engine)
    other.join()
    [row] = world.rows(
        "SELECT n.parent_id, s.unit_id FROM quotas.node n JOIN broker.information_system s ON s.id = n.id"
        " WHERE n.id = :id", id=system,
    )  # fmt: skip
    assert row.parent_id == row.unit_id == unit_of(world, "wjw")
    assert agrees(world)

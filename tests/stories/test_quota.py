"""What an applicant and an approver see of quotas: old, asked, new, whose limit binds, who else waits."""

from __future__ import annotations

from uuid import UUID

import pytest

from broker.errors import Conflict, NotFound
from broker.request import repository
from broker.scarcity import asked, tree, waiting
from broker.scarcity.asked import Asked, Row
from quotas import service as quotas
from quotas.values import Cause, ResourceClass
from tests.stories import road
from tests.stories.world import World, form

VCPU, X86 = ResourceClass.VCPU, ResourceClass.VCPU_X86_64


def unit_of(world: World, code: str) -> UUID:
    return UUID(str(world.scalar("SELECT id FROM broker.unit WHERE code = :code", code=code)))


def cloud_of(world: World, code: str) -> UUID:
    return UUID(str(world.scalar("SELECT id FROM broker.sub_cloud WHERE code = :code", code=code)))


def limit(world: World, unit: str, kind: ResourceClass, amount: int | None, cloud: str | None = None) -> None:
    with world.app.works.begin() as work:
        pool = None if cloud is None else cloud_of(world, cloud)
        quotas.set_limit(work.session, unit_of(world, unit), kind, pool, amount)


def beside(world: World, who: str = "apply.jyt", **changes: object) -> Asked:
    with world.acting(who) as work:
        found = asked.of_form(work, road.form_now(world, **changes))
    assert found is not None
    return found


def row_of(rows: tuple[Row, ...], kind: ResourceClass) -> Row:
    return next(row for row in rows if row.resource_class is kind)


def test_a_form_shows_old_asked_new_and_what_remains(town: World) -> None:
    """Two servers of 4 vCPU: counted in the unit's quota over all clouds, and in the cloud the form would go to."""
    found = beside(town)
    row = row_of(found.unit, VCPU)
    assert (row.asked, row.new - row.used, row.limit, row.fits) == (8, 8, 2400, True)
    assert row.remains == row.left - 8 if row.left is not None else False
    there = row_of(found.in_cloud, X86)
    assert (there.pool, there.asked) == (cloud_of(town, "jyt"), 8)
    assert found.refusals == ()
    assert found.names[cloud_of(town, "jyt")] == "教育云"


def test_a_class_that_does_not_fit_says_which_limit_binds_and_whose(town: World) -> None:
    """The office's own limit leaves enough, its department's does not: the department is named, with its numbers."""
    limit(town, "jyt", VCPU, 6)
    try:
        found = beside(town, "apply.zsksy", unit="jyt-zsksy", system="zsksy-wsbm")
        row = row_of(found.unit, VCPU)
        assert (row.left, row.remains, row.bound_by) == (6, -2, unit_of(town, "jyt"))
        refusal = next(r for r in found.refusals if r.resource_class is VCPU)
        assert (refusal.cause, refusal.node, refusal.fits) == (Cause.LIMIT, unit_of(town, "jyt"), 6)
        assert "教育厅" in found.names[unit_of(town, "jyt")]
    finally:
        limit(town, "jyt", VCPU, 2400)


def test_what_the_form_says_is_what_the_hold_decides(town: World) -> None:
    """The same counters refuse at assessment, and the refusal names the owner of the limit."""
    limit(town, "jyt", VCPU, 6, cloud="jyt")
    try:
        said = {(r.cause, r.node, r.pool, r.resource_class) for r in beside(town).refusals}
        request_id = road.submit(town)
        road.approve(town, request_id)
        with pytest.raises(Conflict) as refused:
            road.assess(town, request_id)
        problem = refused.value.problems[0]
        assert (problem.code, problem.params["cloud"]) == ("quota.limit_in_cloud", "教育云")
        assert "教育厅" in str(problem.params["owner"])
        assert {(Cause.LIMIT, unit_of(town, "jyt"), cloud_of(town, "jyt"), VCPU)} == said
    finally:
        limit(town, "jyt", VCPU, None, cloud="jyt")


def test_an_approver_sees_who_else_waits_for_the_same(world: World) -> None:
    """Sibling offices below one limit compete, and so do units of one cloud; who shares neither does not."""
    mine = road.submit(world)
    office = road.submit(world, "apply.zsksy", unit="jyt-zsksy", system="zsksy-wsbm")
    other_cloud = road.submit(world, "apply.liuzhou", unit="450200", system=system_of(world, "450200"))
    held = road.submit(world)
    road.approve(world, held)
    road.assess(world, held)
    with world.acting("approve.jyt") as work:
        found = waiting.compete(work, repository.load(work.session, work.actor, mine))
        nothing = waiting.compete(work, repository.load(work.session, work.actor, mine), items=[])
    assert (nothing.counters, nothing.others) == ((), ())  # what an assessor cuts away competes with nobody
    assert [(other.id, other.counted) for other in found.others] == [(office, False), (held, True)]
    assert other_cloud not in {other.id for other in found.others}
    shared = next(c for c in found.counters if c.node == unit_of(world, "jyt") and c.resource_class is VCPU)
    assert (shared.used, shared.asked, shared.new, shared.waiting, shared.with_all) == (8, 8, 16, 8, 24)
    stock = next(c for c in found.counters if c.node is None and c.resource_class is X86)
    assert (stock.pool, stock.used, stock.waiting) == (cloud_of(world, "jyt"), 8, 8)
    assert found.others[0].amounts[X86] == 8
    assert all(other.open_to_actor for other in found.others)


def system_of(world: World, unit: str) -> str:
    return str(
        world.scalar(
            "SELECT s.code FROM broker.information_system s JOIN broker.unit u ON u.id = s.unit_id WHERE u.code = :unit"
            " ORDER BY s.code LIMIT 1",
            unit=unit,
        )
    )


def test_a_unit_sees_its_own_tree_and_nothing_else(town: World) -> None:
    """Limits, use and what is left for it and the units below; a neighbour's quota is as unknown as one that is not."""
    with town.acting("apply.jyt") as work:
        found = tree.of_unit(work, tree.first(work))
        bar = next(b for b in found.bars if (b.resource_class, b.pool) == (VCPU, None))
        assert (found.unit.code, bar.limit, bar.bound_by) == ("jyt", 2400, unit_of(town, "jyt"))
        assert bar.left == 2400 - bar.use.counted
        office = next(branch for branch in found.below if branch.unit.code == "jyt-zsksy")
        assert {b.resource_class: b.limit for b in office.bars}[VCPU] == 400
        assert found.above == ()
        for stranger in ("rst", "450200", "nowhere"):
            with pytest.raises(NotFound):
                tree.of_unit(work, stranger)


def test_offices_see_who_uses_their_cloud_and_the_bureau_everybody(town: World) -> None:
    """An industry cloud's office: its department's tree. The Bureau coordinates, so it begins at the region."""
    with town.acting("approve.jyt") as work:
        assert tree.of_unit(work, "jyt").unit.code == "jyt"
        with pytest.raises(NotFound):
            tree.of_unit(work, "450200")
    with town.acting("approve.1") as work:
        top = tree.of_unit(work, tree.first(work))
        assert (top.unit.kind, tree.of_unit(work, "450200").above[0].kind) == ("region", "region")
        assert any(bar.pool == cloud_of(town, "main") for bar in tree.of_unit(work, "450200").bars)


def test_use_of_a_branch_is_that_of_all_below_it_split_in_held_and_in_use(world: World) -> None:
    """An office's hold shows at the office and at its department; once delivered it is in use."""
    changes = {"unit": "jyt-zsksy", "system": "zsksy-wsbm"}
    request_id = road.submit(world, "apply.zsksy", **changes)
    road.approve(world, request_id)
    road.assess(world, request_id)
    assert used(world) == [(0, 8), (0, 8)]
    road.order(world, request_id)
    road.walk(world)
    assert used(world) == [(8, 0), (8, 0)]


def used(world: World) -> list[tuple[int, int]]:
    """Processors in use and held: of the department, and of its office as the department sees it."""
    with world.acting("lead.jyt") as work:
        found = tree.of_unit(work, "jyt")
    branch = next(b for b in found.below if b.unit.code == "jyt-zsksy")
    bars = [next(b for b in bars if (b.resource_class, b.pool) == (VCPU, None)) for bars in (found.bars, branch.bars)]
    return [(bar.use.in_use, bar.use.held) for bar in bars]


def test_a_form_without_a_unit_of_ones_own_shows_nothing(town: World) -> None:
    """What cannot be seen is not told."""
    with town.acting("apply.jyt") as work:
        assert asked.of_form(work, form(unit="rst")) is None

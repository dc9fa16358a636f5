"""80 % and 100 % give notices: to whom it concerns, once for each time, never a stream (ours)."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.scarcity import notices
from quotas import service as quotas
from quotas.values import Line, ResourceClass
from tests.stories.test_quota import cloud_of, limit, unit_of
from tests.stories.world import World

GPU = ResourceClass.GPU
"""Nobody in the demonstration region has one or asks for one: what is counted is this file's."""


def look(world: World, percent: int = 80) -> int:
    """What dispatch does every twenty seconds."""
    with world.app.works.begin() as work:
        return notices.tell(work, percent=percent)


def stock(world: World, cloud: str, total: int) -> None:
    with world.app.works.begin() as work:
        quotas.set_inventory(work.session, cloud_of(world, cloud), GPU, total=total)


def hold(world: World, unit: str, amount: int, cloud: str = "main") -> UUID:
    with world.app.works.begin() as work:
        return quotas.hold(
            work.session,
            owner=uuid4(),
            node=unit_of(world, unit),
            lines=[Line(GPU, amount, cloud_of(world, cloud))],
            expires_at=work.now + timedelta(days=1),
        )


def void(world: World, hold_id: UUID) -> None:
    with world.app.works.begin() as work:
        quotas.void(work.session, hold_id)


def told(world: World) -> list[tuple[str, str, str, int]]:
    """Code, unit and role of every notice of GPUs, and how much was used, in the order of writing."""
    return [
        (row.code, row.unit, row.role, row.used)
        for row in world.rows(
            "SELECT n.code, u.code AS unit, n.role, (n.params->>'used')::int AS used FROM broker.notice n"
            " JOIN broker.unit u ON u.id = n.unit_id WHERE n.params->>'class' = 'gpu' ORDER BY n.id"
        )
    ]


def test_each_mark_is_told_once_and_again_after_it_was_left(world: World) -> None:
    """79 % is silent; 80 % tells the unit's people once; full tells them again; falling re-arms."""
    stock(world, "main", 10_000)
    limit(world, "slt", GPU, 100)
    hold(world, "slt", 79)
    assert look(world) == 0
    last = hold(world, "slt", 1)
    assert (look(world), look(world)) == (3, 0)
    people = {("slt", "applicant"), ("slt", "unit_leader"), ("slt", "cloud_chief")}
    assert {(unit, role) for _, unit, role, _ in told(world)} == people
    rest = hold(world, "slt", 20)
    assert (look(world), look(world)) == (3, 0)
    assert [code for code, *_ in told(world)] == ["quota.near"] * 3 + ["quota.full"] * 3
    void(world, rest)
    assert look(world) == 0
    void(world, last)
    assert look(world) == 0
    hold(world, "slt", 1)
    assert (look(world), look(world)) == (3, 0)
    hold(world, "slt", 20)
    assert look(world) == 3
    assert {used for *_, used in told(world)} == {80, 100}


def test_the_bureau_is_told_of_cities_and_the_center_of_clouds(world: World) -> None:
    """A city's quota in one cloud: its people and the Bureau. A cloud's capacity: its own offices and the Center."""
    stock(world, "main", 100)
    limit(world, "450200", GPU, 90, cloud="main")
    hold(world, "450200", 90)
    assert look(world) == 4 + 3
    assert {(code, unit, role) for code, unit, role, _ in told(world)} == {
        ("quota_in_cloud.full", "450200", "applicant"),
        ("quota_in_cloud.full", "450200", "unit_leader"),
        ("quota_in_cloud.full", "450200", "cloud_chief"),
        ("quota_in_cloud.full", "dsjfzj", "approver"),
        ("capacity.near", "dsjfzj-xxzx", "assessor"),
        ("capacity.near", "dsjfzj-xxzx", "operator"),
        ("capacity.near", "dsjfzj-xxzx", "cloud_operator"),
    }
    stock(world, "jyt", 10)
    hold(world, "jyt", 9, cloud="jyt")
    assert look(world) == 4
    assert {(unit, role) for code, unit, role, used in told(world) if used == 9} == {
        ("jyt-xxzx", "assessor"),
        ("jyt-xxzx", "operator"),
        ("jyt-xxzx", "cloud_operator"),
        ("dsjfzj-xxzx", "operator"),
    }


def test_a_jump_is_one_notice_and_a_limit_that_goes_or_comes_is_a_move(world: World) -> None:
    """From nothing to full: told as full only. A limit taken away re-arms; one set below what is used is full."""
    stock(world, "main", 10_000)
    limit(world, "slt", GPU, 10)
    hold(world, "slt", 10)
    assert look(world) == 3
    assert {code for code, *_ in told(world)} == {"quota.full"}
    limit(world, "slt", GPU, None)
    assert look(world) == 0
    limit(world, "slt", GPU, 5)
    assert (look(world), look(world)) == (3, 0)
    limit(world, "slt", GPU, 0)
    assert look(world) == 0


@pytest.mark.parametrize("percent", [80])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(most=st.integers(1, 10**15), used=st.integers(0, 10**15))
def test_a_mark_is_exact(world: World, percent: int, most: int, used: int) -> None:
    """Whole numbers to the last piece, up to the largest amounts there are: no share is ever rounded."""
    used = min(used, most)
    stock(world, "main", 10**15)
    node = uuid4()
    with world.app.works.begin() as work:
        quotas.add_node(work.session, id=node, parent_id=None)
        quotas.alone(work.session)
        quotas.set_limit(work.session, node, GPU, None, most)
        line = [Line(GPU, used, cloud_of(world, "main"))]
        if used:
            expires_at = work.now + timedelta(days=1)
            made = quotas.hold(work.session, owner=uuid4(), node=node, lines=line, expires_at=expires_at)
        notices.tell(work, percent=percent)
        if used:
            quotas.void(work.session, made)
    marked = world.scalar("SELECT percent FROM broker.quota_mark WHERE node_id = :node", node=node) or 0
    assert marked == (0 if not used else 100 if used >= most else percent if used * 100 >= most * percent else 0)

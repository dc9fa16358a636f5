"""Drift of sums: what a cloud says it has and uses beside what we count; found, told once, decided by an operator."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from broker.delivery import capacity
from broker.delivery.capacity import Choice, Compared, Gap
from broker.errors import Conflict, Forbidden, Invalid, NotFound
from broker.workflows import drift
from quotas import service as quotas
from quotas.overview import Use
from quotas.values import ResourceClass, Stock
from tests.stories import road
from tests.stories.test_quota import cloud_of
from tests.stories.world import World

X86, SSD, HDD = ResourceClass.VCPU_X86_64, ResourceClass.BLOCK_GIB_SSD, ResourceClass.BLOCK_GIB_HDD


def compare(world: World, code: str = "jyt") -> dict[ResourceClass, Compared]:
    with world.app.works.begin() as work:
        return {line.resource_class: line for line in capacity.compare(work, code)}


def says(world: World, kind: str, name: str, code: str = "jyt", **amounts: int) -> None:
    """The cloud reports other amounts from now on (the worker writes down what a cloud says every minute)."""
    for what, amount in amounts.items():
        with world.app.sessions.begin() as session:
            session.execute(
                text(
                    "UPDATE broker.sub_cloud_status SET capacity = jsonb_set(capacity, CAST(:path AS text[]),"
                    " to_jsonb(CAST(:amount AS bigint))) WHERE sub_cloud_id = :cloud"
                ),
                {"path": [kind, name, what], "amount": amount, "cloud": cloud_of(world, code)},
            )


def decide(world: World, choice: Choice, seen: int | None, who: str = "deliver.jyt", reason: str = "已核实") -> Any:
    with world.acting(who) as work:
        return capacity.decide(work, "jyt", SSD, choice, seen=seen, reason=reason)


def test_the_demonstration_region_agrees_with_its_clouds(town: World) -> None:
    """1 + N + 14 as loaded: physical totals on both sides, nothing differs, also where vCPU are sold several times."""
    with town.app.works.begin() as work:
        lines = capacity.compare(work)
    assert {line.sub_cloud for line in lines} >= {"main", "jyt", "city-450200"}
    assert [line for line in lines if line.gaps] == []
    main = next(line for line in lines if (line.sub_cloud, line.resource_class) == ("main", X86))
    assert (main.total, main.reported_total, main.capacity) == (8192, 8192, 29492)


def test_another_total_is_found_and_told_once_and_never_taken_over(world: World) -> None:
    """The cloud's operators hear of it, an audit event says so, our total stays as it is."""
    says(world, "block", "ssd", total_gib=130_000)
    line = compare(world)[SSD]
    assert (line.total, line.reported_total, line.gaps, line.wanting) == (120_000, 130_000, (Gap.TOTAL,), True)
    with world.app.works.begin() as work:
        assert [line.resource_class for line in capacity.tell(work, "jyt")] == [SSD]
    with world.app.works.begin() as work:
        capacity.tell(work, "jyt")
    rows = world.rows(
        "SELECT n.code, n.role, u.code AS unit FROM broker.notice n JOIN broker.unit u ON u.id = n.unit_id"
    )
    assert sorted((row.code, row.unit, row.role) for row in rows) == [
        ("capacity.differs", "jyt-xxzx", "cloud_operator"),
        ("capacity.differs", "jyt-xxzx", "operator"),
    ]
    assert events(world) == ["sub_cloud.capacity_differs"]
    assert compare(world)[SSD].total == 120_000


def events(world: World) -> list[str]:
    rows = world.rows("SELECT action FROM broker.audit_event WHERE action LIKE 'sub_cloud.capacity%' ORDER BY id")
    return [row.action for row in rows]


def test_an_operator_accepts_the_clouds_total_with_a_reason(world: World) -> None:
    """Only who delivers for the cloud, with a reason, on the total that was seen; then it is ours, and on record."""
    says(world, "block", "ssd", total_gib=130_000)
    with pytest.raises(Forbidden):
        decide(world, Choice.ACCEPT, 130_000, who="deliver.1")
    with pytest.raises(Invalid):
        decide(world, Choice.ACCEPT, 130_000, reason=" ")
    with pytest.raises(Conflict):
        decide(world, Choice.ACCEPT, 140_000)
    assert compare(world)[SSD].total == 120_000
    decide(world, Choice.ACCEPT, 130_000)
    line = compare(world)[SSD]
    # 15 % of the old total stay in reserve.
    assert (line.total, line.gaps, line.capacity) == (130_000, (), 130_000 - 18_000)
    assert events(world) == ["sub_cloud.capacity_accept"]
    with pytest.raises(Conflict):
        decide(world, Choice.ACCEPT, 130_000)


def test_a_difference_that_was_left_is_shown_and_told_again_only_when_it_changes(world: World) -> None:
    """Left as it is, with the reason; another total later is another difference."""
    says(world, "block", "ssd", total_gib=130_000)
    decide(world, Choice.LEAVE, 130_000, reason="新设备尚未验收")
    line = compare(world)[SSD]
    assert (line.gaps, line.wanting, line.left and line.left.reason) == ((Gap.TOTAL,), False, "新设备尚未验收")
    says(world, "block", "ssd", total_gib=131_000)
    assert compare(world)[SSD].wanting
    assert compare(world)[SSD].left is None


def test_what_was_handed_over_and_is_not_used_there_is_told(world: World) -> None:
    """Less than was handed over wants looking at; more is shown only; nothing is judged while something moves."""
    road.up_to_order(world)
    assert compare(world)[HDD].gaps == ()
    road.walk(world)
    world.clock.forward(minutes=1)
    world.ask_health()
    line = compare(world)[HDD]
    assert (line.use, line.reported_used, line.gaps) == (Use(in_use=200), 200, ())
    assert {each.gaps for each in compare(world).values()} == {()}  # system disks that lie on hosts included
    says(world, "block", "hdd", used_gib=100)
    assert (compare(world)[HDD].gaps, compare(world)[HDD].wanting) == ((Gap.LESS,), True)
    says(world, "block", "hdd", used_gib=300)
    assert (compare(world)[HDD].gaps, compare(world)[HDD].wanting) == ((Gap.MORE,), False)


def test_the_hourly_comparison_tells_of_sums_too(town: World) -> None:
    """The worker's own way: objects agree, a total does not."""
    with town.app.works.begin() as work:
        quotas.set_inventory(work.session, cloud_of(town, "rst"), SSD, total=1)
    drift.compare(town.app, "rst")
    assert town.scalar("SELECT count(*) FROM broker.notice WHERE code = 'capacity.differs'") == 2


def test_a_cloud_that_says_nothing_has_no_differences(town: World) -> None:
    """Silence is no zero; an unknown cloud is unknown."""
    with town.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.sub_cloud_status SET capacity = '{}', healthy = false"))
    assert {line.gaps for line in compare(town, "main").values()} == {()}
    with pytest.raises(NotFound):
        compare(town, "nowhere")


@pytest.mark.parametrize(
    ("total", "use", "reported", "moving", "expected"),
    [
        (100, Use(10, 5), (100, 10), False, ()),
        (100, Use(10, 5), (100, 15), False, ()),
        (100, Use(10, 5), (100, 9), False, (Gap.LESS,)),
        (100, Use(10, 5), (100, 9), True, ()),
        (100, Use(10, 5), (90, 16), False, (Gap.TOTAL, Gap.MORE)),
        (100, Use(0, 0), None, False, (Gap.TOTAL,)),
        (None, Use(3, 0), None, False, ()),
        (0, Use(0, 0), None, False, ()),
    ],
)
def test_gaps(
    *, total: int | None, use: Use, reported: tuple[int, int] | None, moving: bool, expected: tuple[Gap, ...]
) -> None:
    """Between what was handed over and what is held on top of it is no difference."""
    stock = Stock(UUID(int=1), SSD, total, 0, 1, 1, total, use.counted)  # type: ignore[arg-type]
    assert capacity.gaps(stock, use, reported, moving=moving) == expected

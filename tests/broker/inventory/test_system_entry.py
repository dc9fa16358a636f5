"""How an entry of the register is read and what keeps it out (Art. 26, 28, 29): pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from broker.inventory.system_entry import (
    IN_FORCE,
    Known,
    KnownSystem,
    SystemEntry,
    problems_of,
    read,
)

TODAY = date(2026, 11, 25)
GOOD = {
    "unit": "jyt", "code": "jyt-1", "name": "学位管理系统", "mlps_level": "三级", "function": "学位授予",
    "scope_of_use": "全区高校", "frequency_of_use": "每日", "approving_department": "自治区发展改革委",
    "approved_on": "2018年5月6日", "funding_source": "财政",
}  # fmt: skip


def entry(**changes: str) -> SystemEntry:
    """A good entry with some cells written differently."""
    found, problems = read({**GOOD, **changes})
    assert found is not None, problems
    return found


def known(**systems: KnownSystem) -> Known:
    mine = {code.replace("_", "-"): system for code, system in systems.items()}
    return Known(TODAY, {"jyt": uuid4()}, mine, {"chief.jyt": uuid4()})


def codes(found: SystemEntry, there: Known, *, proposed: bool = False) -> list[str]:
    return [problem.code for problem in problems_of(found, there, proposed=proposed)]


def system(**more: object) -> KnownSystem:
    return KnownSystem(**{"id": uuid4(), "unit": "jyt", "mine": True, **more})  # type: ignore[arg-type]


def test_cells_are_read_as_people_write_them() -> None:
    """Chinese dates and levels, thousands apart, codes apart by any mark; empty is not known."""
    found = entry(monthly_users="1,200", merges="a1；a2、a3", in_use_since="2019/3/1", reported_on="2026.11.1")
    assert (found.mlps_level, found.approved_on, found.monthly_users) == (3, date(2018, 5, 6), 1200)
    assert (found.merges, found.in_use_since, found.last_business_on) == (("a1", "a2", "a3"), date(2019, 3, 1), None)


def test_all_that_cannot_be_read_is_told_at_once() -> None:
    """Bad input changes nothing; every field is named."""
    found, problems = read({**GOOD, "name": "", "mlps_level": "高", "approved_on": "2018-02-30", "code": "-x",
                            "monthly_users": "很多"})  # fmt: skip
    assert found is None
    assert {p.field for p in problems} == {"name", "mlps_level", "approved_on", "code", "monthly_users"}


def test_a_system_older_than_the_rules_is_counted_and_not_added() -> None:
    """Art. 29, 48: what was approved before the rules came into force needs no merger."""
    assert codes(entry(approved_on="2019-09-10"), known()) == []


def test_a_new_system_needs_a_merger_or_an_approved_reason() -> None:
    """Art. 29: the total only falls; without an approval day it counts as new."""
    for approved_on in ("2019-09-11", "2024-01-01", ""):
        (problem,) = problems_of(entry(approved_on=approved_on), known())
        assert (problem.code, problem.article) == ("system.total_only_falls", "Art. 29")
    new = entry(approved_on="2024-01-01", merges="old-1")
    assert codes(new, known(old_1=system())) == []
    assert codes(replace(new, merges=(), growth_reason="新增法定职责"), known(), proposed=True) == []
    assert codes(replace(new, merges=()), known(), proposed=True) == ["field.missing"]


def test_only_ones_own_systems_in_use_can_be_merged_and_only_once() -> None:
    """A merger ends systems: they must be there, be one's own, and still be in use."""
    new = entry(approved_on="2024-01-01", merges="a b c c jyt-1")
    there = known(a=system(mine=False), b=system(ended=True), c=system())
    assert codes(new, there) == [
        "system.merge_unknown", "system.merge_ended", "system.merge_twice", "system.merge_twice",
    ]  # fmt: skip


def test_an_entry_of_a_known_code_is_a_change_and_needs_no_merger() -> None:
    """A revision does not add to the total; what has ended or is another's stays as it is."""
    new = entry(approved_on="2024-01-01")
    assert codes(new, known(jyt_1=system())) == []
    assert codes(new, known(jyt_1=system(ended=True))) == ["system.ended"]
    assert codes(new, known(jyt_1=system(mine=False))) == ["system.of_another_unit"]
    assert codes(new, known(jyt_1=system(unit="rst"))) == ["system.unit_fixed"]


def test_a_revision_that_leaves_the_stock_needs_what_a_new_one_does() -> None:
    """Art. 29: registered as older than the rules and then dated later, the total would rise by the back door."""
    stock = known(jyt_1=system(stock=True), old_1=system())
    for approved_on in ("2024-01-01", ""):
        (problem,) = problems_of(entry(approved_on=approved_on), stock)
        assert (problem.code, problem.field, problem.article) == ("system.leaves_stock", "approved_on", "Art. 29")
    assert codes(entry(approved_on="2018-01-01"), stock) == []
    new = entry(approved_on="2024-01-01", merges="old-1")
    assert codes(new, stock) == []
    assert codes(replace(new, merges=(), growth_reason="新增法定职责"), stock, proposed=True) == []


def test_what_is_said_of_its_use_has_a_day_and_no_future() -> None:
    """A figure without the day it is of says nothing."""
    assert codes(entry(monthly_users="3"), known()) == ["system.reported_on"]
    late = entry(monthly_users="3", reported_on="2026-11-26", last_business_on="2026-12-01")
    assert codes(late, known()) == ["system.future", "system.future", "system.after_report"]


def test_names_that_name_nothing_are_told() -> None:
    """Unit, owner, the system that could replace it."""
    wrong = entry(unit="xx", owner="nobody", replaceable_by="nothing")
    assert codes(wrong, known()) == ["unit.unknown", "system.owner_unknown", "system.replacement_unknown"]
    assert codes(entry(replaceable_by="jyt-1"), known()) == ["system.replaces_itself"]


@given(st.dates(min_value=date(1990, 1, 1), max_value=TODAY), st.integers(min_value=0, max_value=4))
def test_registering_never_raises_the_total_without_the_bureau(approved_on: date, merged: int) -> None:
    """Of a new system that is let in, either it is stock, or at least one other ends by it."""
    there = known(**{f"old_{n}": system() for n in range(merged)})
    new = entry(approved_on=approved_on.isoformat(), merges=" ".join(f"old-{n}" for n in range(merged)))
    allowed = not problems_of(new, there)
    assert allowed == (approved_on < IN_FORCE or merged > 0)
    assert allowed or approved_on > IN_FORCE - timedelta(days=1)

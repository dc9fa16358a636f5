"""Dated rules of a file meet dated rows (``region.dated``)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.region.dated import Held, Merge, Wanted, merge

patient = settings(deadline=None)  # a busy machine is no failure
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def day(offset: int) -> datetime:
    return NOW + timedelta(days=offset)


def rule(offset: int, value: str, key: str = "k") -> Wanted:
    return Wanted((key,), day(offset), {"value": value}, f"{key}{offset}")


def applied(rows: list[Held], found: Merge) -> list[Held]:
    """The rows as they are after the merge was written."""
    ends = {row.id: until for row, until in found.ended}
    values = {row.id: rule.values for row, rule in found.corrected}
    kept = [Held(r.id, r.key, r.since, ends.get(r.id, r.until), values.get(r.id, r.values)) for r in rows]
    return kept + [Held(uuid4(), w.key, w.since, until, w.values) for w, until in found.added]


def test_new_rules_follow_one_another() -> None:
    """Each ends where the next begins; the last stays open."""
    found = merge([rule(5, "b"), rule(-900, "a")], [], NOW)
    assert [(wanted.values["value"], until) for wanted, until in found.added] == [("a", day(5)), ("b", None)]


def test_a_rule_added_for_the_future_ends_the_one_before() -> None:
    """A new price from next month: a row ends, a row begins."""
    old = Held(UUID(int=1), ("k",), day(-900), None, {"value": "a"})
    found = merge([rule(-900, "a"), rule(30, "b")], [old], NOW)
    assert found.ended == [(old, day(30))]
    assert [(wanted.values["value"], until) for wanted, until in found.added] == [("b", None)]
    assert not found.problems


def test_what_held_until_today_is_not_rewritten() -> None:
    """Another value from the same day, or a rule put into the past, is refused."""
    old = Held(UUID(int=1), ("k",), day(-900), None, {"value": "a"})
    assert [p.code for p in merge([rule(-900, "other")], [old], NOW).problems] == ["region.history"]
    assert [p.code for p in merge([rule(-900, "a"), rule(-1, "b")], [old], NOW).problems] == ["region.history"]


def test_what_does_not_hold_yet_may_be_corrected() -> None:
    """Nobody has acted on it."""
    rows = [
        Held(UUID(int=1), ("k",), day(-900), day(30), {"value": "a"}),
        Held(UUID(int=2), ("k",), day(30), None, {"value": "b"}),
    ]
    found = merge([rule(-900, "a"), rule(30, "c")], rows, NOW)
    assert found.corrected == [(rows[1], rule(30, "c"))]
    assert not found.problems
    assert not found.ended


def test_rows_the_file_does_not_name_stay() -> None:
    """Nothing is deleted."""
    other = Held(UUID(int=1), ("other",), day(-900), None, {"value": "a"})
    assert merge([], [other], NOW) == Merge()


plans = st.dictionaries(st.integers(-1000, 1000), st.sampled_from("abc"), min_size=1, max_size=6)


@patient
@given(plans, plans)
def test_rows_of_one_key_never_overlap_and_a_second_merge_changes_nothing(
    first: dict[int, str], second: dict[int, str]
) -> None:
    """Whatever is loaded on top of whatever: no two rows at once, and loading again is nothing to do."""
    rows = applied([], merge([rule(d, v) for d, v in first.items()], [], NOW))
    wanted = [rule(d, v) for d, v in second.items()]
    found = merge(wanted, rows, NOW)
    if found.problems:
        return
    rows = sorted(applied(rows, found), key=lambda row: row.since)
    for before, after in pairwise(rows):
        assert before.until is not None
        assert before.until <= after.since
    assert merge(wanted, rows, NOW) == Merge()


@patient
@given(plans, plans)
def test_what_holds_today_holds_on_unless_refused(first: dict[int, str], second: dict[int, str]) -> None:
    """No accepted load changes what held at any instant up to now."""

    def value_at(rows: list[Held], instant: datetime) -> object:
        return [r.values["value"] for r in rows if r.since <= instant and (r.until is None or instant < r.until)]

    rows = applied([], merge([rule(d, v) for d, v in first.items()], [], NOW))
    found = merge([rule(d, v) for d, v in second.items()], rows, NOW)
    if not found.problems:
        after = applied(rows, found)
        for offset in {*first, *second, -1}:
            if offset < 0:
                assert value_at(after, day(offset)) == value_at(rows, day(offset))


@patient
@given(plans, plans)
def test_where_the_past_is_open_the_rows_say_what_the_file_says(first: dict[int, str], second: dict[int, str]) -> None:
    """From its first day on what the file says holds, whatever days stood before; earlier what stood.

    No two at once, no gap; once is enough.
    """
    rows = applied([], merge([rule(d, v) for d, v in {-2000: "z", **first}.items()], [], NOW))
    wanted = [rule(d, v) for d, v in second.items()]
    found = merge(wanted, rows, NOW, open_past=True)
    assert found.problems == []
    after = sorted(applied(rows, found), key=lambda row: row.since)
    assert [row.until for row in after[:-1]] == [row.since for row in after[1:]]
    assert after[-1].until is None
    stood = {-2000: "z", **first}
    for offset in {*stood, *second}:
        said = second if offset >= min(second) else stood
        held = [
            r.values["value"] for r in after if r.since <= day(offset) and (r.until is None or day(offset) < r.until)
        ]
        assert held == [said[max(known for known in said if known <= offset)]]
    assert merge(wanted, after, NOW, open_past=True) == Merge()

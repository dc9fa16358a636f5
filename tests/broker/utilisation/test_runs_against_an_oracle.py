"""Every run of random worlds equals the one worked out day by day, whatever file, time zone, policy and batch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.utilisation.engine import engine
from broker.utilisation.policy_file import parse_policies
from broker.utilisation.samples import Report, files_of
from broker.utilisation.scan import Question, scan
from tests.broker.utilisation import oracle
from tests.broker.utilisation.files import NOW, row, write_csv, write_parquet
from tests.broker.utilisation.oracle import Row

ZONES = ("UTC", "Asia/Shanghai", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca")
STARTS = (
    datetime(2026, 3, 6, 5, tzinfo=UTC),  # New York's clocks go forward on the 8th
    datetime(2025, 10, 30, 21, tzinfo=UTC),  # and back on 2 November
    datetime(2026, 4, 3, 13, tzinfo=UTC),  # Lord Howe's go back half an hour on the 5th
    datetime(1988, 4, 14, 11, tzinfo=UTC),  # Shanghai's went forward on the 17th
    datetime(1991, 9, 12, 11, tzinfo=UTC),  # and back for the last time on the 15th
)
VALUES = ("0", "4.9", "0.1", "0.2", "5", "5.1", "9.7", "10", "10.3", None)
METRICS = ("cpu_avg_pct", "net_kbps")

limits = st.sampled_from([5, 10, 0.15, 4.9, 7.5])


@st.composite
def leaf(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {
        "metric": draw(st.sampled_from(METRICS)),
        "daily": draw(st.sampled_from(["mean", "max", "min", "p95", "sum"])),
    }
    kind = draw(st.sampled_from(["below", "below", "above", "between"]))
    if kind == "between":
        return found | {"above": 0.15, "below": draw(st.sampled_from([5, 10]))}
    return found | {kind: draw(limits)}


conditions = st.recursive(
    leaf(),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries(
            {"all": st.lists(inner, min_size=1, max_size=2), "any": st.lists(inner, min_size=1, max_size=2)}
        ),
    ),
    max_leaves=5,
)
policies = st.lists(
    st.fixed_dictionaries(
        {
            "when": conditions,
            "days": st.integers(1, 3),
            "min_samples_per_day": st.sampled_from([1, 1, 2, 20]),
            "missing_day": st.sampled_from(["break", "skip"]),
        }
    ),
    min_size=1,
    max_size=3,
)


@st.composite
def worlds(draw: st.DrawFn) -> list[Row]:
    """A few resources over ten days: quiet and busy days, gaps, missing values, doubled rows."""
    start = draw(st.sampled_from(STARTS))
    rows: list[Row] = []
    for number in range(draw(st.integers(1, 3))):
        days = draw(st.lists(st.sampled_from(["", "day", "half", "lone", "doubled"]), min_size=1, max_size=10))
        for day, kind in enumerate(days):
            values = draw(st.lists(st.tuples(*[st.sampled_from(VALUES)] * 2), min_size=1, max_size=3))
            outliers = draw(st.sampled_from([0, 0, 1, 2]))
            at = {"": [], "day": range(24), "half": range(0, 24, 2), "lone": [7], "doubled": [3, 3, 9]}[kind]
            for n, hour in enumerate(at):
                # A few outliers decide on a 95th percentile: 1 of 24 lies beyond it, 2 of 24 do not.
                cpu, net = ("10.3", "10.3") if n < outliers else values[n % len(values)]
                when = start + timedelta(days=day, hours=hour)
                rows.append(row(f"vm-{number}", when, cpu_avg_pct=cpu, net_kbps=net))
    return rows


def write(folder: Path, rows: Sequence[Row], shape: str) -> None:
    """One file or several, in different orders and formats."""
    if shape == "csv":
        write_csv(folder / "all.csv.gz", rows)
        return
    keys: dict[str, Callable[[Row], str]] = {
        "by day": lambda r: f"{r.hour:%Y-%m-%d}",
        "by resource": lambda r: r.resource,
        "one": lambda _: "all",
    }
    key = keys[shape]
    parts: dict[str, list[Row]] = {}
    for each in rows:
        parts.setdefault(key(each), []).append(each)
    for name, part in parts.items():
        write_parquet(folder / f"{name}.parquet", part)


@settings(max_examples=40, deadline=None)
@given(
    rows=worlds(),
    asked=policies,
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    shape=st.sampled_from(["csv", "by day", "by resource", "one"]),
    rows_at_once=st.sampled_from([24, 60, 200, 1000]),
)
def test_runs_are_those_of_the_oracle(
    rows: list[Row], asked: list[dict[str, Any]], zone: ZoneInfo, shape: str, rows_at_once: int
) -> None:
    """A run is maximal, found once, and shows its matching days' figures; a mean that equals a limit matches not."""
    asked = [{"name": f"p{n}", **policy} for n, policy in enumerate(asked)]
    expected = sorted(found for policy in asked for found in oracle.runs(rows, policy, zone))
    with tempfile.TemporaryDirectory() as name, engine(256, threads=1) as db:
        write(Path(name), rows, shape)
        report = Report()
        ask = Question(parse_lenient(asked), zone, NOW, rows_at_once)
        found = list(scan(db, files_of(Path(name)), ask, report)) if rows else []
    runs = {(r.resource_id, r.policy, r.first_day, r.last_day, r.days): r.evidence for r in found}
    assert len(runs) == len(found)
    assert sorted(runs) == expected
    assert report.intake().dropped == 0
    by_name = {policy["name"]: policy for policy in asked}
    for run, evidence in runs.items():
        figures = [(each.least, each.greatest, each.mean) for each in evidence]
        assert figures == approx_all(oracle.evidence(rows, by_name[run[1]], zone, run))


def approx_all(expected: Sequence[tuple[float, ...]]) -> list[Any]:
    """Figures are kept in four bytes."""
    return [pytest.approx(each, rel=1e-6, abs=1e-9) for each in expected]


def parse_lenient(asked: Sequence[dict[str, Any]]) -> Any:
    """The policies, read as from a file; a contradiction is fine here: the oracle finds nothing for it either."""
    from unittest.mock import patch

    with patch("broker.utilisation.policy_file.contradiction", return_value=None):
        return parse_policies({"policies": list(asked)}).policies

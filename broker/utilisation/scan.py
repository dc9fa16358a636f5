"""Finds, for each resource and policy, the maximal runs of days that match.

Called by: ``guiyun idle scan`` (files, without a database), ``utilisation.service`` (the store). Must not: know the
inventory, or hold samples in Python: DuckDB adds up resource by day, Python sees one string of days per resource.

One pass over the samples for all policies, in batches of days (or, in files sorted by resource, of resources) so that
what is added up at once fits in memory; a batch reads only the files and row groups that can hold something of it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from broker.utilisation import batches
from broker.utilisation.batches import Batch
from broker.utilisation.engine import Engine, listing, parquet
from broker.utilisation.local_days import day_number, day_number_sql, day_of, offsets
from broker.utilisation.measured import Measured, open_metrics
from broker.utilisation.rules import day_letters, runs_of
from broker.utilisation.samples import Report, moment, reason_sql
from broker.utilisation.scan_sql import Plan, plan
from broker.utilisation.values import HOUR, ID, Figures, Policy, Run, conditions

_FETCH = 10_000


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for: policies, whose days, and the instant after which a sample cannot be.

    ``rows_at_once``: about how many samples are added up before the sums are put away. ``aliases``: other names that
    samples of a resource bear in these files, each with the one that its runs are told by.
    """

    policies: Sequence[Policy]
    zone: ZoneInfo
    now: datetime
    rows_at_once: int = batches.ROWS
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """The metrics that any policy looks at."""
        return sorted({leaf.metric for policy in self.policies for leaf in conditions(policy.when)})


@dataclass(frozen=True, slots=True)
class Days:
    """The local days that have samples, from ``first`` to ``last`` (numbers since 1970-01-01)."""

    first: int
    last: int


def scan(engine: Engine, paths: Sequence[Path], ask: Question, report: Report) -> Iterator[Run]:
    """Every maximal run of at least the policy's days, in no particular order. ``report`` is complete at once.

    Raises Invalid for files that cannot be read at all (see ``samples``); bad rows are reported and left out.
    """
    found = open_metrics(engine, paths, ask.columns, ask.now, report)
    if found is None:
        return iter(())
    days = Days(day_number(found.first, ask.zone), day_number(found.last, ask.zone))
    ways = plan(ask.policies, found.gaps)
    _add_up(engine, found, ways, ask, report)
    _runs(engine, ways, ask.policies, days)
    return _found(engine, ways, ask.policies)


def _add_up(engine: Engine, found: Measured, ways: Plan, ask: Question, report: Report) -> None:
    """Fill ``daily``: per resource and local day, which policies find it measured and matching, and the figures."""
    known = offsets(ask.zone, found.first, found.last)
    day = day_number_sql(f"epoch_us({found.hour})", known)
    picked = "".join(f", {sql} AS {name}" for name, sql in ways.aggregates.items())
    shown = "".join(f", {sql} AS p{i}" for i, sql in ways.measured.items())
    shown += "".join(f", {sql} AS m{i}" for i, sql in enumerate(ways.matches))
    shown += "".join(f", {sql} AS f{i}" for i, sql in enumerate(ways.figures))
    # What no policy finds matching is of use only where a missing day is told from another.
    useful = " OR ".join(
        f"{letter}{i}" for letter, each in (("m", ways.matches), ("p", ways.measured)) for i in _of(each)
    )
    resource, source = _named(engine, found, ask)

    def added_up(batch: Batch) -> str:
        # By one column that stands in the file as a dictionary, grouping is three times as quick as by two.
        which = day if batch.day is None else f"CAST({batch.day} AS INTEGER)"
        return f"""
            SELECT * FROM (SELECT r, d{shown} FROM (
                SELECT {resource} AS r, {which} AS d{picked} FROM {parquet(batch.files)}{source}
                {_where(found, batch, day)} GROUP BY {"ALL" if batch.day is None else 1}))
            WHERE {useful}
            """

    cut = batches.of(found.groups, ask.zone, fixed=len(known) == 1, rows=ask.rows_at_once, torn=bool(ask.aliases))
    for number, at_once in enumerate(batches.together(cut, ask.rows_at_once)):
        sql = " UNION ALL ".join(added_up(batch) for batch in at_once)
        engine.db.execute(f"CREATE TEMP TABLE daily AS {sql}" if number == 0 else f"INSERT INTO daily {sql}")
    if found.checks:
        good = engine.one(f"SELECT count(*) FROM {parquet(found.files)} WHERE {' AND '.join(found.checks)}")[0]
        if good != found.rows:
            _explain(engine, found, ask, report)


def _named(engine: Engine, found: Measured, ask: Question) -> tuple[str, str]:
    """SQL of a resource's name, and what else has to be read for it: only where some resource bears two."""
    if not ask.aliases:
        return found.resource, ""
    name = f"CAST({found.resource} AS VARCHAR)"
    engine.db.execute("CREATE TEMP TABLE alias (other VARCHAR, told_by VARCHAR)")
    engine.db.executemany("INSERT INTO alias VALUES (?, ?)", list(ask.aliases.items()))
    return f"coalesce(told_by, {name})", f" LEFT JOIN alias ON other = {name}"


def _of(numbered: Mapping[int, str] | Sequence[str]) -> Iterator[int]:
    yield from (numbered if isinstance(numbered, Mapping) else range(len(numbered)))


def _where(found: Measured, batch: Batch, day: str) -> str:
    parts = []
    if batch.resources is not None:
        low, high = batch.resources
        parts += [f"{ID} >= {low}"] * (low is not None) + [f"{ID} < {high}"] * (high is not None)
    if batch.hours is not None:
        start, end = batch.hours
        parts += [f"{HOUR} >= {moment(start)}", f"{HOUR} < {moment(end)}"]
    if batch.days is not None:
        parts.append(f"{day} BETWEEN {batch.days[0]} AND {batch.days[1]}")
    parts += found.checks
    return "WHERE " + " AND ".join(parts) if parts else ""


def _explain(engine: Engine, found: Measured, ask: Question, report: Report) -> None:
    """Some rows were left out by the checks: say which, by the same rules as for a CSV file."""
    reason = reason_sql(ask.columns, ask.now)
    table = parquet(found.files, "filename = true", "file_row_number = true")
    source = f"""
        SELECT filename, file_row_number + 1 AS place, {reason} AS reason
        FROM (SELECT * REPLACE ({found.hour} AS {HOUR}) FROM {table})
        """
    rows = engine.rows(
        f"SELECT reason, count(*), min((filename, place), 3) FROM ({source}) WHERE reason IS NOT NULL GROUP BY 1"
    )
    for why, count, places in rows:
        report.leave(why, count, (f"{Path(file).name}:{place}" for file, place in places))


def _runs(engine: Engine, ways: Plan, policies: Sequence[Policy], days: Days) -> None:
    """Fill ``run``: one string of days per resource, cut into runs by ``rules.runs_of``."""

    def string(flag: str) -> str:
        return f", bitstring_agg(d, {days.first}, {days.last}) FILTER ({flag}) AS {flag}"

    numbers = range(len(policies))
    strings = "".join(string(f"m{i}") + (string(f"p{i}") if i in ways.measured else f", NULL AS p{i}") for i in numbers)
    # A resource with fewer matching days than a run has is not worth its string.
    enough = [f"bit_count(m{i}) >= {policy.days}" for i, policy in enumerate(policies)]
    asked = "".join(f", CASE WHEN {enough[i]} THEN CAST(m{i} AS VARCHAR) END, CAST(p{i} AS VARCHAR)" for i in numbers)
    answer = engine.db.execute(
        f"SELECT CAST(r AS VARCHAR){asked} FROM (SELECT r{strings} FROM daily GROUP BY r) WHERE {' OR '.join(enough)}"
    )
    path = engine.folder / "runs.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        while rows := answer.fetchmany(_FETCH):
            writer.writerows(_cut(rows, policies, days.first))
    engine.db.execute(
        f"CREATE TABLE run AS SELECT * FROM read_csv({listing([path])}, auto_detect = false, header = false,"
        " columns = {'r': 'VARCHAR', 'policy': 'INTEGER', 'a': 'INTEGER', 'b': 'INTEGER', 'days': 'INTEGER'})"
    )


def _cut(
    rows: Sequence[tuple[Any, ...]], policies: Sequence[Policy], first: int
) -> Iterator[tuple[str, int, int, int, int]]:
    for row in rows:
        for i, policy in enumerate(policies):
            matches, measured = row[2 * i + 1], row[2 * i + 2]
            if matches is not None:
                letters = matches if measured is None else day_letters(matches, measured)
                for start, end, count in runs_of(letters, policy.missing_day, policy.days):
                    yield row[0], i, first + start, first + end, count


def _found(engine: Engine, ways: Plan, policies: Sequence[Policy]) -> Iterator[Run]:
    """The runs with the figures of their days."""
    figures = "".join(f", min(f{i}), max(f{i}), avg(f{i})" for i in range(len(ways.leaves)))
    matches = " ".join(f"WHEN {i} THEN m{i}" for i in range(len(policies)))
    answer = engine.db.execute(
        f"""
        SELECT run.r, policy, a, b, days, figures.* EXCLUDE (number) FROM run JOIN (
            SELECT run.rowid AS number{figures} FROM run
            JOIN daily ON run.r = CAST(daily.r AS VARCHAR) AND d BETWEEN a AND b AND CASE policy {matches} END
            GROUP BY 1
        ) figures ON run.rowid = number
        """
    )
    places = {leaf: 5 + 3 * i for i, leaf in enumerate(ways.leaves)}
    asked = [[(leaf, places[leaf]) for leaf in dict.fromkeys(conditions(policy.when))] for policy in policies]
    while rows := answer.fetchmany(_FETCH):
        for row in rows:
            resource, number, first, last, count = row[:5]
            evidence = tuple(Figures(leaf, *row[at : at + 3]) for leaf, at in asked[number] if row[at] is not None)
            yield Run(resource, policies[number].name, day_of(first), day_of(last), count, evidence)

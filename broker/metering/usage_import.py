"""Brings a file of usage in: a verdict on every line first, then all of it or nothing.

Called by: the API, the console, the command line. Must not: write a line that nobody saw the verdict of (applying names
its digest), charge anything, or touch what a resource's own size tells (vCPU, memory, disks, segments).

What a line is about is its resource, meter and begin: a file brought twice says nothing new, one with another quantity
or end changes the row. Changed time of closed months becomes adjustments at the next close (0008). Who may is ours:
the operator of the unit that delivers for the resource's cloud (Art. 17(4)), and the administrator.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import UUID

from broker.errors import NotFound, Problem
from broker.inventory import brought, cells, sheets
from broker.inventory.brought import CHANGE, NEW, SAME, WRONG
from broker.inventory.sheets import Line
from broker.metering import usage_file, usage_sql
from broker.metering.models import KINDS, UsageImport
from broker.metering.usage_lines import COLUMNS, REQUIRED, Fact, read, show_time
from broker.tenancy.work import Work

VERDICTS = (NEW, CHANGE, SAME, WRONG)


@dataclass(slots=True)
class Verdict:
    """What a line would do. ``line``: its number in the file; ``was``: the row it changes."""

    line: int
    kind: str = NEW
    cells: Mapping[str, str] = field(default_factory=dict)
    fact: Fact | None = None
    resource_id: UUID | None = None
    resource_name: str = ""
    was: Fact | None = None
    row_id: UUID | None = None
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Looked:
    """A file's verdicts and what they are called together."""

    kind: str
    verdicts: tuple[Verdict, ...]
    digest: str

    @property
    def counts(self) -> Mapping[str, int]:
        return brought.counted(self.verdicts, VERDICTS)

    @property
    def problems(self) -> list[Problem]:
        """Everything that is wrong, each with its line."""
        return brought.mistakes(self.verdicts)


def who(work: Work) -> dict[str, Any]:
    """The parameters by which ``usage_sql`` finds what the actor meters."""
    return {"everything": work.actor.sees_everything, "unit_id": work.actor.unit_id, "now": work.now}


def look(work: Work, kind: str, content: bytes, headings: Mapping[str, str], *, hold: bool = False) -> Looked:
    """Read a file and say of every line what it would do. ``headings``: what a column may be called -> field.

    ``hold``: its resources cannot be given back meanwhile, for what it says is going to be written.

    Raises NotFound ``usage.kind``; Invalid (``usage_file.read``), ``import.unknown_column``, ``import.column_twice``,
    ``import.missing_column``.
    """
    _check(kind)
    head, *lines = usage_file.read(content)
    names = {heading: name for heading, name in headings.items() if name in COLUMNS[kind]}
    columns = sheets.columns(head, names, REQUIRED[kind])
    verdicts = [_read(kind, line, columns) for line in lines]
    facts = [v.fact for v in verdicts if v.fact is not None]
    if hold:
        usage_sql.hold(work.session, {fact.resource for fact in facts})
    _place(work, kind, verdicts, {fact.resource for fact in facts}, {fact.meter for fact in facts})
    _compare(work, kind, [v for v in verdicts if v.fact is not None and v.resource_id is not None])
    for verdict in verdicts:
        if verdict.problems:
            verdict.kind = WRONG
    said = (kind, [(v.line, v.kind, v.row_id, v.was, [p.code for p in v.problems]) for v in verdicts])
    return Looked(kind, tuple(verdicts), brought.digest_of(content, said))


def _check(kind: str) -> None:
    if kind not in KINDS:
        raise NotFound("usage.kind")


def _read(kind: str, line: Line, columns: Mapping[int, str]) -> Verdict:
    fact, problems = cells.read_line(partial(read, kind), line, columns, max(columns) + 1)
    return Verdict(line.number, cells=sheets.texts(line, columns), fact=fact, problems=problems)


def _place(work: Work, kind: str, verdicts: Sequence[Verdict], names: set[str], meters: set[str]) -> None:
    """Find each line's resource; check its time and its meter."""
    found = usage_sql.resources(work.session, names, who(work))
    by_name = {row.number: row for row in found} | {str(row.id): row for row in found}
    priced = usage_sql.meters(work.session, meters)
    for verdict in verdicts:
        fact = verdict.fact
        if fact is None:
            continue
        row = by_name.get(fact.resource)
        if row is None:
            verdict.problems.append(Problem("usage.resource_unknown", "resource"))
        else:
            verdict.resource_id, verdict.resource_name = row.id, row.name
            verdict.problems += _in_use(kind, fact, row, work.now)
        if kind != "terms":
            once, by_time = priced.get(fact.meter, (False, False))
            if not (once or by_time):
                verdict.problems.append(Problem("usage.meter_unknown", "meter", params={"meter": fact.meter}))
            elif kind == "items" and not once:
                verdict.problems.append(Problem("usage.meter_by_time", "meter"))
            elif kind == "records" and not by_time:
                verdict.problems.append(Problem("usage.meter_once", "meter"))


def _in_use(kind: str, fact: Fact, row: Any, now: datetime) -> list[Problem]:
    """Usage is within the time a resource was in use, and has happened; a term may still run."""
    start_name = "at" if kind == "items" else "start_at"
    if row.since is None:
        return [Problem("usage.never_in_use", "resource")]
    since = row.since.replace(microsecond=0)
    if fact.start < since:
        return [Problem("usage.before_use", start_name, params={"since": show_time(since)})]
    if row.until is not None and (fact.start >= row.until or (kind == "records" and not _ends_by(fact.end, row.until))):
        name = "end_at" if fact.start < row.until else start_name
        return [Problem("usage.after_use", name, params={"until": show_time(row.until)})]
    if fact.start > now:
        return [Problem("usage.future", start_name)]
    if kind == "records" and fact.end is not None and fact.end > now:
        return [Problem("usage.future", "end_at")]
    return []


def _ends_by(end: datetime | None, until: datetime) -> bool:
    return end is not None and end <= until


def _compare(work: Work, kind: str, verdicts: Sequence[Verdict]) -> None:
    """Against the rows that are there, and the lines against each other."""
    timelines: dict[tuple[UUID, str], dict[datetime, tuple[Fact, Verdict | None]]] = defaultdict(dict)
    ids: dict[tuple[UUID, str, datetime], UUID] = {}
    for row in usage_sql.there(work.session, kind, {v.resource_id for v in verdicts if v.resource_id}):
        start = row.start_at.replace(microsecond=0)
        there = Fact(row.number, row.meter, row.quantity, start, row.end_at, row.state, row.note)
        timelines[row.resource_id, row.meter][start] = (there, None)
        ids[row.resource_id, row.meter, start] = row.id
    for verdict in verdicts:
        fact, resource_id = verdict.fact, verdict.resource_id
        assert fact is not None
        assert resource_id is not None
        timeline = timelines[resource_id, fact.meter]
        old, other = timeline.get(fact.start, (None, None))
        if other is not None:
            verdict.problems.append(Problem("usage.line_twice", "resource", params={"line": other.line}))
            continue
        if old is not None:
            verdict.row_id = ids[resource_id, fact.meter, fact.start]
            same = replace(fact, resource=old.resource) == old
            verdict.kind, verdict.was = (SAME, None) if same else (CHANGE, old)
        timeline[fact.start] = (fact, verdict)
    if kind != "items":
        for timeline in timelines.values():
            _overlaps([timeline[start] for start in sorted(timeline)])


def _overlaps(timeline: Sequence[tuple[Fact, Verdict | None]]) -> None:
    """Neighbours that share time: told at the later line, or at the only one of the two that is in the file."""
    for (first, one), (second, two) in pairwise(timeline):
        if first.end is not None and first.end <= second.start:
            continue
        told, other, fact = (two, one, first) if two is not None else (one, None, second)
        if told is not None:
            at = {"line": other.line if other else "", "start_at": show_time(fact.start), "end_at": show_time(fact.end)}
            code = "usage.overlap" if other is None else "usage.overlap_line"
            told.problems.append(Problem(code, "start_at", params=at))


def begin(
    work: Work, kind: str, content: bytes, file_name: str, headings: Mapping[str, str]
) -> tuple[UsageImport, Looked]:
    """The dry run: keep the file, say what it would do. Raises what ``look`` does."""
    looked = look(work, kind, content, headings)
    lines = len(looked.verdicts)
    return brought.keep(work, UsageImport, content, file_name, looked.digest, kind=kind, lines=lines), looked


def again(work: Work, import_id: UUID, headings: Mapping[str, str]) -> tuple[UsageImport, Looked]:
    """What a kept file would do now. Raises NotFound ``import.not_found``, also for somebody else's."""
    kept = brought.mine(work, UsageImport, import_id)
    return kept, look(work, kept.kind, kept.content, headings)


def apply(work: Work, import_id: UUID, digest: str, headings: Mapping[str, str]) -> tuple[UsageImport, Looked]:
    """Write everything that the verdict named ``digest`` says: all lines or none.

    Raises NotFound ``import.not_found``; Conflict ``import.applied``, ``import.changed`` (look again); Invalid with
    every problem of every line.
    """
    kept = brought.to_apply(work, UsageImport, import_id)
    work.session.execute(usage_sql.LOCK)
    looked = look(work, kept.kind, kept.content, headings, hold=True)
    brought.require_agreed(digest, looked.digest, looked.problems)
    changed = [(v.row_id, v.fact) for v in looked.verdicts if v.kind == CHANGE and v.row_id and v.fact]
    usage_sql.change(work.session, kept.kind, changed)
    new = [(v.resource_id, v.fact) for v in looked.verdicts if v.kind == NEW and v.resource_id and v.fact]
    usage_sql.add(work.session, kept.kind, new, kept.id)
    brought.applied(work, kept, "usage", "", {"kind": kept.kind, **looked.counts, "digest": digest})
    return kept, looked


def rows(work: Work, kind: str, number: str = "") -> list[dict[str, str]]:
    """What is recorded, in the columns of a file: of everything the actor meters (or may read), or of one resource.

    Raises NotFound ``usage.kind``.
    """
    _check(kind)
    out = []
    for row in usage_sql.every(work.session, kind, number, who(work)):
        start, end = show_time(row.start_at), show_time(row.end_at)
        cells = {
            "resource": row.number, "meter": row.meter, "quantity": str(row.quantity), "term_months": str(row.quantity),
            "start_at": start, "at": start, "end_at": end, "state": row.state, "note": row.note,
        }  # fmt: skip
        out.append({name: cells[name] for name in COLUMNS[kind]})
    return out

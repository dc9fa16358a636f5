"""Cuts a scan into batches, so that what is added up at once stays small, by what row groups hold. Pure.

Called by: ``utilisation.scan``. Must not: change what is found: together, batches hold every row once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from broker.utilisation.engine import literal
from broker.utilisation.local_days import day_number, day_starts

ROWS = 32_000_000
"""Of what is added up at once. At 24 rows a day it makes 1.3 million sums, about 150 MiB."""
WASTE = 1.5
"""How many times more rows than there are the batches may look at; beyond that the data is not sorted that way."""
TWICE = 2.2
"""The same where a batch is one local day, which lies in two files of UTC days: grouping costs more than reading."""


@dataclass(frozen=True, slots=True)
class Group:
    """A row group: its file, rows, and its first and last hour and resource where they are known."""

    file: str
    rows: int
    hours: tuple[datetime, datetime] | None
    resources: tuple[int, int] | tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Files to read and the part of them: local days (both included) with hours around them, or ids (half-open).

    ``rows``: of the row groups that have to be looked at. ``day``: all of it is this one local day, so that its samples
    are told apart by their resource alone.
    """

    files: tuple[str, ...]
    rows: int
    days: tuple[int, int] | None = None
    hours: tuple[datetime, datetime] | None = None
    resources: tuple[str | None, str | None] | None = None
    day: int | None = None


def of(groups: Sequence[Group], zone: ZoneInfo, *, fixed: bool, rows: int = ROWS, torn: bool = False) -> list[Batch]:
    """Batches of at most about ``rows`` rows; one when the groups are in no order that helps.

    ``fixed``: the zone's offset does not change meanwhile, so that a local day is an unbroken span of hours. ``torn``:
    what belongs together may bear several ids, so that no batch is cut by them.
    """
    files = tuple(dict.fromkeys(group.file for group in groups))
    total = sum(group.rows for group in groups)
    if total > rows:
        ways = [(_by_days(groups, zone, rows, fixed=fixed), WASTE)]
        ways += [] if torn else [(_by_resources(groups, rows), WASTE)]
        if fixed:
            ways.insert(0, (_by_days(groups, zone, 1, fixed=True), TWICE))
        for cut, waste in ways:
            if cut and sum(batch.rows for batch in cut) <= waste * total:
                return cut
    return [Batch(files, total)]


def together(cut: Sequence[Batch], rows: int = ROWS) -> list[list[Batch]]:
    """Neighbours that hold at most about ``rows`` rows between them: one question keeps all cores busy to its end."""
    found: list[list[Batch]] = []
    held = 0
    for batch in cut:
        if not found or held + batch.rows > rows:
            found.append([])
            held = 0
        found[-1].append(batch)
        held += batch.rows
    return found


def _by_days(groups: Sequence[Group], zone: ZoneInfo, rows: int, *, fixed: bool) -> list[Batch]:
    """As many whole local days a batch as ``rows`` has room for, but at least one."""
    spans = [(group, *group.hours) for group in groups if group.hours is not None]
    if len(spans) < len(groups):
        return []
    spans.sort(key=lambda span: span[1])
    first = day_number(spans[0][1], zone)
    last = max(day_number(span[2], zone) for span in spans)
    days = max(1, (last - first + 1) * rows // sum(group.rows for group in groups))
    # Where clocks change, a local day may be torn: look a day further on both sides, the day's number decides.
    slack = timedelta(0) if fixed else timedelta(days=1)
    found = []
    for start in range(first, last + 1, days):
        end = min(start + days - 1, last)
        since, until = day_starts(start, zone) - slack, day_starts(end + 1, zone) + slack
        held = [span[0] for span in spans if span[1] < until and span[2] >= since]
        if held:
            files = tuple(dict.fromkeys(group.file for group in held))
            seen = sum(group.rows for group in held)
            only = start if fixed and start == end else None
            found.append(Batch(files, seen, None if fixed else (start, end), (since, until), day=only))
    return found


def _by_resources(groups: Sequence[Group], rows: int) -> list[Batch]:
    spans = [(group, *group.resources) for group in groups if group.resources is not None]
    if len(spans) < len(groups):
        return []
    spans.sort(key=lambda span: span[1])
    cuts: list[int | str] = []
    held = 0
    for group, low, _ in spans:
        held += group.rows
        if held > rows and low != spans[0][1] and (not cuts or low != cuts[-1]):
            cuts.append(low)
            held = group.rows
    found = []
    for low, high in _pairs(cuts):
        inside = [g for g, least, most in spans if _before(least, high) and (low is None or not _before(most, low))]
        files = tuple(dict.fromkeys(group.file for group in inside))
        found.append(Batch(files, sum(group.rows for group in inside), resources=(_sql(low), _sql(high))))
    return found


def _pairs(cuts: Sequence[int | str]) -> Iterator[tuple[int | str | None, int | str | None]]:
    edges = [None, *cuts, None]
    return pairwise(edges)


def _before(value: int | str, edge: int | str | None) -> bool:
    if edge is None:
        return True
    if isinstance(value, int) and isinstance(edge, int):
        return value < edge
    return str(value) < str(edge)


def _sql(value: int | str | None) -> str | None:
    return None if value is None else str(value) if isinstance(value, int) else literal(value)

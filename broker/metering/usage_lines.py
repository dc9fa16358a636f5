"""A line of a file of usage as a value, and what is wrong with it by itself.

Called by: ``metering.usage_import``. Must not: read the database, or guess at a time without a zone.

Three kinds of file, one shape: usage records (a resource held a quantity from, to), items charged once (at an instant),
terms (committed to for so many months, from, to). A term has no meter, an item no end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from broker.errors import Problem
from broker.metering.models import OF_PERIODS

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "records": ("resource", "meter", "quantity", "start_at", "end_at", "state"),
    "items": ("resource", "meter", "quantity", "at", "note"),
    "terms": ("resource", "term_months", "start_at", "end_at"),
}
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "records": ("resource", "meter", "quantity", "start_at"),
    "items": ("resource", "meter", "quantity", "at"),
    "terms": ("resource", "term_months", "start_at"),
}
MOST_QUANTITY = 10**12
MOST_MONTHS = 1200
MOST_NOTE = 200
METER = re.compile(r"[a-z][a-z0-9_]{0,59}")
_OF_SIZE = re.compile(OF_PERIODS)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})")
_WHOLE = re.compile(r"[0-9]{1,13}")


@dataclass(frozen=True, slots=True)
class Fact:
    """One line, or one row that is there. ``quantity`` of a term: its months; ``end`` None: still holds."""

    resource: str
    meter: str
    quantity: int
    start: datetime
    end: datetime | None = None
    state: str = "active"
    note: str = ""


def of_size(meter: str) -> bool:
    """Whether a resource's own size tells this meter: then nothing else may."""
    return _OF_SIZE.fullmatch(meter) is not None


def read(kind: str, cells: Mapping[str, str]) -> tuple[Fact | None, list[Problem]]:
    """One line; everything that is wrong with it by itself."""
    problems = [Problem("usage.cell_missing", name) for name in REQUIRED[kind] if not cells.get(name)]
    terms = kind == "terms"
    number, start_name = "term_months" if terms else "quantity", "at" if kind == "items" else "start_at"
    quantity = _quantity(cells.get(number, ""), terms=terms)
    if quantity is None and cells.get(number):
        problems.append(Problem("usage.months" if terms else "usage.quantity", number))
    start, end = _time(cells.get(start_name, "")), _time(cells.get("end_at", ""))
    for name, found in ((start_name, start), ("end_at", end)):
        if found is None and cells.get(name):
            problems.append(Problem("usage.time", name))
    if start is not None and end is not None and end <= start:
        problems.append(Problem("usage.end_before_start", "end_at"))
    meter, state, note = cells.get("meter", ""), cells.get("state") or "active", cells.get("note", "")
    if meter and not METER.fullmatch(meter):
        problems.append(Problem("usage.meter_unknown", "meter", params={"meter": meter[:60]}))
    elif of_size(meter):
        problems.append(Problem("usage.meter_of_size", "meter", params={"meter": meter}))
    if state not in {"active", "stopped"}:
        problems.append(Problem("usage.state", "state"))
    if len(note) > MOST_NOTE:
        problems.append(Problem("field.length", "note", params={"least": 0, "most": MOST_NOTE}))
    if problems or quantity is None or start is None:
        return None, problems
    return Fact(cells["resource"], meter, quantity, start, end, state, note), []


def _quantity(text: str, *, terms: bool) -> int | None:
    if not _WHOLE.fullmatch(text):
        return None
    number = int(text)
    least, most = (1, MOST_MONTHS) if terms else (0, MOST_QUANTITY)
    return number if least <= number <= most else None


def _time(text: str) -> datetime | None:
    """An instant with its zone, in whole seconds, as UTC; None for anything else."""
    if not _TIME.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.replace(" ", "T")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def show_time(at: datetime | None) -> str:
    """An instant as a file has it; an open end is empty."""
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

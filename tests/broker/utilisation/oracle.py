"""Runs worked out the slow way: fractions, sorted lists, a walk over every day. Shares no code with the product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Any
from zoneinfo import ZoneInfo

Found = tuple[str, str, date, date, int]
"""Resource, policy, first day, last day, days."""


@dataclass(frozen=True)
class Row:
    """One sample; values as they are written in a file, None where nothing was measured."""

    resource: str
    hour: datetime
    values: Mapping[str, str | None]


def figure(values: Sequence[Fraction], daily: str) -> Fraction:
    """What the rows of a day come to."""
    if daily == "mean":
        return sum(values, Fraction(0)) / len(values)
    if daily == "sum":
        return sum(values, Fraction(0))
    if daily == "p95":
        return sorted(values)[ceil(Fraction(95, 100) * len(values)) - 1]
    return max(values) if daily == "max" else min(values)


def holds(when: Mapping[str, Any], rows: Sequence[Row]) -> bool:
    """Whether a day's rows fulfil a condition as it stands in the file."""
    if "all" in when or "any" in when:
        together = all(holds(part, rows) for part in when.get("all", ()))
        return together and ("any" not in when or any(holds(part, rows) for part in when["any"]))
    texts = [row.values[when["metric"]] for row in rows]
    values = [Fraction(text) for text in texts if text is not None]
    if not values:
        return False
    value = figure(values, when["daily"])
    below = "below" not in when or value < Fraction(str(when["below"]))
    return below and ("above" not in when or value > Fraction(str(when["above"])))


def runs(rows: Sequence[Row], policy: Mapping[str, Any], zone: ZoneInfo) -> Iterator[Found]:
    """Every maximal run of at least the policy's days."""
    days: dict[str, dict[date, list[Row]]] = {}
    for row in rows:
        days.setdefault(row.resource, {}).setdefault(row.hour.astimezone(zone).date(), []).append(row)
    for resource, held in days.items():
        matching: list[date] = []
        day = min(held)
        while day <= max(held) + timedelta(days=1):
            measured = len(held.get(day, ())) >= policy["min_samples_per_day"]
            if measured and holds(policy["when"], held[day]):
                matching.append(day)
            elif measured or policy["missing_day"] == "break" or day > max(held):
                if matching and len(matching) >= policy["days"]:
                    yield resource, policy["name"], matching[0], matching[-1], len(matching)
                matching = []
            day += timedelta(days=1)

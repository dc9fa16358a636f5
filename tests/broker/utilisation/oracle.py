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


def evidence(rows: Sequence[Row], policy: Mapping[str, Any], zone: ZoneInfo, run: Found) -> list[tuple[float, ...]]:
    """For each condition of the policy that was measured: the least, the greatest and the mean of the run's days."""
    days: dict[date, list[Row]] = {}
    for row in rows:
        day = row.hour.astimezone(zone).date()
        if row.resource == run[0] and run[2] <= day <= run[3]:
            days.setdefault(day, []).append(row)
    enough = [held for held in days.values() if len(held) >= policy["min_samples_per_day"]]
    matching = [held for held in enough if holds(policy["when"], held)]
    found: list[tuple[float, ...]] = []
    for leaf in {str(each): each for each in leaves(policy["when"])}.values():
        texts = [[row.values[leaf["metric"]] for row in held] for held in matching]
        measured = [values for day in texts if (values := [Fraction(text) for text in day if text is not None])]
        shown = [shown_figure(values, leaf) for values in measured]
        if shown:
            found.append((float(min(shown)), float(max(shown)), float(sum(shown) / len(shown))))
    return found


def leaves(when: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The conditions as they stand in the file, ``all`` before ``any``."""
    if "all" not in when and "any" not in when:
        yield when
    for part in (*when.get("all", ()), *when.get("any", ())):
        yield from leaves(part)


def shown_figure(values: Sequence[Fraction], leaf: Mapping[str, Any]) -> Fraction:
    """A day's figure; for a p95 the share of its values on the right side of the limit."""
    if leaf["daily"] != "p95":
        return figure(values, leaf["daily"])
    limit = Fraction(str(leaf["below"] if "below" in leaf else leaf["above"]))
    return Fraction(sum(v < limit if "below" in leaf else v <= limit for v in values), len(values))

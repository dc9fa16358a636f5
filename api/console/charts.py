"""A server's days as lines, units on clouds as a coloured grid, shares as bars: positions for SVG. Pure.

Called by: the pages of idleness and of reclaiming. Must not: read the database or samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from api.texts import reclaim as reclaim_words
from api.texts import utilisation as words
from broker.utilisation.board import Warmth
from broker.utilisation.pictures import DayFigures

WIDTH, HEIGHT, LEFT, TOP = 860, 220, 44, 10
FOOT = 26
MOST_PCT = 100.0


@dataclass(frozen=True, slots=True)
class Band:
    """Days that a finding covers."""

    x: float
    width: float
    title: str


@dataclass(frozen=True, slots=True)
class Spot:
    """A day to point at: where, and what was measured."""

    x: float
    width: float
    title: str


@dataclass(frozen=True, slots=True)
class LineChart:
    """Percentages over days. ``lines``: class and path of each series; a day without a figure breaks a path."""

    lines: Sequence[tuple[str, str]]
    rulers: Sequence[tuple[float, str]]
    dates: Sequence[tuple[float, str]]
    bands: Sequence[Band]
    spots: Sequence[Spot]
    width: int = WIDTH
    height: int = TOP + HEIGHT + FOOT
    left: int = LEFT
    top: int = TOP
    floor: int = TOP + HEIGHT


def line_chart(
    figures: Mapping[date, DayFigures], first: date, last: date, runs: Iterable[tuple[date, date, str]]
) -> LineChart:
    """CPU (mean and greatest) and memory of each day from ``first`` to ``last``; ``runs`` are marked."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    step = (WIDTH - LEFT) / len(days)
    most = max([MOST_PCT, *(each.cpu_max_pct or 0 for each in figures.values())])

    def x(day: date) -> float:
        return round(LEFT + (day - first).days * step, 1)

    def path(of: Callable[[DayFigures], float | None]) -> str:
        parts, drawing = [], False
        for day in days:
            value = of(figures[day]) if day in figures else None
            if value is None:
                drawing = False
                continue
            y = round(TOP + HEIGHT * (1 - value / most), 1)
            parts.append(f"{'L' if drawing else 'M'}{round(x(day) + step / 2, 1)} {y}" + ("" if drawing else "h0.1"))
            drawing = True
        return " ".join(parts)

    series = (
        ("line-max", path(lambda each: each.cpu_max_pct)),
        ("line-memory", path(lambda each: each.memory_pct)),
        ("line-cpu", path(lambda each: each.cpu_avg_pct)),
    )
    bands = [
        Band(x(max(a, first)), round((min(b, last) - max(a, first)).days * step + step, 1), title)
        for a, b, title in runs
        if b >= first and a <= last
    ]
    ticks = range(0, len(days), max(1, len(days) // 6))
    return LineChart(
        lines=[each for each in series if each[1]],
        rulers=[(round(TOP + HEIGHT * (1 - share / 4), 1), f"{most * share / 4:.0f}%") for share in range(5)],
        dates=[(round(x(days[n]) + step / 2, 1), f"{days[n]:%m-%d}") for n in ticks],
        bands=bands,
        spots=[Spot(x(day), round(step, 1), words.day_title(day, figures.get(day))) for day in days],
    )


CELL_WIDTH, CELL_HEIGHT, NAME_WIDTH, HEAD = 76, 30, 220, 86
SLANT = 100
"""How far the last column's slanted name reaches to the right of its cells."""
_STEPS = ((5.0, "cold"), (15.0, "cool"), (40.0, "mild"), (70.0, "warm"))


@dataclass(frozen=True, slots=True)
class HeatCell:
    """One unit on one cloud."""

    x: int
    y: int
    kind: str
    label: str
    title: str


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Rows are units, the largest first; columns are clouds in the region's order."""

    rows: Sequence[tuple[int, str]]
    columns: Sequence[tuple[int, str]]
    cells: Sequence[HeatCell]
    width: int
    height: int
    cell_width: int = CELL_WIDTH
    cell_height: int = CELL_HEIGHT
    name_width: int = NAME_WIDTH
    head: int = HEAD


def heat_map(found: Sequence[Warmth], clouds: Mapping[str, str], *, memory: bool) -> HeatMap:
    """``clouds``: code to name, in the order they are to stand in. Colour and number are CPU, or memory."""
    cores: dict[str, float] = {}
    for each in found:
        cores[each.unit_name] = cores.get(each.unit_name, 0) + each.vcpu
    units = sorted(cores, key=lambda name: (-cores[name], name))
    used = [code for code in clouds if any(each.sub_cloud == code for each in found)]
    cells = []
    for each in found:
        if each.sub_cloud in used:
            pct = each.memory_pct if memory else each.cpu_pct
            cells.append(
                HeatCell(
                    NAME_WIDTH + used.index(each.sub_cloud) * CELL_WIDTH,
                    HEAD + units.index(each.unit_name) * CELL_HEIGHT,
                    _warm(pct),
                    words.NOT_MEASURED if pct is None else f"{pct:.0f}%",
                    words.heat_title(each, clouds[each.sub_cloud]),
                )
            )
    return HeatMap(
        rows=[(HEAD + n * CELL_HEIGHT, name) for n, name in enumerate(units)],
        columns=[(NAME_WIDTH + n * CELL_WIDTH, clouds[code]) for n, code in enumerate(used)],
        cells=cells,
        width=NAME_WIDTH + len(used) * CELL_WIDTH + SLANT,
        height=HEAD + len(units) * CELL_HEIGHT,
    )


def _warm(pct: float | None) -> str:
    if pct is None:
        return "none"
    return next((kind for most, kind in _STEPS if pct < most), "hot")


SHARE_NAME, SHARE_BAR, SHARE_ROW, SHARE_HEAD, SHARE_MOST = 250, 520, 34, 26, 12
"""Widths and heights of the picture of shares, and how many it shows."""


@dataclass(frozen=True, slots=True)
class ShareBar:
    """One share: what is suspended already, what would come within the share, what would have to wait."""

    y: int
    name: str
    held: float
    fits: float
    waits: float
    edge: float
    label: str
    title: str


@dataclass(frozen=True, slots=True)
class ShareChart:
    """Shares of live resources, the fullest first. ``ticks``: (x, percent)."""

    bars: Sequence[ShareBar]
    ticks: Sequence[tuple[float, str]]
    more: int
    height: int
    width: int = SHARE_NAME + SHARE_BAR + 130
    left: int = SHARE_NAME
    row: int = SHARE_ROW
    head: int = SHARE_HEAD


def share_chart(shares: Sequence[Mapping[str, Any]]) -> ShareChart | None:
    """How much of each unit's and cloud's live resources a policy would suspend, against what may be at once."""
    rows = [row for row in shares if row.get("would") and "at_once" in row]
    if not rows:
        return None
    shown = rows[:SHARE_MOST]
    most: float = min(
        100.0, max(max(1.5 * row["percent"], 100 * (row["held"] + row["would"]) / row["live"]) for row in shown)
    )

    def x(count: int, live: int) -> float:
        return round(min(float(SHARE_BAR), SHARE_BAR * 100 * count / live / most), 1)

    bars = []
    for n, row in enumerate(shown):
        live, held, end = row["live"], row["held"], row["held"] + row["would"]
        within = held + row["at_once"]
        bars.append(
            ShareBar(
                y=SHARE_HEAD + n * SHARE_ROW,
                name=row["unit"],
                held=x(held, live),
                fits=round(x(within, live) - x(held, live), 1),
                waits=round(x(end, live) - x(within, live), 1),
                edge=x(row["allowed"], live),
                label=f"{end}/{live}",
                title=reclaim_words.share_title(row),
            )
        )
    ticks = [(round(SHARE_NAME + SHARE_BAR * n / 4, 1), f"{most * n / 4:.0f}%") for n in range(5)]
    return ShareChart(bars, ticks, len(rows) - len(shown), SHARE_HEAD + len(shown) * SHARE_ROW)

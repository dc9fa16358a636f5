"""How the number of systems went, as points of an SVG drawn by the server: steps, as systems come and go whole. Pure.

Called by: the register's page. Must not: read the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.inventory.systems import Total

WIDTH, HEIGHT = 760, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 16, 14, 28


@dataclass(frozen=True, slots=True)
class Curve:
    """Where the line goes (an SVG path), grid lines as (y, label), ticks as (x, label), points as (x, y, total)."""

    line: str
    area: str
    grid: tuple[tuple[int, str], ...]
    ticks: tuple[tuple[int, str], ...]
    points: tuple[tuple[int, int, Total, bool], ...]
    """The last: whether the total rose there."""


def of(totals: Sequence[Total]) -> Curve:
    """The picture of totals in order; at least one. The scale begins at zero: a fall must look as large as it is."""
    top = _round_up(max(1, *(t.total for t in totals)))
    span = max(1, len(totals) - 1)

    def x(n: int) -> int:
        return LEFT + (WIDTH - LEFT - RIGHT) * n // span

    def y(total: int) -> int:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * total // top

    steps = [f"M{x(0)} {y(totals[0].total)}"]
    steps += [f"H{x(n)}V{y(t.total)}" for n, t in enumerate(totals) if n]
    line = "".join(steps)
    every = max(1, len(totals) // 6)
    points = tuple((x(n), y(t.total), t, n > 0 and t.total > totals[n - 1].total) for n, t in enumerate(totals))
    return Curve(
        line=line,
        area=f"{line}V{y(0)}H{x(0)}Z",
        grid=tuple((y(top * part // 4), str(top * part // 4)) for part in range(5)),
        ticks=tuple((x(n), f"{t.day:%Y-%m}") for n, t in enumerate(totals) if n % every == 0),
        points=points,
    )


def _round_up(most: int) -> int:
    """A round number above: 4, 8, 20, 40, 80, 200, ..."""
    step = 4
    while step < most:
        step = step * 5 // 2 if str(step).startswith("8") else step * 2
    return step

"""One dedicated network on a line of time: its four steps with their days, old days, stops of funds, stays. Pure.

Called by: the page of a network. Must not: read the database, or decide what is late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from api.formats import LOCAL
from api.schemas.dedicated import NetworkShown, StepShown
from api.texts import dedicated as words

WIDTH, LEFT, RIGHT, TOP, LANE, BAND, FOOT = 960, 132, 96, 26, 40, 18, 24
"""Of the picture, in its own units: a lane for each step, a band for each stop or stay below them."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One step. ``kind``: done, late, next or later; ``over``: where lateness begins; ``old``: days it once had."""

    y: int
    title: str
    kind: str
    begin: int
    end: int
    over: int | None
    due: int | None
    done: int | None
    old: tuple[tuple[int, str], ...]
    label: str
    label_x: int


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time below the lanes: ``stop`` or ``stay``."""

    y: int
    begin: int
    width: int
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """What the template draws."""

    width: int
    height: int
    left: int
    floor: int
    today: int
    lanes: tuple[Lane, ...]
    bands: tuple[Band, ...]
    ticks: tuple[tuple[int, str], ...]


def draw(network: NetworkShown, today: date) -> Timeline:
    """The picture, from the day of registration to the last day that is known, at least half a year."""
    days = [today, _day(network.registered_at), *_days(network)]
    first = min(days)
    last = max(first + timedelta(days=180), *days)
    span = (last - first).days

    def x(day: date) -> int:
        return LEFT + (WIDTH - LEFT - RIGHT) * (min(max(day, first), last) - first).days // span

    lanes, begin = [], _day(network.registered_at)
    for n, step in enumerate(network.steps):
        lanes.append(_lane(network, step, (n, begin, today), x))
        begin = step.done_on or (step.dates[0].due_on if step.dates else begin)
    floor = TOP + len(lanes) * LANE
    bands = tuple(
        Band(floor + 4 + n * BAND, x(a), max(4, x(b) - x(a)), kind, title)
        for n, (a, b, kind, title) in enumerate(_bands(network, today))
    )
    every = max(1, span // 6)
    ticks = tuple((x(first + timedelta(days=n)), f"{first + timedelta(days=n)}") for n in range(0, span + 1, every))
    return Timeline(
        width=WIDTH,
        height=floor + 8 + len(bands) * BAND + FOOT,
        left=LEFT,
        floor=floor + 8 + len(bands) * BAND,
        today=x(today),
        lanes=tuple(lanes),
        bands=bands,
        ticks=ticks[:7],
    )


def _lane(network: NetworkShown, step: StepShown, at: tuple[int, date, date], x: Callable[[date], int]) -> Lane:
    n, begin, today = at
    due = step.dates[0].due_on if step.dates else None
    is_next = network.next is step.step
    end = step.done_on or (max(due, today) if due and is_next and network.late else due) or begin
    over = due is not None and end > due
    kind = "done" if step.done_on else "next" if is_next else "later"
    said = f"{step.done_on} 完成" if step.done_on else f"{due} 到期" if due else "未定期限"
    return Lane(
        y=TOP + n * LANE,
        title=words.STEPS[step.step],
        kind=kind,
        begin=x(min(begin, end)),
        end=x(end),
        over=x(due) if over and due else None,
        due=x(due) if due else None,
        done=x(step.done_on) if step.done_on else None,
        old=tuple((x(d.due_on), f"原定 {d.due_on}") for d in step.dates[1:]),
        label=said,
        label_x=_beside(x(end), x(due) if due else 0),
    )


def _beside(end: int, due: int) -> int:
    """Where a lane's words begin: after its end, or after its day's mark where that would lie below them."""
    return (due if end < due < end + 110 else end) + 10


def _bands(network: NetworkShown, today: date) -> Iterator[tuple[date, date, str, str]]:
    for stop in reversed(network.stops):
        if stop.stopped_at is not None:
            begin, end = _day(stop.stopped_at), _day(stop.lifted_at) if stop.lifted_at else today
            yield begin, end, "stop", f"经费停拨 {begin} 起" + (f"，{end} 解除" if stop.lifted_at else "")
    for stay in reversed(network.stays):
        yield _day(stay.granted_at), stay.until, "stay", f"批准保留至 {stay.until}"


def _days(network: NetworkShown) -> Iterator[date]:
    for step in network.steps:
        yield from (each.due_on for each in step.dates)
        if step.done_on:
            yield step.done_on
    yield from (stay.until for stay in network.stays)


def _day(moment: datetime) -> date:
    return moment.astimezone(LOCAL).date()

"""``guiyun calendar [YEAR]``: a year's working days, days off and days made up, and what is still provisional.

Called by: the command line. Must not: decide which day is worked (``broker.workdays`` does).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Annotated, Any

import typer

from api.cli.display import ZONE, table
from api.cli.verb import DatabaseCall, database_verb
from broker.settings import Settings
from broker.workdays import DayKind, Reason, WorkCalendar, load_calendar

app = typer.Typer()

_WEEKDAYS = "一二三四五六日"
_WORDS = {Reason.HOLIDAY: "放假", Reason.REGIONAL_HOLIDAY: "放假（自治区）", Reason.MADE_UP: "上班（调休）"}

Day = tuple[date, DayKind]


@app.command("calendar")
@database_verb
def calendar(
    call: DatabaseCall,
    *,
    year: Annotated[int | None, typer.Argument(metavar="年份", min=1949, max=2200, show_default="今年")] = None,
) -> None:
    """一年的工作日、放假与调休；尚未公布放假安排的年份标为暂定。"""
    settings = Settings()
    known = load_calendar(settings.holidays_file, open=settings.office_open, close=settings.office_close)
    wanted = year or datetime.now(ZONE).year
    days = list(_days(known, wanted))
    special = [(day, kind) for day, kind in days if kind.reason in _WORDS]
    answer = {
        "year": wanted,
        "published": wanted in known.published,
        "workdays": sum(kind.working for _, kind in days),
        "office": [settings.office_open, settings.office_close],
        "provisional": [day.isoformat() for day, kind in days if kind.provisional],
        "days": [
            {"day": d.isoformat(), "working": k.working, "reason": k.reason, "name": k.name, "source": k.source}
            for d, k in special
        ],
    }
    call.answer(answer, lambda: _show(call, answer, special))


def _days(known: WorkCalendar, year: int) -> Iterator[Day]:
    day = date(year, 1, 1)
    while day.year == year:
        yield day, known.is_workday(day)
        day += timedelta(days=1)


def _show(call: DatabaseCall, answer: dict[str, Any], special: list[Day]) -> None:
    say = call.terminal.say
    hours = " 至 ".join(answer["office"])
    say(f"{answer['year']} 年：{answer['workdays']} 个工作日，办公时间 {hours}")
    if special:
        rows = list(_rows(special))
        say(table(("日期", "安排", "名称", "依据"), rows, folds=("依据",)))
    if not answer["published"]:
        say("国务院尚未公布（或本机尚未载入）该年的放假安排：全年按周一至周五暂定，公布后自动重新计算期限。")
    elif answer["provisional"]:
        say(f"暂定 {len(answer['provisional'])} 天：{'、'.join(d[5:] for d in answer['provisional'])}")


def _rows(special: list[Day]) -> Iterator[tuple[str, str, str, str]]:
    """Neighbouring days of one kind as one row."""

    def run(entry: tuple[int, Day]) -> tuple[int, DayKind]:
        place, (day, kind) = entry
        return day.toordinal() - place, kind

    for (_, kind), group in groupby(enumerate(special), key=run):
        days = [day for _, (day, _) in group]
        word = _WORDS[kind.reason] + ("，暂定" if kind.provisional else "")
        yield _span(days), word, kind.name, kind.source


def _span(days: list[date]) -> str:
    first, last = days[0], days[-1]
    one = f"{first:%m-%d} 周{_WEEKDAYS[first.weekday()]}"
    return one if first == last else f"{one} 至 {last:%m-%d} 周{_WEEKDAYS[last.weekday()]}（{len(days)} 天）"

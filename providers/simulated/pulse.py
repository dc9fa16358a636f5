"""How busy a simulated server is: made up, but the same for the same server and hour whoever asks, and however often.

Called by: ``provider``. Must not: read a clock or a database; sizes and power come from the cloud itself.

A server's id says what it does all its life: a quarter are forgotten, most follow the office's hours, some work evenly,
some at night.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from providers.contract import ServerHour

Size = tuple[datetime, datetime, int, int]
"""From, to, vCPU, memory in GiB."""

_STEP = timedelta(minutes=5)
_LOCAL = ZoneInfo("Asia/Shanghai")
_KINDS = ("forgotten", "office", "even", "night")
_WEIGHTS = (25, 45, 20, 10)


@dataclass(frozen=True, slots=True)
class Life:
    """What the cloud knows of one server: its sizes over time, and when it was off."""

    server_id: UUID
    sizes: tuple[Size, ...]
    off: tuple[tuple[datetime, datetime], ...]


def hours(life: Life, start: datetime, end: datetime) -> Iterator[ServerHour]:
    """The hours of [start, end) in which the server was there, looked at every five minutes."""
    dice = random.Random(str(life.server_id))  # noqa: S311 - made-up figures, not secrets
    kind = dice.choices(_KINDS, _WEIGHTS)[0]
    appetite = dice.uniform(0.2, 0.85)
    hour = start
    while hour < end:
        looks = [hour + _STEP * n for n in range(12)]
        there = [(at, size) for at in looks for size in life.sizes if size[0] <= at < size[1]]
        if there:
            off = sum(any(a <= at < b for a, b in life.off) for at, _ in there)
            _, (_, _, vcpu, memory) = there[-1]
            yield _hour(life.server_id, hour, (vcpu, memory), (kind, appetite), (len(there), off))
        hour += timedelta(hours=1)


def _hour(
    server_id: UUID, hour: datetime, size: tuple[int, int], habit: tuple[str, float], looks: tuple[int, int]
) -> ServerHour:
    vcpu, memory = size
    samples, off = looks
    if off == samples:
        return ServerHour(server_id, hour, 0, memory, 0.0, 0.0, 0.0, 0.0, 0.0, samples, off)
    kind, appetite = habit
    dice = random.Random(f"{server_id}/{hour:%Y%m%d%H}")  # noqa: S311 - as above
    low, high = _range(kind, hour)
    cpu = dice.uniform(low, high) * (1 if kind == "forgotten" else appetite * 2)
    cpu = min(cpu, 96.0)
    busy = cpu / 100
    return ServerHour(
        server_id,
        hour,
        vcpu,
        memory,
        cpu_avg_pct=round(cpu, 2),
        cpu_max_pct=round(min(100.0, cpu * dice.uniform(1.1, 1.8)), 2),
        memory_used_gib=round(memory * min(0.95, 0.12 + appetite * 0.5 * (0.4 + busy)), 3),
        disk_kbps=round(busy * vcpu * dice.uniform(20, 200), 2),
        net_kbps=round(dice.uniform(0.05, 0.9) if kind == "forgotten" else busy * vcpu * dice.uniform(30, 400), 2),
        samples=samples,
        off=off,
    )


def _range(kind: str, hour: datetime) -> tuple[float, float]:
    """Least and greatest CPU in percent, before appetite."""
    local = hour.astimezone(_LOCAL)
    match kind:
        case "forgotten":
            return 0.2, 2.2
        case "even":
            return 30, 45
        case "night":
            return (55, 80) if local.hour < 6 else (2, 6)
        case _:
            working = local.weekday() < 5 and 8 <= local.hour < 18
            return (22, 55) if working else (2, 7)

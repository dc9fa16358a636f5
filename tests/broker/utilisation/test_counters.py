"""Counters of two looks become hours; what two looks cannot tell stays unmeasured."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from broker.utilisation import counters
from broker.utilisation.counters import Looks
from broker.utilisation.prometheus import Row
from broker.utilisation.storage import Folder
from providers.contract import ServerCounters

SERVER = UUID("0190aaaa-0000-7000-8000-000000000001")
TEN = datetime(2026, 10, 1, 10, tzinfo=UTC)
FIVE = timedelta(minutes=5)


def seen(cpu_s: float | None, *, running: bool = True, net: int | None = 0) -> ServerCounters:
    if not running:
        return ServerCounters(SERVER, running=False, vcpu=2, memory_gib=4)
    return ServerCounters(SERVER, True, 2, 4, cpu_s=cpu_s, memory_used_gib=1, disk_bytes=0, net_bytes=net)


def kept_in(folder: Path) -> Looks:
    return Looks(Folder(folder), "jyt")


def hour_of(folder: Path, looks: list[ServerCounters], first: datetime = TEN, every: timedelta = FIVE) -> list[Row]:
    for number, look in enumerate(looks):
        counters.keep(kept_in(folder), first + every * number, [look])
    return list(counters.hours(kept_in(folder), TEN, TEN + timedelta(hours=1)))


def test_two_looks_make_a_rate(tmp_path: Path) -> None:
    """30 CPU seconds in 300 on two cores are 5 %; the busiest five minutes are the hour's greatest."""
    looks = [seen(1000 + 30 * n, net=n * 300 * 1024) for n in range(12)] + [seen(1000 + 330 + 300, net=3600 * 1024)]
    (row,) = hour_of(tmp_path, looks)
    assert row["n_samples"] == "12"
    assert float(row["cpu_max_pct"]) == 50
    assert float(row["cpu_avg_pct"]) == pytest.approx((11 * 5 + 50) / 12, abs=1e-3)
    assert float(row["net_kbps"]) == 1
    assert (row["vcpu"], row["mem_gib"], row["mem_used_gib"], row["n_off"]) == ("2", "4", "1.0000", "0")
    assert row["hour_utc"] == "2026-10-01T10Z"


def test_a_server_started_anew_is_not_measured_between_the_two(tmp_path: Path) -> None:
    """A counter that falls has begun at nothing: no rate, and no negative one."""
    (row,) = hour_of(tmp_path, [seen(1000), seen(5), seen(35)])
    assert (row["n_samples"], row["cpu_avg_pct"]) == ("2", "5.0000")


def test_looks_too_far_apart_tell_nothing(tmp_path: Path) -> None:
    """A worker that was away for most of an hour does not spread what happened over it."""
    assert hour_of(tmp_path, [seen(0), seen(100)], every=timedelta(minutes=40)) == []


def test_a_server_that_is_off_uses_nothing(tmp_path: Path) -> None:
    """All hour off: no cores; for a part: its samples say how much."""
    (row,) = hour_of(tmp_path, [seen(None, running=False)] * 13)
    assert (row["vcpu"], row["cpu_avg_pct"], row["n_samples"], row["n_off"]) == ("0", "0.0000", "12", "12")


def test_what_is_not_counted_stays_empty(tmp_path: Path) -> None:
    """A hypervisor without a figure leaves a hole, not a zero."""
    (row,) = hour_of(tmp_path, [seen(None, net=None), seen(None, net=None)])
    assert (row["cpu_avg_pct"], row["cpu_max_pct"], row["net_kbps"]) == ("", "", "")


def test_looks_are_kept_no_longer_than_their_hours_need(tmp_path: Path) -> None:
    """And the same look twice is one."""
    for hours in (0, 1, 4, 6, 6):
        counters.keep(kept_in(tmp_path), TEN + timedelta(hours=hours), [seen(0)])
    assert [at for at, _ in kept_in(tmp_path).taken()] == [int((TEN + timedelta(hours=h)).timestamp()) for h in (4, 6)]

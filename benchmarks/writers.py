"""Processes that do one thing over and over on a connection each: how often, how long, and what CPU it cost.

Called by: ``benchmarks.quotas`` and ``prefixes``. Must not: know what they do, or count what was not granted.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection

WRITERS = 16
REFUSALS = 20
WARM_UP = 20

Rows = Connection[tuple[Any, ...]]
Hold = Callable[[Rows, random.Random], int]
"""Asks for a unit; how many were granted and are durable. What is worth another try, it raises."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What the writers did: granted per second, the slowest percent, how many were granted, and µs of CPU for each."""

    per_s: float
    p50_s: float
    p99_s: float
    granted: int
    client_us: float = 0.0
    server_us: float = 0.0

    @classmethod
    def median(cls, rounds: Iterable[Rate]) -> Rate:
        """Of several runs, each figure's middle; granted: all together."""
        each = list(rounds)
        middle = (
            statistics.median(getattr(rate, name) for rate in each)
            for name in ("per_s", "p50_s", "p99_s", "client_us", "server_us")
        )
        per_s, p50_s, p99_s, client_us, server_us = middle
        return cls(per_s, p50_s, p99_s, sum(rate.granted for rate in each), client_us, server_us)


@dataclass(frozen=True, slots=True)
class Server:
    """Where the writers connect, and the server's process: its children are what a connection costs."""

    url: str
    pid: int


def hammer(server: Server, hold: Hold, *, seconds: float, until_full: bool = False, writers: int = WRITERS) -> Rate:
    """16 processes (or so many) for some seconds, or until each was refused ``REFUSALS`` times running."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(writers + 1)
    answers: SimpleQueue[list[float]] = context.SimpleQueue()
    processes: list[BaseProcess] = [
        context.Process(
            target=_write, args=(server.url, hold, random.Random(number), (seconds, until_full), (barrier, answers))
        )
        for number in range(writers)
    ]
    for writer in processes:
        writer.start()
    barrier.wait()
    began = time.monotonic()
    clients, servers = [process.pid or 0 for process in processes], children(server.pid)
    before = cpu_s(clients), cpu_s(servers)
    looked = time.monotonic() - began
    if not until_full:
        time.sleep(seconds * 0.8)
    after = cpu_s(clients), cpu_s(servers)
    window = time.monotonic() - began - looked
    found = [answers.get() for _ in processes]
    took = time.monotonic() - began
    for writer in processes:
        writer.join()
    times = sorted(t for each in found for t in each)
    if len(times) < 2 or until_full:
        return Rate(len(times) / took, 0.0, 0.0, len(times))
    cuts = statistics.quantiles(times, n=100)
    per_s = len(times) / took
    client_us, server_us = ((a - b) / (per_s * window) * 1e6 for a, b in zip(after, before, strict=True))
    return Rate(per_s, cuts[49], cuts[98], len(times), client_us, server_us)


def _write(
    url: str, hold: Hold, dice: random.Random, until: tuple[float, bool], ends: tuple[Barrier, SimpleQueue[list[float]]]
) -> None:
    (seconds, until_full), (barrier, answers) = until, ends
    times: list[float] = []
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(0 if until_full else WARM_UP):  # plans are made, caches filled
            _again(hold, connection, dice)
        barrier.wait()
        stops_at, refused = time.monotonic() + seconds, 0
        while time.monotonic() < stops_at and not (until_full and refused >= REFUSALS):
            began = time.monotonic()
            granted = _again(hold, connection, dice)
            times.extend([time.monotonic() - began] * granted)
            refused = 0 if granted else refused + 1
    answers.put(times)


def _again(hold: Hold, connection: Rows, dice: random.Random) -> int:
    """Until the database has no more reason to have it tried again; the time counts."""
    while True:
        with suppress(psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
            return hold(connection, dice)


def children(parent: int) -> list[int]:
    """The processes that it started and that still run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == parent:
                found.append(int(folder.name))
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """CPU of these processes so far, in seconds; one that is gone has none."""
    total = 0.0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total

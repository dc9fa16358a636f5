"""Keeps the parts of one home running: starts them in order, restarts what crashes, stops them in reverse.

Called by: ``guiyun up``. Must not: know what a part does beyond starting, stopping and being alive.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn, Protocol, Self

from broker.embedded.spawn import EmbeddedError, spawn, stop, wait_until

WATCH_S = 0.2
LONGEST_PAUSE_S = 30.0
HEALTHY_AFTER_S = 60.0


class Part(Protocol):
    """Something that runs beside us."""

    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str:
        """What others reach it by; when it changes, the parts that were started later are started again."""

    def start(self) -> None:
        """Return once it is usable; raise ``EmbeddedError`` when it cannot be."""

    def stop(self) -> None: ...
    def poll(self) -> int | None:
        """None while it runs, else its exit status."""


class Reporter(Protocol):
    """Who tells a person what happens."""

    def starting(self, name: str) -> None: ...
    def ready(self, name: str, seconds: float) -> None: ...
    def crashed(self, name: str, status: int, pause_s: float) -> None: ...
    def stopping(self, name: str) -> None: ...


class Stop(BaseException):
    """A signal asked us to end. Not an ``Exception``: nothing on the way out may swallow it."""


class Program:
    """One of our own processes: ``python -m MODULE ...`` with an environment that is known only once it starts.

    ``ready`` is asked again and again with what the process has written to its log since it was started.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        environment: Callable[[], Mapping[str, str]],
        log: Path,
        cwd: Path,
        ready: Callable[[str], bool],
        start_s: float = 180.0,
        address: str = "",
    ) -> None:
        self.name = name
        self.address = address
        self._command = [sys.executable, "-P", "-m", module, *arguments]
        self._environment = environment
        self._log = log
        self._cwd = cwd
        self._ready = ready
        self._start_s = start_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise EmbeddedError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        begin = self._log.stat().st_size if self._log.exists() else 0
        process = spawn(
            self._command, log=self._log, cwd=self._cwd, death_signal=signal.SIGTERM, environment=self._environment()
        )
        self._process = process

        def settled() -> bool:
            return process.poll() is not None or self._ready(self._said_since(begin))

        came_up = wait_until(settled, timeout_s=self._start_s, poll_s=0.1)
        if not came_up or process.poll() is not None:
            self.stop()
            raise EmbeddedError(f"{self.name} does not start, see {self._log}:\n{last_lines(self._log)}")

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process, (signal.SIGTERM, 20))
            self._process = None

    def poll(self) -> int | None:
        return self._process.poll() if self._process is not None else 0

    def _said_since(self, begin: int) -> str:
        with self._log.open("rb") as log:
            log.seek(begin)
            return log.read().decode(errors="replace")


@dataclass
class _Watched:
    part: Part
    started_at: float = 0.0
    pause_s: float = 0.0
    due_at: float | None = None
    """When it is to be started again; None while it runs."""


@dataclass
class Supervisor:
    """Runs ``add``-ed parts until a signal comes. Use it in the main thread and as a context manager."""

    report: Reporter
    _watched: list[_Watched] = field(default_factory=list)

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _ask_to_stop)
        return self

    def __exit__(self, *_: object) -> None:
        # A second Ctrl-C must not leave half of the parts running; each stop has its own time limit.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for watched in reversed(self._watched):
            self.report.stopping(watched.part.name)
            watched.part.stop()
        self._watched.clear()

    def add(self, part: Part) -> None:
        """Start ``part`` and wait until it is usable. Raises ``EmbeddedError``."""
        watched = _Watched(part)
        self._watched.append(watched)
        self._start(watched)

    def watch(self) -> NoReturn:
        """Restart what ends, with a growing pause, until ``Stop`` is raised by a signal."""
        while True:
            time.sleep(WATCH_S)
            for index, watched in enumerate(self._watched):
                self._look_after(index, watched)

    def _look_after(self, index: int, watched: _Watched) -> None:
        now = time.monotonic()
        if watched.due_at is None:
            status = watched.part.poll()
            if status is not None:
                self._schedule(watched, status, now)
        elif now >= watched.due_at:
            self._restart(index, watched)

    def _schedule(self, watched: _Watched, status: int, now: float) -> None:
        if now - watched.started_at > HEALTHY_AFTER_S:
            watched.pause_s = 0.0
        self.report.crashed(watched.part.name, status, watched.pause_s)
        watched.due_at = now + watched.pause_s
        watched.pause_s = min(LONGEST_PAUSE_S, max(1.0, watched.pause_s * 2))

    def _restart(self, index: int, watched: _Watched) -> None:
        before = watched.part.address
        watched.part.stop()  # frees what a crashed part still holds, its lock for one
        try:
            self._start(watched)
        except EmbeddedError:
            self._schedule(watched, watched.part.poll() or 0, time.monotonic())
            return
        if watched.part.address != before:
            for later in self._watched[index + 1 :]:
                later.part.stop()
                later.due_at = time.monotonic()

    def _start(self, watched: _Watched) -> None:
        self.report.starting(watched.part.name)
        begin = time.monotonic()
        watched.part.start()
        watched.started_at = time.monotonic()
        watched.due_at = None
        self.report.ready(watched.part.name, watched.started_at - begin)


def _ask_to_stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Stop


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log file, for an error message."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]) if log.exists() else ""

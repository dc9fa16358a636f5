"""The supervisor: order, restarts, and a clean end on a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.embedded.lock import HomeLock
from broker.embedded.spawn import AlreadyRunningError, wait_until
from tests.ports import free_ports

SUPERVISED = """
import os, socket, sys
from pathlib import Path
from broker.embedded.processes import Program, Stop, Supervisor

class Say:
    def starting(self, name): print("starting", name, flush=True)
    def ready(self, name, seconds): print("ready", name, flush=True)
    def crashed(self, name, status, pause_s): print("crashed", name, status, flush=True)
    def stopping(self, name): print("stopping", name, flush=True)

def listens(port):
    def look(said):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0
    return look

folder = Path(sys.argv[1])
try:
    with Supervisor(Say()) as supervisor:
        for name, port in (("first", int(sys.argv[2])), ("second", int(sys.argv[3]))):
            program = Program(name, "http.server", ["--bind", "127.0.0.1", str(port)], environment=lambda: os.environ,
                              log=folder / f"{name}.log", cwd=folder, ready=listens(port))
            supervisor.add(program)
            print("pid", program.pid, flush=True)
        print("all up", flush=True)
        supervisor.watch()
except Stop:
    print("stopped", flush=True)
"""


class Supervised:
    """The script above, running; ``read_until`` collects its lines."""

    def __init__(self, folder: Path) -> None:
        ports = map(str, free_ports(2))
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISED, str(folder), *ports],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def read_until(self, wanted: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if line.strip() == wanted:
                return
        pytest.fail(f"{wanted!r} never came: {self.lines} {self.process.stderr and self.process.stderr.read()}")

    def pids(self) -> list[int]:
        return [int(line.split()[1]) for line in self.lines if line.startswith("pid ")]

    def finish(self) -> tuple[int, str]:
        """Wait for its end; returns the exit status and what it said on stderr."""
        rest, errors = self.process.communicate(timeout=120)
        self.lines += rest.splitlines()
        return self.process.returncode, errors


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    """Two supervised programs."""
    running = Supervised(tmp_path)
    running.read_until("all up")
    yield running
    running.process.kill()
    with running.process:  # closes its pipes
        running.process.wait()


def gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_in_reverse_order(supervised: Supervised, number: signal.Signals) -> None:
    """Ctrl-C and a service manager's stop: exit 0, no traceback, nothing left."""
    supervised.process.send_signal(number)
    assert supervised.finish() == (0, "")
    assert supervised.lines[-3:] == ["stopping second", "stopping first", "stopped"]
    assert all(gone(pid) for pid in supervised.pids())


def test_a_program_that_is_killed_comes_back(supervised: Supervised) -> None:
    """A crash of one part leaves the others alone."""
    first, second = supervised.pids()
    os.kill(first, signal.SIGKILL)
    supervised.read_until("crashed first -9")
    supervised.read_until("ready first")
    assert gone(first)
    assert not gone(second)


def test_programs_end_when_the_supervisor_is_killed(supervised: Supervised) -> None:
    """Kill -9 of the supervisor leaves no orphan behind."""
    supervised.process.kill()
    assert wait_until(lambda: all(gone(pid) for pid in supervised.pids()), timeout_s=120)


def test_a_lock_names_its_holder_and_is_free_after_it(tmp_path: Path) -> None:
    """A second start says who runs; a stop makes room."""
    first, second = HomeLock(tmp_path / "lock"), HomeLock(tmp_path / "lock")
    first.acquire()
    with pytest.raises(AlreadyRunningError, match=str(os.getpid())):
        second.acquire()
    first.release()
    second.acquire()
    second.release()

"""Start a program as a direct child that ends with us; read what runs on this machine from ``/proc``.

Called by: the other modules of ``broker.embedded``. Must not: know what the programs do.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

CHILD = Path(__file__).with_name("child.py")
KEEP_UID = -1
POLL_S = 0.02


class EmbeddedError(Exception):
    """An embedded part cannot run; the message says what a person can do about it."""


class AlreadyRunningError(EmbeddedError):
    """Another live process, ``holder``, has this folder."""

    def __init__(self, folder: Path, holder: str) -> None:
        super().__init__(f"{folder} is in use by process {holder}")
        self.holder = holder


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path,
    uid: int = KEEP_UID,
    death_signal: signal.Signals = signal.SIGINT,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``command`` in a session of its own, output appended to ``log``.

    Call it from a thread that lives as long as the program should (the main one): the kernel sends ``death_signal``
    when the *thread* that started it ends. ``cwd`` is entered before root is given up, so ``uid`` needs no way to
    reach it by name.
    """
    wrapper = [sys.executable, "-I", "-S", str(CHILD), str(os.getpid()), str(int(death_signal)), str(uid)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own command, no shell
            [*wrapper, *map(str, command)],
            cwd=cwd,
            env=dict(environment) if environment is not None else None,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def run_as(
    uid: int, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` to its end as ``uid``, without any other group. Raises ``PermissionError`` when it may not."""
    other = None if uid == KEEP_UID else uid
    return subprocess.run(  # noqa: S603 - our own command, no shell
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        umask=0o077,
        user=other,
        group=other,
        extra_groups=None if other is None else [],
    )


def stop(process: subprocess.Popen[bytes], *signals: tuple[signal.Signals, float]) -> None:
    """Send each signal in turn, waiting its seconds, until the process has ended; SIGKILL is the last resort."""
    for number, patience_s in signals:
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
    if process.poll() is None:
        process.kill()
        process.wait()


def wait_until(ready: Callable[[], bool], *, timeout_s: float, poll_s: float = POLL_S) -> bool:
    """Poll until ``ready`` is true; false when the time is over."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_s)
    return True


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a 0600 file beside and rename it: a crash leaves the old or the new file, never half of one."""
    beside = path.with_name(f"{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        json.dump(content, output, indent=1)
        output.flush()
        os.fsync(output.fileno())
    beside.replace(path)


def free_port(preferred: int | None = None) -> int:
    """A port of 127.0.0.1 that nobody listens on: ``preferred`` if it is free, else any."""
    for candidate in (preferred, 0) if preferred else (0,):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate or 0))
            except OSError:
                continue
            port: int = probe.getsockname()[1]
            return port
    raise EmbeddedError("no free port on 127.0.0.1")


def processes_with(token: str, *, uid: int) -> list[int]:
    """Ids of the processes of ``uid`` whose command line (or title) contains ``token``; zombies have none."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if token.encode() in (entry / "cmdline").read_bytes() and _uid_of(entry) == uid:
                found.append(int(entry.name))
        except OSError:
            continue  # it ended while we looked
    return found


def _uid_of(entry: Path) -> int:
    """The real user id from ``/proc/PID/status``; readable for everyone, unlike the links beside it."""
    for line in (entry / "status").read_text().splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[1])
    return -1


def end_strangers(token: str, *, uid: int, patience_s: float = 15) -> int:
    """End what a killed parent left behind: SIGINT, then SIGQUIT, then SIGKILL. Returns how many there were."""
    first = processes_with(token, uid=uid)
    left = first
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if not left:
            break
        for pid in left:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        wait_until(lambda: not processes_with(token, uid=uid), timeout_s=patience_s)
        left = processes_with(token, uid=uid)
    if left:
        raise EmbeddedError(f"left-over processes do not end: {left}")
    return len(first)

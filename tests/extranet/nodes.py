"""A laboratory's nodes as processes: started with a mark, entered by their namespaces, ended and waited for.

Called by: ``tests.extranet.lab``. Must not: know routers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).parent
HOME = Path(os.environ.get("GUIYUN_EXTRANET_HOME", HERE.parent.parent / ".extranet")).absolute()
MARK = "GUIYUN_EXTRANET_LAB"
PATIENCE_S = 120.0
"""How long a busy machine may take; nothing waits that long when all is well."""

_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


class LabError(Exception):
    """The laboratory cannot be had; the text says why, in a line."""


def spawn(name: str, role: str) -> int:
    """A node that is only a network namespace."""
    pid = start(["unshare", "-n", "sleep", "infinity"], role, {})
    mine = Path("/proc/self/ns/net").readlink()
    wait_for(lambda: Path(f"/proc/{pid}/ns/net").readlink() != mine, f"{name} does not start")
    off = [f"net.ipv6.conf.{which}.accept_dad=0" for which in ("all", "default")]
    run([*enter(pid, router=False), "sysctl", "-qw", *off])
    return pid


def start(command: Sequence[str], role: str, variables: dict[str, str]) -> int:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", MARK: str(HOME), **variables}
    with (HOME / f"{role}.log").open("ab") as log:
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    _CHILDREN[child.pid] = child  # it outlives us: `down` of another process ends it
    return child.pid


def enter(pid: int, *, router: bool, pid_namespace: bool = True) -> list[str]:
    """Into a node's namespaces. Who names other nodes by their process ids has to stay in the machine's own."""
    return [
        "nsenter",
        "-t",
        str(pid),
        "-n",
        *(["-m", "-u"] if router else []),
        *(["-p"] if router and pid_namespace else []),
    ]


def marked() -> Iterator[int]:
    """Processes of this home, oldest first. An inherited mark counts: daemons of a router have it too."""
    mark = f"{MARK}={HOME}".encode()
    for entry in sorted(Path("/proc").glob("[0-9]*"), key=lambda p: int(p.name)):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)
        except OSError:
            continue


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    wait_for(lambda: dead(pid), f"process {pid} does not end")


def dead(pid: int) -> bool:
    """Gone, or only waiting for its parent to notice."""
    if pid in _CHILDREN:
        return _CHILDREN[pid].poll() is not None
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def await_ready(names: Sequence[str]) -> None:
    await_files([HOME / name / "ready" for name in names])


def await_files(files: Sequence[Path]) -> None:
    wait_for(lambda: all(file.exists() for file in files), f"{files[0].parent.name}: see {HOME}/*.log")


def wait_for(done: Callable[[], bool], otherwise: str, seconds: float = PATIENCE_S) -> None:
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            raise LabError(otherwise)
        time.sleep(0.02)


def run(command: Sequence[str], timeout: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, text=True, capture_output=True, check=False, timeout=timeout)


def checked(*command: str) -> None:
    done = run(command)
    if done.returncode:
        raise LabError(f"{' '.join(command[:4])}: {done.stderr.strip()[:300]}")

"""Runs one of our playbooks on hosts; the only importer of ansible_runner.

Called by: the broker's composition root, which hands it to delivery. Must not: know the broker, keep anything of a run
on disk (ansible-runner remembers a run's options in its folder, ``--check`` for one), or write a key to disk or log.

Keys are in files without a name in memory, which are gone with this process, however it ends. The folder of a run whose
process was killed is taken away by the next run.

A connection to a host whose key is known is kept for a while (ssh's ControlPersist): a log-in costs both ends more than
what a run does there. Its socket is named by all that the log-in rested on, so that another key logs in anew.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import ansible_runner

_HERE = Path(__file__).parent
_DETAIL_LENGTH = 2000
_SSH_PORT = 22
_FOLDER = "guiyun-play-"
_CONNECTIONS = "guiyun-ssh-"
_KEPT_S, _RUN_S = 60, 20
"""How long a connection that nobody uses is kept: for all runs of this process, for one run alone."""
_LEFT_AFTER_S = 60
"""A folder that is younger may not be locked yet."""
_ANSWER = "guiyun"
"""The key under which a module of ours puts what the caller wants to know of a host."""
_CONFIGURATION = "[defaults]\ninternal_poll_interval = 0.005\n[inventory]\nenable_plugins = yaml\n"
"""Less to load and less to look: the inventory is one JSON file, and a module takes tenths of a second."""
# From the caller's environment only what programs need; none of its secrets.
_PASSED_ON = ("LANG", "LC_ALL", "TZ", "SSH_AUTH_SOCK")


class PlayStatus(StrEnum):
    """How a run ended."""

    OK = "ok"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class HostVars:
    """How one host is reached, and what is different about it."""

    address: str
    user: str = "root"
    port: int = _SSH_PORT
    private_key: str | None = field(default=None, repr=False)
    """The text of an SSH key; without one, ssh's own agent and defaults are used."""
    variables: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ("guests",)
    host_key: str | None = None
    """The host's public key (``ssh-ed25519 AAAA…``); without one the first that is seen counts for this run."""


@dataclass(frozen=True, slots=True)
class PlayResult:
    """What came of a run. ``failures``: one ``host: task: message`` each; ``changed`` counts tasks over all hosts.

    ``answers``: what modules of ours said of a host, in the order of the tasks; also when the run failed.
    """

    status: PlayStatus
    changed: int
    failures: tuple[str, ...] = ()
    answers: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)


def run(
    playbook: str,
    *,
    hosts: Mapping[str, HostVars],
    extra_vars: Mapping[str, Any] | None = None,
    check: bool = False,
    timeout_s: float,
    connect_timeout_s: float = 30,
    retries: int = 2,
) -> PlayResult:
    """Run ``playbook`` (``harden-guest``) on ``hosts``, each in its groups, in a folder made for this run.

    ``check`` changes nothing and counts what it would change; ``retries``: of a connection that fails.
    Raises ValueError for a playbook that there is not.
    """
    file = _HERE / f"{playbook.removesuffix('.yml')}.yml"
    if file.parent != _HERE or not file.is_file():
        raise ValueError(f"no playbook {playbook!r}")

    def once() -> tuple[PlayResult, set[str]]:
        """The result, and the hosts that could not be reached."""
        with _folder() as folder, ExitStack() as keys:
            ended = ansible_runner.run(
                private_data_dir=str(folder),
                playbook=str(file),
                inventory=_inventory(hosts, folder, keys),
                extravars=dict(extra_vars or {}),
                envvars=_environment(folder, connect_timeout_s, retries),
                settings={"suppress_ansible_output": True, "job_timeout": max(1, int(timeout_s))},
                cmdline="--check" if check else None,
                quiet=True,
            )
            return _result(ended)

    sockets = {name: socket for name, host in hosts.items() if (socket := _socket(host)) is not None}
    kept = {name for name, socket in sockets.items() if socket.exists()}
    result, unreachable = once()
    if unreachable & kept:
        # A kept connection to a host that was rebooted meanwhile says nothing about the host.
        for name in unreachable & kept:
            sockets[name].unlink(missing_ok=True)
        result, _ = once()
    return result


# Not under TMPDIR, which may be deep: ssh's control sockets live inside, and a socket's path may not be long.
_PARENT = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())  # noqa: S108  # it is ours alone


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for one run, locked while it lasts; those of processes that were killed are taken away."""
    folder, handle = _locked_folder(_FOLDER)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _locked_folder(prefix: str) -> tuple[Path, int]:
    """A new folder that is locked as long as its handle is open."""
    for left in _PARENT.glob(f"{prefix}*"):
        with suppress(OSError):
            _sweep(left)
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=_PARENT))
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return folder, handle


@cache
def _connections(pid: int) -> Path:
    """The folder of this process's kept connections (a child's is another); what a killed one left is taken away."""
    folder, _ = _locked_folder(_CONNECTIONS)
    atexit.register(_let_go, folder, pid)
    return folder


def _let_go(folder: Path, pid: int) -> None:
    if os.getpid() == pid:  # and not a child of it
        shutil.rmtree(folder, ignore_errors=True)


def _socket(host: HostVars) -> Path | None:
    """Where the connection to a host is kept; None for one whose key nobody has told us: it counts for one run only."""
    if host.host_key is None:
        return None
    rests_on = (host.address, host.port, host.user, host.host_key, host.private_key)
    return _connections(os.getpid()) / hashlib.sha256(repr(rests_on).encode()).hexdigest()[:20]


def _sweep(folder: Path) -> None:
    """Take away a folder that nobody has locked. Raises OSError for one that somebody has, or that is another's."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.time() - os.fstat(handle).st_mtime > _LEFT_AFTER_S:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def _key_file(key: str, keys: ExitStack) -> Path:
    """A path at which our children can read a key: a file without a name, in memory, for us and nobody else."""
    handle = os.memfd_create("guiyun-key")
    keys.callback(os.close, handle)
    os.fchmod(handle, 0o600)
    os.write(handle, f"{key.rstrip()}\n".encode())
    return Path(f"/proc/{os.getpid()}/fd/{handle}")


def _inventory(hosts: Mapping[str, HostVars], folder: Path, keys: ExitStack) -> dict[str, Any]:
    entries: dict[str, dict[str, Any]] = {}
    groups: dict[str, dict[str, Any]] = {}
    known = []
    for name, host in hosts.items():
        entries[name] = {
            **host.variables,
            "ansible_host": host.address,
            "ansible_user": host.user,
            "ansible_port": host.port,
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        if host.private_key is not None:
            entries[name]["ansible_ssh_private_key_file"] = str(_key_file(host.private_key, keys))
        if host.host_key is not None:
            known.append(f"{_known_as(host)} {host.host_key}\n")
            entries[name]["ansible_ssh_extra_args"] = "-o StrictHostKeyChecking=yes"
            entries[name]["ansible_control_path"] = str(_socket(host))
            entries[name]["ansible_ssh_args"] = _ssh_arguments(folder, _KEPT_S)
        for group in host.groups:
            groups.setdefault(group, {"hosts": {}})["hosts"][name] = {}
    (folder / "known_hosts").write_text("".join(known))
    return {"all": {"hosts": entries, "children": groups}}


def _known_as(host: HostVars) -> str:
    """How ssh writes the host in its file of known ones."""
    return host.address if host.port == _SSH_PORT else f"[{host.address}]:{host.port}"


def _environment(folder: Path, connect_timeout_s: float, retries: int) -> dict[str, str]:
    configuration = folder / "ansible.cfg"  # none on this machine counts
    configuration.write_text(_CONFIGURATION)
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        **passed_on,
        # ansible-playbook stands beside the interpreter, whether or not the environment is activated.
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "HOME": str(folder),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_CONFIG": str(configuration),
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_RETRY_FILES_ENABLED": "false",
        "ANSIBLE_SSH_RETRIES": str(retries),
        "ANSIBLE_TIMEOUT": str(int(connect_timeout_s)),
        "ANSIBLE_FORKS": "16",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "ssh"),
        "ANSIBLE_SSH_ARGS": _ssh_arguments(folder, _RUN_S),
    }


def _ssh_arguments(folder: Path, persist_s: int) -> str:
    # Nobody has seen the host key of a server that was just delivered; in this run it must stay the same.
    return (
        f"-o ControlMaster=auto -o ControlPersist={persist_s}s -o ServerAliveInterval=2 -o ServerAliveCountMax=2"
        f" -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={folder / 'known_hosts'}"
        " -o IdentitiesOnly=yes -o BatchMode=yes"
    )


def _result(ended: Any) -> tuple[PlayResult, set[str]]:
    failures: list[str] = []
    unreachable: set[str] = set()
    answers: dict[str, tuple[Mapping[str, Any], ...]] = {}
    for event in ended.events:
        kind, data = event.get("event"), event.get("event_data", {})
        if _ANSWER in (data.get("res") or {}) and kind in {"runner_on_ok", "runner_on_failed"}:
            answers[data["host"]] = (*answers.get(data["host"], ()), data["res"][_ANSWER])
        if kind == "runner_on_unreachable" or (kind == "runner_on_failed" and not data.get("ignore_errors")):
            unreachable |= {data["host"]} if kind == "runner_on_unreachable" else set()
            failures.append(f"{data.get('host')}: {data.get('task')}: {_message(data.get('res', {}))}")
    changed = sum(((ended.stats or {}).get("changed") or {}).values())
    if ended.status == "timeout":
        return PlayResult(PlayStatus.TIMEOUT, changed, tuple(failures), answers), set()
    if ended.rc == 0 and not failures:
        return PlayResult(PlayStatus.OK, changed, answers=answers), set()
    status = PlayStatus.UNREACHABLE if unreachable else PlayStatus.FAILED
    return PlayResult(status, changed, tuple(failures) or (_last_words(ended),), answers), unreachable


def _last_words(ended: Any) -> str:
    """What ansible-playbook printed last when it ended before any task did."""
    with ended.stdout as printed:
        text = " ".join(printed.read().split())
    return f"the playbook did not run: {text[-_DETAIL_LENGTH:]}"


def _message(result: Mapping[str, Any]) -> str:
    """What a module says; one that asked for ``no_log`` says nothing."""
    text = str(result.get("msg") or result.get("stderr") or result.get("censored") or "no message")
    return " ".join(text.split())[:_DETAIL_LENGTH]

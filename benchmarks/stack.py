"""The whole product as ``guiyun up`` runs it, in a temporary home, with its statements counted and its CPU read.

Called by: the benchmarks. Must not: change how the product runs; only the simulated clouds answer at once, and limits
and capacity are made a thousand times larger (finite still, so that every hold is counted).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, text

from api.cli.up import answers, child_environment
from broker import bootstrap
from broker.db.migrate import upgrade
from broker.db.session import make_engine, make_sessions
from broker.embedded.postgres import EmbeddedPostgres
from broker.embedded.temporal import EmbeddedTemporal
from broker.region.loader import load
from broker.region.reading import read_region
from broker.settings import Settings

_COUNTED = {"shared_preload_libraries": "pg_stat_statements"}
_AT_ONCE = """
UPDATE broker.sub_cloud SET options = options || '{"latency_ms": 0, "build_ms": 0, "delete_ms": 0}';
UPDATE quotas.node_limit SET limit_amount = limit_amount * 1000, lending_limit = lending_limit * 1000,
    guaranteed = guaranteed * 1000, ceiling = coalesce(limit_amount * 1000 + borrowing_limit, ceiling);
UPDATE quotas.inventory SET total = total * 1000 WHERE total IS NOT NULL;
CREATE EXTENSION pg_stat_statements;
"""
_STATEMENTS = """
SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = 'guiyun' AND toplevel AND query !~* '^(begin|commit|rollback|savepoint|release|set|show|listen)'
"""


@dataclass(slots=True)
class Client:
    """One person's connection: a bearer token, one socket that is kept."""

    port: int
    token: str
    _connection: http.client.HTTPConnection | None = None

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer's JSON. Raises RuntimeError with the problem for anything but a success."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        if method == "POST":
            headers["Idempotency-Key"] = secrets.token_hex(16)
        text_body = None if body is None else json.dumps(body)
        try:
            answer = self._send(method, path, text_body, headers)
        except (ConnectionError, http.client.RemoteDisconnected):
            self.close()  # the server had closed an idle one; the key makes sending again harmless
            answer = self._send(method, path, text_body, headers)
        content = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {content.decode()[:500]}")
        return json.loads(content) if content else None

    def close(self) -> None:
        """Let the connection go; the next call makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self._connection.request(method, path, body, dict(headers))
        return self._connection.getresponse()


@dataclass(slots=True)
class Stack:
    """Everything running; ``superuser`` looks at statistics and prepares rows."""

    port: int
    superuser: Engine
    processes: Mapping[str, int]
    postgres_pid: int
    environment: Mapping[str, str]
    """What another worker has to be started with."""

    def client(self, login: str) -> Client:
        """Somebody, by a bearer token made for him."""
        token = secrets.token_urlsafe(32)
        with self.superuser.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO broker.api_token (id, token_hash, account_id, name)"
                    " SELECT gen_random_uuid(), :hash, id, 'benchmark' FROM broker.account WHERE login = :login"
                ),
                {"hash": hashlib.sha256(token.encode()).digest(), "login": login},
            )
        return Client(self.port, token)

    def scalar(self, sql: str, **values: Any) -> Any:
        with self.superuser.connect() as connection:
            return connection.execute(text(sql), values).scalar()

    def statements(self) -> int:
        """SQL statements on the broker's database so far; transaction control and the superuser's own not counted."""
        return int(self.scalar(_STATEMENTS))

    def cpu_seconds(self) -> dict[str, float]:
        """CPU used so far by each part."""
        found = {name: _cpu(pid) for name, pid in self.processes.items()}
        return found | {"postgres": _cpu_of_children(self.postgres_pid), "client": _cpu(os.getpid())}


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _cpu_of_children(parent: int) -> float:
    total = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


@contextmanager
def running(**more: Any) -> Iterator[Stack]:
    """Start the database, the engine, one API process and one worker; stop them all at the end.

    ``more``: settings beside those that a stack needs.
    """
    with tempfile.TemporaryDirectory(prefix="guiyun-bench-") as folder:
        home = Path(folder)
        postgres = EmbeddedPostgres(home / "postgres", settings=_COUNTED)
        temporal = EmbeddedTemporal(home / "temporal")
        postgres.start()
        temporal.start()
        superuser = create_engine(postgres.superuser_url("guiyun"))
        try:
            _prepare(postgres, superuser)
            settings = _settings(home, postgres, temporal, **more)
            with _processes(settings, home) as pids:
                _wait_healthy(superuser, f"http://127.0.0.1:{settings.port}/readyz")
                pids |= {"temporal": temporal.pid}
                yield Stack(settings.port, superuser, pids, postgres.pid, child_environment(settings))
        finally:
            superuser.dispose()
            temporal.stop()
            postgres.stop()


def _prepare(postgres: EmbeddedPostgres, superuser: Engine) -> None:
    upgrade(postgres.owner_url())
    engine = make_engine(postgres.app_url(), pool_size=1)
    with make_sessions(engine).begin() as session:
        long_ago = datetime.now(UTC) - timedelta(days=30)
        load(session, read_region(), now=long_ago, demonstration=True, hasher=lambda _: "none")
    engine.dispose()
    with superuser.begin() as connection:
        connection.execute(text(_AT_ONCE))


def _settings(home: Path, postgres: EmbeddedPostgres, temporal: EmbeddedTemporal, **more: Any) -> Settings:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(
        home=home,
        database_url=SecretStr(postgres.app_url()),
        simulated_database_url=SecretStr(postgres.simulated_url()),
        temporal_address=temporal.address,
        demonstration=True,
        port=port,
        log_level="WARNING",
        **more,
    )
    app = bootstrap.build(settings)  # makes the home's secret key
    app.close()
    return app.settings


@contextmanager
def _processes(settings: Settings, home: Path) -> Iterator[dict[str, int]]:
    """One API process and one worker."""
    program = str(Path(sys.executable).parent / "guiyun")
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, verb in (("api", "serve"), ("worker", "work")):
            with (home / f"{name}.log").open("w") as log:
                started[name] = subprocess.Popen(
                    [program, verb], env=child_environment(settings), stdout=log, stderr=subprocess.STDOUT
                )
        yield {name: process.pid for name, process in started.items()}
    finally:
        for process in started.values():
            process.terminate()
        for process in started.values():
            process.wait(30)


def _wait_healthy(superuser: Engine, url: str, deadline_s: float = 60) -> None:
    """Until every sub-cloud has answered once and the API is ready."""
    ends_at = time.monotonic() + deadline_s
    sick = text(
        "SELECT count(*) FROM broker.sub_cloud c LEFT JOIN broker.sub_cloud_status s ON s.sub_cloud_id = c.id"
        " WHERE s.healthy IS NOT TRUE"
    )
    while True:
        with superuser.connect() as connection:
            if connection.execute(sick).scalar() == 0 and answers(url):
                return
        if time.monotonic() > ends_at:
            raise TimeoutError("the sub-clouds did not come up")
        time.sleep(0.2)

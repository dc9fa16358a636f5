"""A PostgreSQL cluster on disk: its generated passwords, its first creation, its roles and databases.

Called by: ``postgres``. Must not: start a server that stays.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

from broker.embedded.binaries import initdb_uid, postgres_programs
from broker.embedded.spawn import KEEP_UID, EmbeddedError, run_as, write_json

OWNER = "guiyun_owner"
"""Owns the databases and migrates them."""
APP = "guiyun_app"
"""The runtime role: reads and writes rows, cannot change the schema."""
SIMULATED = "guiyun_simulated"
"""Owns the database of the same name, where the simulated clouds make their own tables, and nothing else."""
DATABASES = {"guiyun": OWNER, SIMULATED: SIMULATED}
"""Database -> the role that owns it."""

ANY_DIRECTORY = "/proc/self/cwd"
"""The folder a process stands in, whatever its name: PostgreSQL's user need not be able to walk there from ``/``."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What ``postgres.json`` (0600) remembers. ``token`` names the cluster in process titles."""

    token: str
    port: int
    superuser: str
    owner: str
    app: str
    simulated: str

    @classmethod
    def load_or_make(cls, path: Path) -> Self:
        if path.exists():
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        words = (secrets.token_urlsafe(24) for _ in range(4))
        made = cls(f"guiyun-{secrets.token_hex(6)}", 0, *words)
        made.save(path)
        return made

    def save(self, path: Path) -> None:
        write_json(path, asdict(self))

    def at(self, port: int) -> Self:
        return replace(self, port=port)


def create(folder: Path, *, uid: int, password: str, durable: bool) -> None:
    """Make ``folder/data`` with initdb, wholly or not at all. Raises ``EmbeddedError`` with initdb's own words."""
    work = folder / "new"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    (work / "data").mkdir(mode=0o700)
    password_file = work / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password, encoding="utf-8")
    runner = initdb_uid()
    for path in (work, work / "data", password_file):
        _give(path, runner)
    _initdb(work / "data", runner, durable=durable)
    password_file.unlink()
    if runner != uid:
        _give(work / "data", uid)
        for root, folders, files in os.walk(work / "data"):
            for name in (*folders, *files):
                _give(Path(root, name), uid)
    (work / "data").rename(folder / "data")
    work.rmdir()


def _initdb(data: Path, runner: int, *, durable: bool) -> None:
    command = [
        str(postgres_programs(runner) / "initdb"),
        f"--pgdata={ANY_DIRECTORY}",
        f"--pwfile={ANY_DIRECTORY}/../password",
        "--username=postgres",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        "--auth=scram-sha-256",
        "--no-instructions",
        *([] if durable else ["--no-sync"]),
    ]
    done = run_as(runner, command, cwd=data)
    if done.returncode != 0:
        raise EmbeddedError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")


def _give(path: Path, uid: int) -> None:
    if uid != KEEP_UID:
        os.chown(path, uid, uid, follow_symlinks=False)


def prepare_roles(superuser_url: str, words: Secrets) -> None:
    """Create the roles and our databases where they are missing; safe to run at every start."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        known = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
        for role, password in ((OWNER, words.owner), (APP, words.app), (SIMULATED, words.simulated)):
            if role not in known:
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
                )
        present = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
    for name, owner in DATABASES.items():
        if name not in present:
            create_database(superuser_url, name, owner=owner)


def create_database(superuser_url: str, name: str, *, owner: str = OWNER) -> None:
    """An empty database. In the migrating owner's, the runtime role may connect; what it may use, migrations say."""
    database = sql.Identifier(name)
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, sql.Identifier(owner)))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        if owner != OWNER:
            return
        connection.execute(
            sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(database, sql.Identifier(APP))
        )

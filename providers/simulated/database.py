"""The database behind the simulated clouds of a process: one pool of connections a URL, the schema made on first use.

Called by: ``cloud`` and ``faults``. Must not: know what a server is, or open a transaction that outlives a call.
"""

from __future__ import annotations

import hashlib
import json
import threading
from importlib import resources
from typing import Any

from psycopg.errors import (
    DeadlockDetected,
    InvalidAuthorizationSpecification,
    InvalidSchemaName,
    QueryCanceled,
    SerializationFailure,
    UndefinedFunction,
    UndefinedTable,
)
from psycopg.errors import InsufficientPrivilege as Forbidden
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from providers.simulated.wire import WireError, WireTimeout

_SCRIPTS = ("tables.sql", "objects.sql", "wire.sql")
_REMEMBER = text(
    "insert into simulated.version (digest) values (:digest) "
    "on conflict (single) do update set digest = excluded.digest"
)
_SCHEMA_LOCK = 0x6775697975  # any number, the same in every process
_UNDONE = (DeadlockDetected, SerializationFailure, QueryCanceled)
_UNUSABLE = (Forbidden, InvalidAuthorizationSpecification, InvalidSchemaName, UndefinedFunction, UndefinedTable)
# libpq gives no SQLSTATE for a refused connection; these are what needs a person rather than patience.
_REFUSED = ("authentication failed", "no password supplied", "pg_hba.conf", "does not exist", "permission denied")


class Database:
    """Connections to one URL. Use ``acquire`` and ``release``; the last user closes the connections."""

    _shared: dict[str, Database] = {}  # noqa: RUF012  # shared on purpose: one pool a process, guarded by _guard
    _users: dict[str, int] = {}  # noqa: RUF012  # as above
    _guard = threading.Lock()

    def __init__(self, url: str, pool_size: int) -> None:
        self._url = url
        self._prepared = threading.Event()
        self._preparing = threading.Lock()
        self._engine: Engine = create_engine(
            url,
            isolation_level="AUTOCOMMIT",
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=5,
            connect_args={
                "application_name": "guiyun-simulated",
                "connect_timeout": 5,
                "options": "-c timezone=UTC -c statement_timeout=15000",
            },
        )

    @classmethod
    def acquire(cls, url: str, pool_size: int = 8) -> Database:
        """The process's database for ``url``; connects at the first statement."""
        with cls._guard:
            if url not in cls._shared:
                cls._shared[url] = cls(url, pool_size)
            cls._users[url] = cls._users.get(url, 0) + 1
            return cls._shared[url]

    def release(self) -> None:
        """Counterpart of ``acquire``."""
        with self._guard:
            self._users[self._url] -= 1
            if self._users[self._url] == 0:
                del self._users[self._url]
                del self._shared[self._url]
                self._engine.dispose()

    def value(self, statement: str, *parameters: object) -> Any:
        """Run one statement, committed by itself, and return its first value (JSON already read).

        Raises WireTimeout when it may or may not have been done, WireError when it was not.
        """
        rows = self.rows(statement, *parameters)
        return rows[0][0] if rows else None

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run one statement, committed by itself, and return its rows. Raises as ``value``."""
        self._prepare()
        try:
            with self._engine.connect() as connection:
                result = connection.exec_driver_sql(statement, parameters)
                return [tuple(row) for row in result] if result.returns_rows else []
        except DataError as error:
            raise WireError(400, "order.invalid", _first_line(error)) from None
        except DBAPIError as error:
            raise _translated(error) from None
        except PoolTimeout:
            raise WireError(503, "cloud.busy", "no connection became free") from None

    def _prepare(self) -> None:
        """Make the schema unless this version of it is there; one process at a time, the others wait."""
        if self._prepared.is_set():
            return
        with self._preparing:
            if self._prepared.is_set():
                return
            try:
                self._make_schema()
            except DBAPIError as error:
                translated = _translated(error)
                # Nothing of the caller's was sent yet, so nothing can have been done.
                raise (
                    WireError(503, "cloud.unreachable") if isinstance(translated, WireTimeout) else translated
                ) from None
            self._prepared.set()

    def _make_schema(self) -> None:
        folder = resources.files("providers.simulated") / "sql"
        scripts = [(folder / name).read_text(encoding="utf-8") for name in _SCRIPTS]
        digest = hashlib.sha256("".join(scripts).encode()).hexdigest()
        engine = self._engine.execution_options(isolation_level="READ COMMITTED")
        with engine.begin() as connection:
            connection.exec_driver_sql(f"select pg_advisory_xact_lock({_SCHEMA_LOCK})")
            made = connection.exec_driver_sql("select to_regclass('simulated.version')").scalar()
            if made and connection.exec_driver_sql("select digest from simulated.version").scalar() == digest:
                return
            for script in scripts:
                connection.exec_driver_sql(script, execution_options={"no_parameters": True})
            connection.execute(_REMEMBER, {"digest": digest})


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).partition("\n")[0]


def _translated(error: DBAPIError) -> WireError | WireTimeout:
    """What a failure of the database means to somebody who believes it to be a cloud."""
    cause, said = error.orig, _first_line(error)
    if isinstance(cause, _UNDONE):
        return WireError(503, "cloud.busy", said)
    if isinstance(cause, _UNUSABLE):
        return WireError(401, "cloud.unusable", said)
    if error.statement is None and isinstance(error, OperationalError):
        refused = any(words in str(cause) for words in _REFUSED)
        return WireError(401, "cloud.denied", said) if refused else WireError(503, "cloud.unreachable", said)
    if error.connection_invalidated:
        return WireTimeout(said)
    return WireError(500, "cloud.failed", said)


def as_json(value: object) -> str:
    """JSON text for a statement's ``%s::jsonb``."""
    return json.dumps(value, separators=(",", ":"))

"""What a test may do behind the broker's back: switch faults on, look at the whole cloud, move its clock.

Called by: tests, the demonstration and benchmarks, from any process; everything is kept in the cloud's database.
Must not: be used by the adapter, which knows only the wire.

Each function opens and closes a connection of its own, so that it can be called from anywhere without set-up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv6Address
from uuid import UUID

from providers.contract import Kind
from providers.simulated.database import Database


class Mode(StrEnum):
    """What goes wrong with a call."""

    REFUSE = "refuse"
    """Permanent; nothing was done."""
    SLOW = "slow"
    """Done, but the answer takes ``delay_s`` longer; past the call's time-out it never comes."""
    HTTP_5XX = "http_5xx"
    """Temporary; nothing was done."""
    TIMEOUT_AFTER_DONE = "timeout_after_done"
    """Done, but the answer is lost: UnknownOutcome."""
    LATE = "late"
    """UnknownOutcome, and done only after ``looks`` further looks (observe, list, or the one a create begins with) of
    the same kind have been answered; with ``delay_s``, after that time instead."""
    VANISH = "vanish"
    """Done; the object is gone ``delay_s`` later without anybody's order."""
    QUOTA_EXCEEDED = "quota_exceeded"
    """Permanent; nothing was done."""
    RATE_LIMIT = "rate_limit"
    """Temporary with ``retry_after_s`` = ``delay_s``; nothing was done."""
    ERROR_STATE = "error_state"
    """Accepted; the object ends in ``Status.ERROR``."""
    STUCK_BUILDING = "stuck_building"
    """Accepted; the object is ``Status.BUILDING`` for ever."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one cloud: the first ``after`` calls that match go well, the next ``times`` do not.

    ``verb`` is a method of ``providers.contract.Provider`` or ``*``; ``kind`` and ``object_id`` of ``None`` match all.
    """

    cloud: str
    verb: str
    kind: Kind | None
    mode: Mode
    times: int = 1
    after: int = 0
    delay_s: float = 0.0
    looks: int = 1
    object_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A call as the cloud saw it. ``code`` is ``found`` for a create that made nothing because it was there."""

    at: datetime
    cloud: str
    verb: str
    kind: Kind | None
    object_id: UUID | None
    project_id: UUID | None
    status: int
    code: str
    fault: str | None


@dataclass(frozen=True, slots=True)
class Thing:
    """An object that is in the cloud, whoever made it, duplicates and foreign ones too."""

    ref: str
    kind: Kind
    object_id: UUID | None
    project_id: UUID | None
    name: str


def inject(database_url: str, fault: Fault) -> int:
    """Switch a fault on, from the next call of any process on. Its number."""
    with _database(database_url) as database:
        return int(
            database.value(
                "insert into simulated.fault (cloud, verb, kind, tag, mode, after_calls, times, delay_s, looks) "
                "values (%s, %s, %s, %s, %s, %s, %s, %s, %s) returning id",
                *(fault.cloud, fault.verb, fault.kind, fault.object_id, fault.mode),
                *(fault.after, fault.times, fault.delay_s, fault.looks),
            )
        )


def clear(database_url: str, cloud: str | None = None) -> None:
    """Switch all faults off, of one cloud or of all. Orders that are late stay late."""
    with _database(database_url) as database:
        database.rows("delete from simulated.fault where cloud = coalesce(%s, cloud)", cloud)


def unspent(database_url: str, cloud: str) -> int:
    """How many times faults are still to strike; 0 when a test's faults have all happened."""
    with _database(database_url) as database:
        return int(database.value("select coalesce(sum(times), 0) from simulated.fault where cloud = %s", cloud))


def calls(
    database_url: str, cloud: str, *, verb: str | None = None, kind: Kind | None = None, object_id: UUID | None = None
) -> Sequence[Call]:
    """The log, oldest first: orders, calls that met a fault, and with the option ``log_looks`` all others."""
    with _database(database_url) as database:
        rows = database.rows(
            "select at, cloud, verb, kind, tag, project, status, code, fault from simulated.call_log "
            "where cloud = %s and verb = coalesce(%s, verb) and (%s::text is null or kind = %s) "
            "and (%s::uuid is null or tag = %s) order by id",
            *(cloud, verb, kind, kind, object_id, object_id),
        )
    return [Call(r[0], r[1], r[2], Kind(r[3]) if r[3] else None, *r[4:]) for r in rows]


def things(database_url: str, cloud: str, *, kind: Kind | None = None) -> Sequence[Thing]:
    """Everything in the cloud at this moment, in order of making (attachments are no things of their own)."""
    with _database(database_url) as database:
        rows = database.rows(
            "select ref::text, kind, tag, project, name from simulated.object "
            "where cloud = %s and (%s::text is null or kind = %s) and (gone_at is null or gone_at > clock_timestamp() "
            "+ (select clock_ahead from simulated.cloud where code = object.cloud)) order by seq",
            *(cloud, kind, kind),
        )
    return [Thing(ref, Kind(made), tag, project, name) for ref, made, tag, project, name in rows]


def late_orders(database_url: str, cloud: str) -> int:
    """How many accepted orders have not acted yet."""
    with _database(database_url) as database:
        return int(database.value("select count(*) from simulated.late_order where cloud = %s", cloud))


def let_late_orders_act(database_url: str, cloud: str) -> None:
    """Make every accepted order act now, without anybody having looked."""
    with _database(database_url) as database:
        database.rows("update simulated.late_order set due_at = '-infinity' where cloud = %s", cloud)
        database.rows(
            "select simulated.settle(code, clock_timestamp() + clock_ahead) from simulated.cloud where code = %s", cloud
        )


def vanish(database_url: str, cloud: str, kind: Kind, object_id: UUID) -> None:
    """Let an object be gone at once, and its duplicates, as if somebody had removed it by hand."""
    with _database(database_url) as database:
        database.rows(
            "update simulated.object o set gone_at = clock_timestamp() + c.clock_ahead from simulated.cloud c "
            "where c.code = o.cloud and o.cloud = %s and o.kind = %s and o.tag = %s",
            *(cloud, kind, object_id),
        )


def leave_port(database_url: str, cloud: str, network_id: UUID, address: IPv6Address) -> None:
    """Let somebody make a port by hand on a network, and bind it to nothing."""
    with _database(database_url) as database:
        database.rows(
            "insert into simulated.port (cloud, network, address) values (%s, %s, %s)", cloud, network_id, str(address)
        )


def advance(database_url: str, cloud: str, by: timedelta) -> None:
    """Move a cloud's clock forward: what builds gets ready, what is late acts, usage grows."""
    with _database(database_url) as database:
        database.rows("update simulated.cloud set clock_ahead = clock_ahead + %s where code = %s", by, cloud)


@contextmanager
def _database(url: str) -> Iterator[Database]:
    database = Database.acquire(url)
    try:
        yield database
    finally:
        database.release()

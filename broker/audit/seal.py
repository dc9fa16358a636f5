"""The one sealer: chains committed events in order with SM3 (GB/T 32905-2016), and verifies the chain.

Called by: the worker's dispatch (``seal``), ``guiyun audit verify`` (``verify``).
Must not: change an event. A chain inside each transaction would be one lock for the whole system, so events are
written unchained and sealed afterwards; an advisory lock keeps it to one sealer at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from broker.audit.models import AuditEvent, AuditSeal

GENESIS = bytes(32)
_LOCK = 0x6775_6979
BATCH = 1000
_LATE = timedelta(minutes=15)
"""Longer than any transaction may last."""


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain: what can be anchored outside the database."""

    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong at ``seq``: ``changed`` (or moved), ``removed``, ``unsealed`` or ``head_differs``."""

    kind: str
    seq: int
    event_id: str = ""


def digest(previous: bytes, seq: int, event: AuditEvent) -> bytes:
    """SM3 over the previous hash, the sequence number and the event's canonical JSON."""
    body: dict[str, Any] = {
        "id": str(event.id),
        "at": event.at.astimezone(UTC).isoformat(),
        "actor_id": str(event.actor_id) if event.actor_id else None,
        "on_behalf_of": str(event.on_behalf_of) if event.on_behalf_of else None,
        "action": event.action,
        "subject_type": event.subject_type,
        "subject_id": str(event.subject_id),
        "request_id": str(event.request_id) if event.request_id else None,
        "article": event.article,
        "data": event.data,
        "trace_id": event.trace_id,
    }
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.new("sm3", previous + seq.to_bytes(8, "big") + canonical.encode()).digest()


def head(session: Session) -> Head:
    """The last seal, or sequence 0 and the genesis hash."""
    return _last(session)[0]


def _last(session: Session) -> tuple[Head, UUID | None]:
    """The head, and the event that was sealed last."""
    statement = select(AuditSeal.seq, AuditSeal.hash, AuditSeal.event_id).order_by(AuditSeal.seq.desc()).limit(1)
    row = session.execute(statement).first()
    return (Head(row.seq, row.hash), row.event_id) if row else (Head(0, GENESIS), None)


def seal(session: Session, *, limit: int = BATCH) -> int:
    """Seal up to ``limit`` committed events; returns how many. Does nothing while another sealer is at it."""
    if not session.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))):
        return 0
    last, sealed = _last(session)
    events = session.scalars(_waiting(select(AuditEvent), _since(sealed)).order_by(AuditEvent.id).limit(limit)).all()
    seq, previous = last.seq, last.hash
    for event in events:
        seq += 1
        previous = digest(previous, seq, event)
        session.add(AuditSeal(seq=seq, event_id=event.id, hash=previous))
    return len(events)


def unsealed(session: Session) -> int:
    """How many committed events wait for the sealer."""
    _, sealed = _last(session)
    return session.scalar(_waiting(select(func.count()).select_from(AuditEvent), _since(sealed))) or 0


def _waiting(statement: Select[Any], since: UUID) -> Select[Any]:
    """Events without a seal. Looks only where some can be: the whole log would be read every second otherwise."""
    sealed = select(AuditSeal.seq).where(AuditSeal.event_id == AuditEvent.id).exists()
    return statement.where(AuditEvent.id >= since, ~sealed)


def _since(last: UUID | None) -> UUID:
    """An id below every event that may still be unsealed.

    Ids are UUIDv7, ordered by time; a transaction ends long before ``_LATE`` (statements and idle transactions are cut
    off after minutes), so that what is older than the last sealed event by more than that has been sealed too.
    """
    if last is None:
        return UUID(int=0)
    milliseconds = max(0, (last.int >> 80) - int(_LATE.total_seconds() * 1000))
    return UUID(int=milliseconds << 80)


def verify(session: Session, anchor: Head | None = None) -> Iterator[Finding]:
    """Walk the whole chain and yield what is wrong with it; nothing yielded means it is whole.

    ``anchor`` is a head kept outside the database: a chain that was rewritten from the start does not contain it.
    An event that the sealer can no longer reach is found too (``unsealed``).
    """
    previous, expected = GENESIS, 0
    rows = session.execute(
        select(AuditSeal, AuditEvent)
        .outerjoin(AuditEvent, AuditEvent.id == AuditSeal.event_id)
        .order_by(AuditSeal.seq)
        .execution_options(yield_per=BATCH)
    )
    for link, event in rows:
        expected += 1
        if link.seq != expected:
            yield Finding("removed", expected)
            expected = link.seq
        yield from _link(previous, link, event)
        if anchor and link.seq == anchor.seq and link.hash != anchor.hash:
            yield Finding("head_differs", link.seq)
        previous = link.hash
    if anchor and expected < anchor.seq:
        yield Finding("removed", anchor.seq)
    lost = _waiting(select(AuditEvent.id), UUID(int=0)).where(AuditEvent.id < _since(_last(session)[1]))
    for event_id in session.scalars(lost):
        yield Finding("unsealed", 0, str(event_id))


def _link(previous: bytes, link: AuditSeal, event: AuditEvent | None) -> Iterator[Finding]:
    if event is None:
        yield Finding("removed", link.seq, str(link.event_id))
    elif digest(previous, link.seq, event) != link.hash:
        yield Finding("changed", link.seq, str(link.event_id))

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
from datetime import UTC
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from broker.audit.models import AuditEvent, AuditSeal

GENESIS = bytes(32)
_LOCK = 0x6775_6979
BATCH = 1000


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain: what can be anchored outside the database."""

    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with the chain at ``seq``: ``changed``, ``removed``, ``reordered`` or ``head_differs``."""

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
    row = session.execute(select(AuditSeal.seq, AuditSeal.hash).order_by(AuditSeal.seq.desc()).limit(1)).first()
    return Head(row.seq, row.hash) if row else Head(0, GENESIS)


def seal(session: Session, *, limit: int = BATCH) -> int:
    """Seal up to ``limit`` committed events; returns how many. Does nothing while another sealer is at it."""
    if not session.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))):
        return 0
    last = head(session)
    events = session.scalars(
        select(AuditEvent)
        .where(~select(AuditSeal.seq).where(AuditSeal.event_id == AuditEvent.id).exists())
        .order_by(AuditEvent.id)
        .limit(limit)
    ).all()
    seq, previous = last.seq, last.hash
    for event in events:
        seq += 1
        previous = digest(previous, seq, event)
        session.add(AuditSeal(seq=seq, event_id=event.id, hash=previous))
    return len(events)


def unsealed(session: Session) -> int:
    """How many committed events wait for the sealer."""
    return (
        session.scalar(
            text(
                "SELECT count(*) FROM broker.audit_event e"
                " WHERE NOT EXISTS (SELECT FROM broker.audit_seal s WHERE s.event_id = e.id)"
            )
        )
        or 0
    )


def verify(session: Session, anchor: Head | None = None) -> Iterator[Finding]:
    """Walk the whole chain and yield what is wrong with it; nothing yielded means it is whole.

    ``anchor`` is a head kept outside the database: a chain that was rewritten from the start does not contain it.
    """
    previous, expected = GENESIS, 0
    rows = session.execute(
        select(AuditSeal, AuditEvent)
        .join(AuditEvent, AuditEvent.id == AuditSeal.event_id)
        .order_by(AuditSeal.seq)
        .execution_options(yield_per=BATCH)
    )
    for link, event in rows:
        expected += 1
        if link.seq != expected:
            yield Finding("removed", expected)
            expected = link.seq
        if digest(previous, link.seq, event) != link.hash:
            yield Finding("changed", link.seq, str(link.event_id))
        if anchor and link.seq == anchor.seq and link.hash != anchor.hash:
            yield Finding("head_differs", link.seq)
        previous = link.hash
    if anchor and expected < anchor.seq:
        yield Finding("removed", anchor.seq)

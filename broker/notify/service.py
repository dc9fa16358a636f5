"""Telling people: notices land in the outbox and inbox in the transaction that causes them.

Called by: every stage. Must not: send anything (channels read the table), or carry personal data in ``params``.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from broker.db.base import AnyRow, AnySelect, new_id
from broker.lifecycle import Role
from broker.notify.models import Notice, NoticeRead
from broker.tenancy.values import Actor
from broker.tenancy.work import Work

Subject = tuple[str, UUID]
"""What a notice is about: the type and the id of a row."""


def tell_account(work: Work, account_id: UUID, code: str, subject: Subject, **params: object) -> None:
    """A notice for one person."""
    work.session.add(
        Notice(
            account_id=account_id,
            code=code,
            params=params,
            subject_type=subject[0],
            subject_id=subject[1],
            created_at=work.now,
        )
    )


def tell_role(work: Work, audience: tuple[UUID | None, Role], code: str, subject: Subject, **params: object) -> None:
    """A notice for everybody who holds a role in a unit: ``audience`` is (unit, role)."""
    unit_id, role = audience
    work.session.add(
        Notice(
            unit_id=unit_id,
            role=role.value,
            code=code,
            params=params,
            subject_type=subject[0],
            subject_id=subject[1],
            created_at=work.now,
        )
    )


def remind(work: Work, rows: list[dict[str, Any]]) -> int:
    """Insert reminders that carry a ``dedupe`` key, each at most once ever; returns how many were new."""
    if not rows:
        return 0
    values = [{"id": new_id(), "created_at": work.now, **row} for row in rows]
    statement = insert(Notice).values(values).on_conflict_do_nothing(index_elements=["dedupe"]).returning(Notice.id)
    return len(work.session.execute(statement).all())


def _for_me(actor: Actor) -> Any:
    roles = [r.value for r in actor.roles]
    return or_(Notice.account_id == actor.account_id, and_(Notice.unit_id == actor.unit_id, Notice.role.in_(roles)))


def _read_by(actor: Actor) -> Any:
    return exists().where(NoticeRead.notice_id == Notice.id, NoticeRead.account_id == actor.account_id)


def inbox(work: Work, *, limit: int = 50, before: UUID | None = None, unread_only: bool = False) -> list[AnyRow]:
    """The actor's notices, newest first: rows of ``(Notice, read: bool)``."""
    statement: AnySelect = (
        select(Notice, _read_by(work.actor).label("read"))
        .where(_for_me(work.actor))
        .order_by(Notice.id.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(Notice.id < before)
    if unread_only:
        statement = statement.where(~_read_by(work.actor))
    return list(work.session.execute(statement).all())


def unread(work: Work) -> int:
    """How many notices of the actor's are not read yet."""
    statement = select(func.count(Notice.id)).where(_for_me(work.actor), ~_read_by(work.actor))
    return work.session.scalar(statement) or 0


def mark_all_read(work: Work) -> int:
    """Mark every notice of the actor's as read; returns how many were newly read."""
    mine = select(Notice.id).where(_for_me(work.actor), ~_read_by(work.actor))
    return mark_read(work, list(work.session.scalars(mine)))


def mark_read(work: Work, notice_ids: list[UUID]) -> int:
    """Mark notices of the actor's as read; others are left alone. Returns how many were newly read."""
    if not notice_ids or work.actor.account_id is None:
        return 0
    mine = select(Notice.id).where(Notice.id.in_(notice_ids), _for_me(work.actor))
    values = [
        {"id": new_id(), "notice_id": i, "account_id": work.actor.account_id, "read_at": work.now}
        for i in work.session.scalars(mine)
    ]
    if not values:
        return 0
    statement = insert(NoticeRead).values(values).on_conflict_do_nothing().returning(NoticeRead.id)
    return len(work.session.execute(statement).all())

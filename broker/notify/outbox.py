"""The outbox: which notices go to which addresses, claimed with a lease, each handed over at most once.

Called by: ``notify.sender``; the desk (``decide``). Must not: send, or keep an address or a secret.

What is guaranteed: a message is handed to a server at most once unless an operator says otherwise. Just before the
content is handed over the row says ``handing``, committed; whoever is lost after that leaves an unknown outcome, which
waits on the desk. Whoever is lost before it leaves a lease that runs out, and the message is claimed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select, text, update

from broker.db.base import AnyRow
from broker.errors import Conflict, Forbidden, NotFound
from broker.lifecycle import Role
from broker.notify.models import Notice, NoticeSending
from broker.tenancy.models import Account
from broker.tenancy.work import Work

LEASE = timedelta(minutes=3)
"""Longer than a server may take to what comes before the content, and again to the content itself."""
MOST_ATTEMPTS = 12
FRESH = timedelta(days=1)
"""A notice older than this is not sent by itself any more. After an outage, of what was sent by before, it lies on the
desk and a person says; nobody wants yesterday's flood when a server is configured for the first time."""
_AT_ONCE = 500

_EXPAND_EMAIL = text("""
INSERT INTO broker.notice_sending (id, notice_id, channel, account_id, next_at, state, code)
SELECT DISTINCT ON (a.id, n.code, n.subject_id, n.created_at, n.params)
  gen_random_uuid(), n.id, 'email', a.id, :now,
  CASE WHEN n.created_at > :fresh THEN 'waiting' ELSE 'failed' END,
  CASE WHEN n.created_at > :fresh THEN '' ELSE 'sending.too_old' END
FROM broker.notice n
JOIN broker.account a ON a.disabled_at IS NULL AND (a.id = n.account_id OR (a.unit_id = n.unit_id AND EXISTS (
  SELECT FROM broker.role_grant g WHERE g.account_id = a.id AND g.role = n.role
    AND g.during @> CAST(:now AS timestamptz))))
JOIN broker.person p ON p.id = a.person_id AND p.email <> '' AND p.blanked_at IS NULL
WHERE n.id = ANY(CAST(:ids AS uuid[])) AND (n.created_at > :fresh OR EXISTS (
  SELECT FROM broker.notice_sending s WHERE s.channel = 'email' AND s.sent_at < n.created_at))
ORDER BY a.id, n.code, n.subject_id, n.created_at, n.params, n.id
ON CONFLICT DO NOTHING
""")

_EXPAND_WEBHOOK = text("""
INSERT INTO broker.notice_sending (id, notice_id, channel, webhook, next_at, state, code)
SELECT DISTINCT ON (n.code, n.subject_id, n.created_at, n.params)
  gen_random_uuid(), n.id, 'webhook', CAST(:name AS text), :now,
  CASE WHEN n.created_at > :fresh THEN 'waiting' ELSE 'failed' END,
  CASE WHEN n.created_at > :fresh THEN '' ELSE 'sending.too_old' END
FROM broker.notice n JOIN broker.unit u ON u.id = n.unit_id
WHERE n.id = ANY(CAST(:ids AS uuid[])) AND u.code = :unit
  AND n.role = ANY(CAST(:roles AS text[])) AND (n.created_at > :fresh OR EXISTS (
    SELECT FROM broker.notice_sending s WHERE s.webhook = CAST(:name AS text) AND s.sent_at < n.created_at))
ORDER BY n.code, n.subject_id, n.created_at, n.params, n.id
ON CONFLICT DO NOTHING
""")

_CLAIM = text("""
UPDATE broker.notice_sending SET state = 'sending', leased_until = :until, attempts = attempts + 1
WHERE id = (
  SELECT id FROM broker.notice_sending
  WHERE channel = ANY(CAST(:channels AS text[]))
    AND ((state = 'waiting' AND next_at <= :now) OR (state = 'sending' AND leased_until < :now))
  ORDER BY next_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id
""")

_SPENT = text("""
UPDATE broker.notice_sending SET state = 'failed', leased_until = NULL, code = 'sending.spent'
WHERE state = 'sending' AND leased_until < :now AND attempts >= :most RETURNING id
""")

_LOST_CODE = "sending.lost"
_LOST = text("""
UPDATE broker.notice_sending SET state = 'unknown', leased_until = NULL, code = 'sending.lost'
WHERE state = 'handing' AND leased_until < :now RETURNING id
""")


def expand(work: Work, *, email: bool, webhooks: Sequence[tuple[str, str, Sequence[str]]]) -> int:
    """A row for each address of each new notice; ``webhooks``: (name, unit code, roles). Returns how many notices.

    What one act tells several roles goes to an address once: a person may hold two of them, a group hears for all.
    """
    new = select(Notice.id).where(Notice.expanded_at.is_(None)).order_by(Notice.id).limit(_AT_ONCE)
    ids = list(work.session.scalars(new.with_for_update(skip_locked=True)))
    if not ids:
        return 0
    values = {"ids": ids, "now": work.now, "fresh": work.now - FRESH}
    if email:
        work.session.execute(_EXPAND_EMAIL, values)
    for name, unit, roles in webhooks:
        work.session.execute(_EXPAND_WEBHOOK, values | {"name": name, "unit": unit, "roles": list(roles)})
    work.session.execute(update(Notice).where(Notice.id.in_(ids)).values(expanded_at=work.now))
    return len(ids)


def lost(work: Work) -> int:
    """What was being handed over when its worker was lost: nobody knows; it goes to the desk. Returns how many."""
    return len(work.session.execute(_LOST, {"now": work.now}).all())


def spent(work: Work) -> int:
    """What so many workers were lost with before it was handed over: it goes to the desk. Returns how many."""
    return len(work.session.execute(_SPENT, {"now": work.now, "most": MOST_ATTEMPTS}).all())


def claim(work: Work, channels: Sequence[str]) -> UUID | None:
    """The next message that may be sent, leased to the caller; None when there is none."""
    values = {"now": work.now, "until": work.now + LEASE, "channels": list(channels)}
    found: UUID | None = work.session.scalar(_CLAIM, values)
    return found


def hand_over(work: Work, sending_id: UUID) -> bool:
    """Just before the content goes out; the lease runs anew. False: it has run out, the message is somebody else's."""
    mine = (
        update(NoticeSending)
        .where(NoticeSending.id == sending_id, NoticeSending.state == "sending", NoticeSending.leased_until > work.now)
        .values(state="handing", leased_until=work.now + LEASE)
        .returning(NoticeSending.id)
    )
    return work.session.scalar(mine) is not None


def sent(work: Work, sending_id: UUID) -> None:
    """It was taken, however long that took: what was given up for lost meanwhile, and not decided on, was not lost."""
    late = update(NoticeSending).where(
        NoticeSending.id == sending_id,
        NoticeSending.state == "unknown",
        NoticeSending.code == _LOST_CODE,
        NoticeSending.decided_by.is_(None),
    )
    work.session.execute(late.values(state="sent", sent_at=work.now, code=""))
    _end(work, sending_id, state="sent", sent_at=work.now, code="")


def unknown(work: Work, sending_id: UUID, code: str) -> None:
    """It may have arrived: the desk decides."""
    _end(work, sending_id, state="unknown", code=code)


def broken(work: Work, sending_id: UUID) -> None:
    """Something broke that nobody foresaw: it goes to the desk, with whether it may have been handed over."""
    row = work.session.get_one(NoticeSending, sending_id, with_for_update=True)
    _end(work, sending_id, state="unknown" if row.state == "handing" else "failed", code="sending.broken")


def refused(work: Work, sending_id: UUID, code: str, *, for_good: bool) -> None:
    """It has certainly not been taken: later again, more and more rarely, or never."""
    row = work.session.get_one(NoticeSending, sending_id, with_for_update=True)
    over = for_good or row.attempts >= MOST_ATTEMPTS
    pause = timedelta(seconds=min(30 * 2 ** max(row.attempts - 1, 0), 6 * 3600))
    _end(work, sending_id, state="failed" if over else "waiting", code=code, next_at=work.now + pause)


def _end(work: Work, sending_id: UUID, **values: object) -> None:
    mine = update(NoticeSending).where(NoticeSending.id == sending_id, NoticeSending.state.in_(("sending", "handing")))
    work.session.execute(mine.values(leased_until=None, **values))


def desk(work: Work, *, limit: int = 100) -> Sequence[AnyRow]:
    """What has an unknown outcome or failed for good, oldest first; for the administrator.

    Rows of ``(NoticeSending, Notice, login)``: what it says and to whose account; a group's webhook has none.
    """
    open_ones = (
        select(NoticeSending, Notice, Account.login)
        .join(Notice, Notice.id == NoticeSending.notice_id)
        .outerjoin(Account, Account.id == NoticeSending.account_id)
        .where(NoticeSending.state.in_(("unknown", "failed")), NoticeSending.decided_by.is_(None))
        .order_by(NoticeSending.id)
        .limit(limit)
    )
    return work.session.execute(open_ones).all()


def decide(work: Work, sending_id: UUID, *, again: bool) -> NoticeSending:
    """The administrator has it sent again, or lets it be. Raises Forbidden, NotFound, Conflict ``sending.decided``."""
    if Role.ADMINISTRATOR not in work.actor.roles:
        raise Forbidden("duty.missing", role=Role.ADMINISTRATOR.value)
    row = work.session.get(NoticeSending, sending_id, with_for_update=True)
    if row is None:
        raise NotFound("sending.not_found")
    if row.state not in {"unknown", "failed"} or row.decided_by is not None:
        raise Conflict("sending.decided")
    if again:
        row.state, row.attempts, row.next_at = "waiting", 0, work.now
    else:
        row.decided_by = work.actor.account_id
    work.record("notice.sent_again" if again else "notice.let_be", "notice_sending", row.id, data={"code": row.code})
    return row

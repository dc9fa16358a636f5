"""Disputes: a payer objects to a line of a closed month, the region's finance accepts or rejects it with a reason.

Called by: the API, the console. Must not: change a closed statement: what is accepted becomes an adjustment, which the
next close puts on a statement (``chargeback.closing``). How a bill is disputed no article says: ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from broker.chargeback import access, statements, views_sql
from broker.chargeback.access import Scope
from broker.chargeback.line_now import line_now
from broker.chargeback.models import Adjustment, Dispute
from broker.chargeback.seen_sql import PART
from broker.chargeback.views import ExplainedLine, Standing
from broker.db.base import new_id
from broker.errors import Conflict, Forbidden, Invalid, NotFound, Problem
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.pricing.rules import LIMIT_FEN
from broker.tenancy.repository import accounts_of_one
from broker.tenancy.work import Work

ACCEPTED, REJECTED = "accepted", "rejected"
MAX_PAGE = 200


@dataclass(frozen=True, slots=True)
class DisputeRow:
    """A dispute with what it is about. ``adjusted_fen`` is what an accepted one changes; ``decision`` None is open."""

    id: UUID
    statement_id: UUID
    charge_id: int
    payer_unit_id: UUID
    payer_name: str
    month: date
    resource_number: str
    resource_name: str
    meter: str
    amount_fen: int
    reason: str
    raised_by: UUID
    raised_at: datetime
    decision: str | None
    answer: str | None
    answered_by: UUID | None
    answered_at: datetime | None
    adjusted_fen: int | None

    @property
    def state(self) -> str:
        return self.decision or "raised"


_LIST = text(f"""
SELECT d.id, d.statement_id, d.charge_id, d.payer_unit_id, coalesce(n.name, u.code) AS payer_name, s.month,
       r.number AS resource_number, r.name AS resource_name, c.meter, c.amount_fen, d.reason, d.raised_by, d.raised_at,
       d.decision, d.answer, d.answered_by, d.answered_at, a.amount_fen AS adjusted_fen
FROM broker.dispute d
JOIN broker.statement s ON s.id = d.statement_id
JOIN broker.charge c ON c.id = d.charge_id
JOIN broker.resource r ON r.id = c.resource_id
JOIN broker.unit u ON u.id = d.payer_unit_id
LEFT JOIN broker.adjustment a ON a.id = d.adjustment_id
LEFT JOIN LATERAL (
  SELECT name FROM broker.unit_period p WHERE p.unit_id = d.payer_unit_id AND lower(p.during) < s.covers_until
  ORDER BY lower(p.during) DESC LIMIT 1
) AS n ON true
WHERE (:everything OR EXISTS (
    SELECT FROM broker.unit_period p
    WHERE p.unit_id = d.payer_unit_id AND p.ancestors @> ARRAY[CAST(:root_unit_id AS uuid)]
      AND p.during && tstzrange(CAST(s.month AS timestamp) AT TIME ZONE 'Asia/Shanghai', s.covers_until)
  ))
  AND (CAST(:id AS uuid) IS NULL OR d.id = CAST(:id AS uuid))
  AND (CAST(:before AS uuid) IS NULL OR d.id < CAST(:before AS uuid))
  AND (NOT :only_open OR d.decision IS NULL)
  AND {PART}
ORDER BY d.id DESC
LIMIT :limit
""")  # noqa: S608 - our own constants


def line_to_dispute(work: Work, statement_id: UUID, charge_id: int) -> ExplainedLine:
    """The line, if the actor may object to it now. Raises what ``object_to`` raises, but for the reason."""
    seen = access.scope(work.session, work.actor, work.now)
    head = statements.visible(work.session, statement_id, seen)
    line = views_sql.one_line(work.session, statement_id, charge_id)
    if line is None:
        raise NotFound("statement.line_unknown")
    if work.actor.account_id is None or seen.payer_unit_id != head.payer_unit_id:
        raise Forbidden("dispute.not_the_payer")
    standing = views_sql.head(work.session, statement_id)["standing"]
    if standing is not Standing.CLOSED:
        raise Conflict("dispute.not_closed")
    return line


def may_object(work: Work, payer_unit_id: UUID) -> bool:
    """Whether the actor is finance of this payer."""
    seen = access.scope(work.session, work.actor, work.now)
    return work.actor.account_id is not None and seen.payer_unit_id == payer_unit_id


def object_to(work: Work, statement_id: UUID, charge_id: int, reason: str) -> UUID:
    """Object to a line of a closed statement; the payer's own finance may, one dispute of a line at a time.

    Raises NotFound ``statement.unknown``, ``statement.line_unknown``; Forbidden ``dispute.not_the_payer``; Conflict
    ``dispute.not_closed`` (interim, or opened again) and ``dispute.open``; Invalid ``dispute.reason_missing``.
    """
    line = line_to_dispute(work, statement_id, charge_id)
    if not reason.strip():
        raise Invalid([Problem("dispute.reason_missing", "reason")])
    head = statements.visible(work.session, statement_id, _scope(work))
    row = {
        "id": new_id(),
        "statement_id": statement_id,
        "charge_id": charge_id,
        "payer_unit_id": head.payer_unit_id,
        "reason": reason.strip(),
        "raised_by": work.actor.account_id,
        "raised_at": work.now,
    }
    made: UUID | None = work.session.scalar(insert(Dispute).values(row).on_conflict_do_nothing().returning(Dispute.id))
    if made is None:
        raise Conflict("dispute.open")
    data = {"statement_id": str(statement_id), "charge_id": charge_id, "amount_fen": line.amount_fen}
    work.record("dispute.raised", "dispute", made, data=data)
    about = {"month": f"{head.month:%Y-%m}", "resource": line.resource_number}
    for unit_id in access.finance_of_the_region(work.session, work.now):
        notify.tell_role(work, (unit_id, Role.FINANCE), "dispute.raised", ("dispute", made), **about)
    return made


def accept(work: Work, dispute_id: UUID, answer: str, amount_fen: int | None) -> UUID:
    """Accept: the line is put right by ``amount_fen`` (negative: the payer owes less) in the next month closed.

    Returns the adjustment's id. Raises NotFound ``dispute.unknown``; Forbidden ``duty.missing`` and
    ``duty.separated`` (nobody answers his own); Conflict ``dispute.answered``, ``dispute.reopened`` (the month was
    opened again: its lines are not owed, usage is put right itself), ``month.closing``; Invalid
    ``dispute.answer_missing``, ``dispute.amount_missing``, ``dispute.amount_range`` (the line, as it stands with
    everything put right and decided since, would owe less than nothing, or absurdly much).
    """
    found = _to_answer(work, dispute_id)
    # First: it keeps months from being opened or closed until we are through.
    line = line_now(work.session, found.charge_id)
    if views_sql.head(work.session, found.statement_id)["standing"] is not Standing.CLOSED:
        raise Conflict("dispute.reopened")
    problems = _missing_answer(answer)
    if not amount_fen:
        problems.append(Problem("dispute.amount_missing", "amount_fen"))
    elif not 0 <= line.owed_fen + amount_fen <= LIMIT_FEN:
        problems.append(Problem("dispute.amount_range", "amount_fen"))
    if problems or not amount_fen or work.actor.account_id is None:
        raise Invalid(problems)
    adjustment = Adjustment(
        id=new_id(),
        charge_id=found.charge_id,
        amount_fen=amount_fen,
        line_fen=line.rated_fen,
        reason=answer.strip(),
        decided_by=work.actor.account_id,
        decided_at=work.now,
    )
    work.session.add(adjustment)
    work.session.flush()
    found.adjustment_id = adjustment.id
    _answered(work, found, ACCEPTED, answer, {"amount_fen": amount_fen, "adjustment_id": str(adjustment.id)})
    return adjustment.id


def reject(work: Work, dispute_id: UUID, answer: str) -> None:
    """Reject: the line stays as it is. Raises as ``accept`` does, but a reopened month is no hindrance."""
    found = _to_answer(work, dispute_id)
    problems = _missing_answer(answer)
    if problems:
        raise Invalid(problems)
    _answered(work, found, REJECTED, answer, {})


def listing(
    work: Work, *, before: UUID | None = None, only_open: bool = False, limit: int = 50
) -> tuple[DisputeRow, ...]:
    """Disputes of the payers that the actor may see, newest first."""
    wanted = {"before": before, "only_open": only_open, "id": None, "limit": max(1, min(limit, MAX_PAGE))}
    return tuple(_row(row) for row in _rows(work.session, _scope(work), wanted))


def one(work: Work, dispute_id: UUID) -> tuple[DisputeRow, ExplainedLine]:
    """A dispute and its line. Raises NotFound ``dispute.unknown``."""
    wanted = {"before": None, "only_open": False, "id": dispute_id, "limit": 1}
    found = _rows(work.session, _scope(work), wanted)
    if not found:
        raise NotFound("dispute.unknown")
    row = _row(found[0])
    line = views_sql.one_line(work.session, row.statement_id, row.charge_id)
    assert line is not None
    return row, line


def may_answer(work: Work, dispute: DisputeRow) -> bool:
    """Whether the actor may answer it: the region's finance, not the one who objected, while it is open."""
    account_id = work.actor.account_id
    if account_id is None or dispute.decision is not None or not _scope(work).whole_region:
        return False
    return account_id not in accounts_of_one(work.session, dispute.raised_by)


def _to_answer(work: Work, dispute_id: UUID) -> Dispute:
    if not _scope(work).whole_region or work.actor.account_id is None:
        raise Forbidden("duty.missing", role=Role.FINANCE.value)
    found = work.session.scalar(select(Dispute).where(Dispute.id == dispute_id).with_for_update())
    if found is None:
        raise NotFound("dispute.unknown")
    if found.decision is not None:
        raise Conflict("dispute.answered")
    if work.actor.account_id in accounts_of_one(work.session, found.raised_by):
        raise Forbidden("duty.separated", role=Role.FINANCE.value)
    return found


def _answered(work: Work, found: Dispute, decision: str, answer: str, data: dict[str, Any]) -> None:
    found.decision, found.answer = decision, answer.strip()
    found.answered_by, found.answered_at = work.actor.account_id, work.now
    work.session.flush()
    work.record(f"dispute.{decision}", "dispute", found.id, data={"charge_id": found.charge_id, **data})
    line = views_sql.one_line(work.session, found.statement_id, found.charge_id)
    number = line.resource_number if line else ""
    notify.tell_account(work, found.raised_by, f"dispute.{decision}", ("dispute", found.id), resource=number)


def _missing_answer(answer: str) -> list[Problem]:
    return [] if answer.strip() else [Problem("dispute.answer_missing", "reason")]


def _scope(work: Work) -> Scope:
    return access.scope(work.session, work.actor, work.now)


def _rows(session: Session, seen: Scope, wanted: dict[str, Any]) -> Sequence[Row[Any]]:
    return session.execute(_LIST, wanted | seen.parameters).all()


def _row(row: Row[Any]) -> DisputeRow:
    return DisputeRow(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name

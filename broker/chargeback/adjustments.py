"""Finance puts a closed line right by itself: one person proposes, another confirms, the next close posts it.

Called by: the API, the console. Must not: change a closed statement, or undo what was confirmed: an adjustment is
reversed by another one only. How a closed bill is corrected no article says: ours. A payer's objection is ``disputes``.
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

from broker.chargeback import access, closing, repository, views_sql
from broker.chargeback.access import Scope
from broker.chargeback.line_now import line_now
from broker.chargeback.models import Adjustment, AdjustmentProposal, Charge, Statement
from broker.chargeback.seen_sql import PART
from broker.chargeback.views import ExplainedLine, Standing
from broker.db.base import new_id
from broker.errors import Conflict, Forbidden, Invalid, NotFound, Problem
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.pricing.rules import LIMIT_FEN
from broker.tenancy.repository import accounts_of_one
from broker.tenancy.work import Work

CONFIRMED, DROPPED = "confirmed", "dropped"
MAX_PAGE = 200


@dataclass(frozen=True, slots=True)
class ProposalRow:
    """A proposed adjustment with what it is about; ``decision`` None: it waits for a second person.

    ``posted_month``: the closed month whose statement carries it.
    """

    id: UUID
    charge_id: int
    statement_id: UUID
    payer_unit_id: UUID
    payer_name: str
    month: date
    resource_number: str
    resource_name: str
    meter: str
    line_fen: int
    amount_fen: int
    reason: str
    proposed_by: UUID
    proposed_at: datetime
    decision: str | None
    note: str
    decided_by: UUID | None
    decided_at: datetime | None
    posted_month: date | None

    @property
    def state(self) -> str:
        return self.decision or "proposed"


_LIST = text(f"""
SELECT d.id, d.charge_id, s.id AS statement_id, s.payer_unit_id, coalesce(n.name, u.code) AS payer_name, s.month,
       r.number AS resource_number, r.name AS resource_name, c.meter, c.amount_fen AS line_fen, d.amount_fen, d.reason,
       d.proposed_by, d.proposed_at, d.decision, d.note, d.decided_by, d.decided_at, b.month AS posted_month
FROM broker.adjustment_proposal d
JOIN broker.charge c ON c.id = d.charge_id
JOIN broker.statement s ON s.id = c.statement_id
JOIN broker.resource r ON r.id = c.resource_id
JOIN broker.unit u ON u.id = s.payer_unit_id
LEFT JOIN LATERAL (
  SELECT name FROM broker.unit_period p WHERE p.unit_id = s.payer_unit_id AND lower(p.during) < s.covers_until
  ORDER BY lower(p.during) DESC LIMIT 1
) AS n ON true
LEFT JOIN LATERAL (
  SELECT t.month FROM broker.charge x JOIN broker.statement t ON t.id = x.statement_id
  JOIN broker.month_close m ON m.id = t.close_id AND m.reopened_at IS NULL
  WHERE x.adjustment_id = d.adjustment_id AND t.payer_unit_id = s.payer_unit_id AND t.month >= s.month
    AND (x.resource_id, x.meter, x.tariff_price_id, x.usage_month)
      = (c.resource_id, c.meter, c.tariff_price_id, c.usage_month)
  LIMIT 1
) AS b ON d.adjustment_id IS NOT NULL
WHERE (:everything OR EXISTS (
    SELECT FROM broker.unit_period p
    WHERE p.unit_id = s.payer_unit_id AND p.ancestors @> ARRAY[CAST(:root_unit_id AS uuid)]
      AND p.during && tstzrange(CAST(s.month AS timestamp) AT TIME ZONE 'Asia/Shanghai', s.covers_until)
  ))
  AND (CAST(:id AS uuid) IS NULL OR d.id = CAST(:id AS uuid))
  AND (CAST(:before AS uuid) IS NULL OR d.id < CAST(:before AS uuid))
  AND (NOT :only_open OR d.decision IS NULL)
  AND {PART}
ORDER BY d.id DESC
LIMIT :limit
""")  # noqa: S608 - our own constants


def may_propose(work: Work) -> bool:
    """Whether the actor keeps the region's books, and is a person: two of them put a line right."""
    return work.actor.account_id is not None and closing.may_close(work)


def line_to_adjust(work: Work, charge_id: int) -> tuple[UUID, ExplainedLine]:
    """The line and its statement, if the actor may propose to adjust it now. Raises what ``propose`` raises for it."""
    _check_may(work)
    statement_id = work.session.scalar(select(Charge.statement_id).where(Charge.id == charge_id))
    line = None if statement_id is None else views_sql.one_line(work.session, statement_id, charge_id)
    if statement_id is None or line is None:
        raise NotFound("statement.line_unknown")
    if views_sql.head(work.session, statement_id)["standing"] is not Standing.CLOSED:
        raise Conflict("adjustment.not_closed")
    return statement_id, line


def propose(work: Work, charge_id: int, amount_fen: int | None, reason: str) -> UUID:
    """Propose to put a closed line right by ``amount_fen`` (negative: the payer owes less); it waits for another.

    Raises Forbidden ``duty.missing``; NotFound ``statement.line_unknown``; Conflict ``adjustment.not_closed`` (interim,
    or opened again: usage is put right itself), ``adjustment.open`` (one waits already), ``month.closing``; Invalid
    ``adjustment.reason_missing``, ``adjustment.amount_missing``, ``adjustment.amount_range``.
    """
    _, line = line_to_adjust(work, charge_id)
    problems = [] if reason.strip() else [Problem("adjustment.reason_missing", "reason")]
    problems += _amount(work, charge_id, amount_fen)
    if problems:
        raise Invalid(problems)
    row = {
        "id": new_id(),
        "charge_id": charge_id,
        "amount_fen": amount_fen,
        "reason": reason.strip(),
        "proposed_by": work.actor.account_id,
        "proposed_at": work.now,
    }
    made: UUID | None = work.session.scalar(
        insert(AdjustmentProposal).values(row).on_conflict_do_nothing().returning(AdjustmentProposal.id)
    )
    if made is None:
        raise Conflict("adjustment.open")
    work.record(
        "adjustment.proposed", "adjustment_proposal", made, data={"charge_id": charge_id, "amount_fen": amount_fen}
    )
    for unit_id in access.finance_of_the_region(work.session, work.now):
        notify.tell_role(
            work, (unit_id, Role.FINANCE), "adjustment.proposed", ("adjustment_proposal", made),
            resource=line.resource_number,
        )  # fmt: skip
    return made


def confirm(work: Work, proposal_id: UUID) -> UUID:
    """Confirm what another person proposed; the next close posts it. Returns the adjustment's id.

    Raises Forbidden ``duty.missing`` and ``adjustment.same_person``; NotFound ``adjustment.unknown``; Conflict
    ``adjustment.decided``, ``adjustment.not_closed``, ``month.closing``; Invalid ``adjustment.amount_range`` (the line
    has changed since).
    """
    found = _to_decide(work, proposal_id)
    account_id = work.actor.account_id
    if account_id is None or account_id in accounts_of_one(work.session, found.proposed_by):
        raise Forbidden("adjustment.same_person")
    statement_id, line = line_to_adjust(work, found.charge_id)
    problems = _amount(work, found.charge_id, found.amount_fen)
    if problems:
        raise Invalid(problems)
    made = Adjustment(
        id=new_id(),
        charge_id=found.charge_id,
        amount_fen=found.amount_fen,
        line_fen=line_now(work.session, found.charge_id).rated_fen,
        reason=found.reason,
        decided_by=account_id,
        decided_at=work.now,
    )
    work.session.add(made)
    work.session.flush()
    _decide(work, found, CONFIRMED, "", made.id)
    payer = work.session.get_one(Statement, statement_id).payer_unit_id
    for unit_id in repository.finance_units(work.session, payer, work.now):
        notify.tell_role(
            work, (unit_id, Role.FINANCE), "adjustment.confirmed", ("adjustment_proposal", found.id),
            resource=line.resource_number,
        )  # fmt: skip
    return made.id


def drop(work: Work, proposal_id: UUID, note: str) -> None:
    """Let a proposal fall: who made it takes it back, or another refuses. Raises as ``confirm`` does, and Invalid."""
    found = _to_decide(work, proposal_id)
    if not note.strip():
        raise Invalid([Problem("adjustment.note_missing", "reason")])
    _decide(work, found, DROPPED, note, None)


def listing(
    work: Work, *, before: UUID | None = None, only_open: bool = False, limit: int = 50
) -> tuple[ProposalRow, ...]:
    """Proposals about lines of the payers that the actor may see, newest first."""
    wanted = {"before": before, "only_open": only_open, "id": None, "limit": max(1, min(limit, MAX_PAGE))}
    return tuple(_row(row) for row in _rows(work.session, _scope(work), wanted))


def one(work: Work, proposal_id: UUID) -> ProposalRow:
    """One proposal. Raises NotFound ``adjustment.unknown``."""
    found = _rows(work.session, _scope(work), {"before": None, "only_open": False, "id": proposal_id, "limit": 1})
    if not found:
        raise NotFound("adjustment.unknown")
    return _row(found[0])


def may_confirm(work: Work, proposal: ProposalRow) -> bool:
    """Whether the actor may confirm it: another of those who keep the books, while it waits."""
    if not may_propose(work) or proposal.decision is not None:
        return False
    return work.actor.account_id not in accounts_of_one(work.session, proposal.proposed_by)


def _amount(work: Work, charge_id: int, amount_fen: int | None) -> list[Problem]:
    if not amount_fen:
        return [Problem("adjustment.amount_missing", "amount_fen")]
    if not 0 <= line_now(work.session, charge_id).owed_fen + amount_fen <= LIMIT_FEN:
        return [Problem("adjustment.amount_range", "amount_fen")]
    return []


def _to_decide(work: Work, proposal_id: UUID) -> AdjustmentProposal:
    _check_may(work)
    found = work.session.scalar(
        select(AdjustmentProposal).where(AdjustmentProposal.id == proposal_id).with_for_update()
    )
    if found is None:
        raise NotFound("adjustment.unknown")
    if found.decision is not None:
        raise Conflict("adjustment.decided")
    return found


def _decide(work: Work, found: AdjustmentProposal, decision: str, note: str, adjustment_id: UUID | None) -> None:
    found.decision, found.note, found.adjustment_id = decision, note.strip(), adjustment_id
    found.decided_by, found.decided_at = work.actor.account_id, work.now
    work.session.flush()
    data = {"charge_id": found.charge_id, "amount_fen": found.amount_fen}
    work.record(f"adjustment.{decision}", "adjustment_proposal", found.id, data=data)


def _check_may(work: Work) -> None:
    if not may_propose(work):
        raise Forbidden("duty.missing", role=Role.FINANCE.value)


def _scope(work: Work) -> Scope:
    return access.scope(work.session, work.actor, work.now)


def _rows(session: Session, seen: Scope, wanted: dict[str, Any]) -> Sequence[Row[Any]]:
    return session.execute(_LIST, wanted | seen.parameters).all()


def _row(row: Row[Any]) -> ProposalRow:
    return ProposalRow(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name

"""Who sees whose money.

Called by: the use-cases of chargeback. Must not: read an amount.

Finance acts for the payer that its unit is, or whose office its unit is (``FinanceOffice``: dated rows, not whoever
stands below a payer). It sees that payer's tree; for the region's finance that is everything. Other finance acts for
nobody and sees a part: of a city's statements a county's the lines of its county (Art. 16(2): the city pays), of the
region's a department's the lines of its department. The rest of the bill is none of its business.
Audit, the administrator and the system see all, everybody else nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from broker.chargeback import repository
from broker.lifecycle import Role
from broker.tenancy.values import Actor

_FINANCE_UNITS = text("""
SELECT DISTINCT a.unit_id FROM broker.role_grant g JOIN broker.account a ON a.id = g.account_id
WHERE g.role = 'finance' AND g.during @> CAST(:now AS timestamptz) AND a.disabled_at IS NULL
""")


@dataclass(frozen=True, slots=True)
class Scope:
    """What an actor sees: ``everything``, or the payers in the tree of ``root_unit_id`` (None: nothing).

    Of these, with ``part_unit_id``, only the lines of that unit's tree. ``payer_unit_id`` is whom the actor acts for as
    finance; ``whole_region`` says that this is the region.
    """

    everything: bool
    root_unit_id: UUID | None
    payer_unit_id: UUID | None
    whole_region: bool
    part_unit_id: UUID | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """What statements about what is seen ask for: see ``PART`` and ``STATEMENT``."""
        return {
            "everything": self.everything,
            "root_unit_id": self.root_unit_id,
            "part_unit_id": None if self.everything else self.part_unit_id,
        }

    @property
    def sees_region(self) -> bool:
        return self.everything or self.whole_region


def scope(session: Session, actor: Actor, now: datetime) -> Scope:
    """What the actor sees today."""
    if Role.FINANCE not in actor.roles:
        return Scope(actor.sees_everything, None, None, whole_region=False)
    payer, whole, part = repository.finance_scope(session, actor.unit_id, now)
    return Scope(actor.sees_everything, payer, payer if part is None else None, whole, part)


def finance_of_the_region(session: Session, now: datetime) -> list[UUID]:
    """The units whose finance people keep the region's books."""
    return [unit_id for unit_id in _with_finance(session, now) if repository.finance_scope(session, unit_id, now)[1]]


def told_of(session: Session, payer_unit_id: UUID, now: datetime) -> list[UUID]:
    """The units whose finance people hear what concerns a payer: who acts for it; if nobody does, the region."""
    acting, staffed = repository.finance_units(session, payer_unit_id, now), set(_with_finance(session, now))
    return [unit_id for unit_id in acting if unit_id in staffed] or finance_of_the_region(session, now) or acting


def _with_finance(session: Session, now: datetime) -> list[UUID]:
    return list(session.scalars(_FINANCE_UNITS, {"now": now}))

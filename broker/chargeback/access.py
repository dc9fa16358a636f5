"""Who sees whose money.

Called by: the use-cases of chargeback. Must not: read an amount.

Finance acts for its payer: the nearest unit at or above its own that pays for anything. It sees that unit's tree; for
the region's finance that is everything. Audit, the administrator and the system see all, everybody else nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from broker.chargeback import repository
from broker.lifecycle import Role
from broker.tenancy.values import Actor


@dataclass(frozen=True, slots=True)
class Scope:
    """What an actor sees: ``everything``, or the payers in the tree of ``root_unit_id`` (None: nothing).

    ``payer_unit_id`` is whom the actor acts for as finance; ``whole_region`` says that this is the region.
    """

    everything: bool
    root_unit_id: UUID | None
    payer_unit_id: UUID | None
    whole_region: bool

    @property
    def sees_region(self) -> bool:
        return self.everything or self.whole_region


def scope(session: Session, actor: Actor, now: datetime) -> Scope:
    """What the actor sees today."""
    payer, whole = None, False
    if Role.FINANCE in actor.roles:
        payer, whole = repository.finance_scope(session, actor.unit_id, now)
    return Scope(actor.sees_everything, payer, payer, whole)

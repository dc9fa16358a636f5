"""Who acts: plain values that every use-case is given.

Called by: all services. Must not: read the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from broker.lifecycle import Role


@dataclass(frozen=True, slots=True)
class Principal:
    """Someone for whom the actor may act as a deputy (代理). ``others``: more accounts of the same person."""

    account_id: UUID
    unit_id: UUID
    others: frozenset[UUID] = frozenset()

    @property
    def accounts(self) -> frozenset[UUID]:
        """All accounts of this person."""
        return self.others | {self.account_id}


@dataclass(frozen=True, slots=True)
class Actor:
    """A signed-in person or program with today's roles. ``deputy_for`` says whose duties it may take over.

    ``others`` are more accounts of the same person: where two people are asked for, those of one are one.
    """

    account_id: UUID | None
    unit_id: UUID | None
    roles: frozenset[Role]
    login: str = ""
    deputy_for: Mapping[Role, tuple[Principal, ...]] = field(default_factory=dict)
    others: frozenset[UUID] = frozenset()

    @property
    def accounts(self) -> frozenset[UUID]:
        """All accounts of this person; none of the system."""
        return self.others if self.account_id is None else self.others | {self.account_id}

    @property
    def sees_everything(self) -> bool:
        """Audit and the administrator read all units; so does the system."""
        return bool(self.roles & {Role.AUDIT, Role.ADMINISTRATOR, Role.SYSTEM})


SYSTEM = Actor(account_id=None, unit_id=None, roles=frozenset({Role.SYSTEM}), login="system")
"""The worker: acts on rows that people ordered."""


@dataclass(frozen=True, slots=True)
class Mandate:
    """That an actor may take a decision, and for whom when it acts as a deputy."""

    account_id: UUID
    on_behalf_of: UUID | None

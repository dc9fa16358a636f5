"""The table that remembers how full each limit and each cloud's stock was when people were last told.

Used by: ``scarcity.notices``.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlalchemy.orm import Mapped

from broker.db.base import Base, Id, Moment


class QuotaMark(Base):
    """One counter of ``quotas``: a limit of a node (``pool_id`` null: over all clouds), or a pool's stock (no node).

    ``percent`` is the mark it stands at (0: below the first), ``crossings`` how often it has risen to one. No foreign
    keys: ``quotas`` knows nodes and pools by ids that are not ours to hold.
    """

    __tablename__ = "quota_mark"

    id: Mapped[Id]
    node_id: Mapped[UUID | None]
    pool_id: Mapped[UUID | None]
    resource_class: Mapped[str]
    percent: Mapped[int]
    crossings: Mapped[int]
    changed_at: Mapped[Moment]

    __table_args__ = (
        UniqueConstraint("node_id", "pool_id", "resource_class", postgresql_nulls_not_distinct=True),
        CheckConstraint("percent BETWEEN 0 AND 100", name="percent"),
        CheckConstraint("node_id IS NOT NULL OR pool_id IS NOT NULL", name="counter"),
    )

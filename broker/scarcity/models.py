"""What people were last told: how full each limit and each cloud's stock was, and what lenders claimed back.

Used by: ``scarcity.notices``, ``scarcity.claims``.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from broker.db.base import Base, Id, Moment


class QuotaMark(Base):
    """One counter of ``quotas``: a limit of a node (``pool_id`` null: over all clouds), or a pool's stock (no node).

    ``percent`` of the nominal share is the mark it stands at (0: below the first); ``full``: nothing more is to be had
    there, which for a limit that may borrow comes later. ``crossings``: how often it has risen to a mark. No foreign
    keys: ``quotas`` knows nodes and pools by ids that are not ours to hold.
    """

    __tablename__ = "quota_mark"

    id: Mapped[Id]
    node_id: Mapped[UUID | None]
    pool_id: Mapped[UUID | None]
    resource_class: Mapped[str]
    percent: Mapped[int]
    full: Mapped[bool] = mapped_column(server_default=false())
    crossings: Mapped[int]
    changed_at: Mapped[Moment]

    __table_args__ = (
        UniqueConstraint("node_id", "pool_id", "resource_class", postgresql_nulls_not_distinct=True),
        CheckConstraint("percent BETWEEN 0 AND 100", name="percent"),
        CheckConstraint('percent = 100 OR NOT "full"', name="full"),
        CheckConstraint("node_id IS NOT NULL OR pool_id IS NOT NULL", name="counter"),
    )


class QuotaClaim(Base):
    """A borrower was asked to give back ``amount`` so that the lender can use ``wanted`` of its own share.

    ``owner``: for what, a request or the owner of a hold. Open until it waits no more or there is room; the same again
    is the row opened once more (``times``). Nodes are units or information systems; no foreign keys, as above.
    """

    __tablename__ = "quota_claim"

    id: Mapped[Id]
    owner: Mapped[UUID]
    lender_id: Mapped[UUID]
    borrower_id: Mapped[UUID]
    resource_class: Mapped[str]
    pool_id: Mapped[UUID | None]
    wanted: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(BigInteger)
    times: Mapped[int]
    made_at: Mapped[Moment]
    closed_at: Mapped[Moment | None]

    __table_args__ = (
        UniqueConstraint(
            "owner", "lender_id", "borrower_id", "resource_class", "pool_id", postgresql_nulls_not_distinct=True
        ),
        CheckConstraint("wanted > 0 AND amount > 0", name="amounts"),
        CheckConstraint("lender_id <> borrower_id", name="two_nodes"),
        Index("ix_quota_claim_open", "borrower_id", postgresql_where=text("closed_at IS NULL")),
    )

"""Tables of where the books begin: what two people agreed on, and what was proposed.

Used by: ``chargeback.beginning``, ``chargeback.closing``.
"""

from __future__ import annotations

from datetime import date
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from broker.db.base import Base, Id, Moment
from broker.tenancy.models import Account


class BooksBeginning(Base):
    """The month that the books begin with, stated by a person: what was used before is never charged. Set once.

    Without it they begin with the month of the first usage. ``broker.month_to_close()`` says which month is next, and a
    trigger refuses any other (``closed_in_order``).
    """

    __tablename__ = "books_beginning"

    single: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    month: Mapped[date]
    reason: Mapped[str]
    set_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    set_at: Mapped[Moment]

    __table_args__ = (
        CheckConstraint("single", name="single"),
        CheckConstraint("extract(day from month) = 1", name="month"),
        CheckConstraint("btrim(reason) <> ''", name="reason"),
    )


class BooksProposal(Base):
    """One person asked that the books begin with a month; another agrees, or somebody drops it."""

    __tablename__ = "books_proposal"

    id: Mapped[Id]
    month: Mapped[date]
    reason: Mapped[str]
    asked_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    asked_at: Mapped[Moment]
    decision: Mapped[str | None]
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    decided_at: Mapped[Moment | None]

    __table_args__ = (
        CheckConstraint("extract(day from month) = 1", name="month"),
        CheckConstraint("btrim(reason) <> ''", name="reason"),
        CheckConstraint("decision IN ('agreed', 'dropped')", name="decision"),
        CheckConstraint("num_nonnulls(decision, decided_by, decided_at) IN (0, 3)", name="decided"),
        CheckConstraint("decision <> 'agreed' OR decided_by <> asked_by", name="two_people"),
        Index("ux_books_proposal_open", "month", unique=True, postgresql_where=text("decision IS NULL")),
    )

"""Tables of usage that no period of a resource tells: meters of other kinds, one-off items, terms; and late changes.

A meter has one source: what a resource's size tells (``OF_PERIODS``) is never recorded a second time beside it.

Used by: the view ``usage_span``, which joins them with the resources' periods; ``metering.usage_import``, which writes
them; ``chargeback``. Quantities are whole units of the meter; one that was recorded wrongly becomes zero, no row goes.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, column, text
from sqlalchemy.dialects.postgresql import JSONB, ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from broker.db.base import Base, CreatedAt, During, Id, Moment
from broker.inventory.brought import BroughtFile
from broker.inventory.models import Resource

KINDS = ("records", "items", "terms")
"""What a file can bring: usage records, items charged once, terms."""


class UsageImport(BroughtFile):
    """A file of usage that somebody brought."""

    __tablename__ = "usage_import"

    kind: Mapped[str]
    lines: Mapped[int]

    __table_args__ = (
        CheckConstraint("kind IN ('records', 'items', 'terms')", name="kind"),
        CheckConstraint("lines >= 0", name="lines"),
    )


OF_PERIODS = "^(vcpu_.*|memory_gib|block_gib_.*|ipv6_segment)$"
"""The meters that a resource's periods tell (``broker.meters_of``), as a pattern of PostgreSQL."""

_ANOTHER_METER = f"meter <> '' AND meter !~ '{OF_PERIODS}'"


class UsageRecord(Base):
    """A resource held a quantity of a meter beside its size: public IPs, GPUs (``gpu_<model>``), object storage GiB."""

    __tablename__ = "usage_record"

    id: Mapped[Id]
    resource_id: Mapped[UUID] = mapped_column(ForeignKey(Resource.id))
    meter: Mapped[str]
    quantity: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(server_default="active")
    during: Mapped[During]
    import_id: Mapped[UUID | None] = mapped_column(ForeignKey(UsageImport.id))
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("quantity BETWEEN 0 AND 1000000000000", name="quantity"),
        CheckConstraint(_ANOTHER_METER, name="meter"),
        CheckConstraint("state IN ('active', 'stopped')", name="state"),
        CheckConstraint("NOT isempty(during) AND NOT lower_inf(during)", name="during"),
        ExcludeConstraint(
            (column("resource_id"), "="),
            (column("meter"), "="),
            (column("during"), "&&"),
            using="gist",
            name="ex_usage_record",
        ),
    )


class OneOffItem(Base):
    """Something charged once, at an instant: a migration, a certificate. Its meter's price is ``per: once``."""

    __tablename__ = "one_off_item"

    id: Mapped[Id]
    resource_id: Mapped[UUID] = mapped_column(ForeignKey(Resource.id))
    meter: Mapped[str]
    quantity: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[Moment]
    note: Mapped[str] = mapped_column(server_default="")
    import_id: Mapped[UUID | None] = mapped_column(ForeignKey(UsageImport.id))
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("quantity BETWEEN 0 AND 1000000000000", name="quantity"),
        CheckConstraint(_ANOTHER_METER, name="meter"),
        CheckConstraint("at = date_trunc('second', at, 'UTC')", name="at"),
        UniqueConstraint("resource_id", "meter", "at"),
    )


class ResourceTerm(Base):
    """A resource was committed to for so many months: what a term discount of the tariff asks for."""

    __tablename__ = "resource_term"

    id: Mapped[Id]
    resource_id: Mapped[UUID] = mapped_column(ForeignKey(Resource.id))
    term_months: Mapped[int]
    during: Mapped[During]
    import_id: Mapped[UUID | None] = mapped_column(ForeignKey(UsageImport.id))
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("term_months BETWEEN 1 AND 1200", name="term_months"),
        CheckConstraint("NOT isempty(during) AND NOT lower_inf(during)", name="during"),
        ExcludeConstraint(
            (column("resource_id"), "="), (column("during"), "&&"), using="gist", name="ex_resource_term"
        ),
    )


class UsageCorrection(Base):
    """Usage of a closed month was changed, or was while it was being closed. Written by a trigger; insert-only.

    A hint where to look: what is owed is found by rating that time again and comparing with what was charged.
    ``before`` is the row of ``source`` as it stood (None: there was none), ``noted_in`` the transaction: from them
    ``chargeback.known`` tells what a close knew.
    """

    __tablename__ = "usage_correction"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    resource_id: Mapped[UUID]
    during: Mapped[During]
    source: Mapped[str]
    row_id: Mapped[UUID]
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    noted_in: Mapped[str] = mapped_column(server_default=text("CAST(pg_current_xact_id() AS text)"))
    noted_at: Mapped[CreatedAt]

    __table_args__ = (Index("ix_usage_correction_resource_id", "resource_id"),)

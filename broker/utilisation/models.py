"""The table of what detection found, day after day.

Used by: ``utilisation.findings``. Samples are not here: they are Parquet, outside the transactional tables.
"""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from broker.db.base import Base, Id, Moment
from broker.inventory.models import Resource


class IdleFinding(Base):
    """One resource that one policy finds idle, from the first day to the last one seen so far.

    What is only seen and not measured (a volume attached to nothing) is watched from its first day on and becomes a
    finding on the day its policy's number of days is full: until then ``found_at`` is empty. ``object_ref``: the
    cloud's own id of what is idle where that is not the resource itself (a snapshot of a server, an address of a
    segment). ``cleared_at``: a later scan did not find it any more; ``cleared_because`` tells what it saw instead.
    """

    __tablename__ = "idle_finding"

    id: Mapped[Id]
    resource_id: Mapped[UUID] = mapped_column(ForeignKey(Resource.id))
    kind: Mapped[str]
    policy: Mapped[str]
    policy_version: Mapped[str]
    object_ref: Mapped[str] = mapped_column(server_default="")
    first_day: Mapped[date]
    last_day: Mapped[date]
    days: Mapped[int]
    evidence: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    monthly_fen: Mapped[int | None] = mapped_column(BigInteger)
    scanned_on: Mapped[date]
    found_at: Mapped[Moment | None]
    cleared_at: Mapped[Moment | None]
    cleared_because: Mapped[str | None]

    __table_args__ = (
        CheckConstraint(
            "kind IN ('idle', 'off', 'unattached_volume', 'empty_segment', 'unbound_address', 'unused_snapshot')",
            name="kind",
        ),
        CheckConstraint("first_day <= last_day AND days BETWEEN 1 AND last_day - first_day + 1", name="days"),
        CheckConstraint("monthly_fen >= 0", name="monthly_fen"),
        CheckConstraint("(kind IN ('unbound_address', 'unused_snapshot')) = (object_ref <> '')", name="object_ref"),
        CheckConstraint("(cleared_at IS NULL) = (cleared_because IS NULL)", name="cleared"),
        Index(
            "ux_idle_finding_open",
            "resource_id",
            "policy",
            "object_ref",
            unique=True,
            postgresql_where=text("cleared_at IS NULL"),
        ),
    )

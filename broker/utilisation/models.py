"""The tables of what detection found, and of the collectors: one row a sub-cloud.

Used by: ``utilisation.findings``, ``utilisation.collectors``. Samples are not here: they are Parquet, outside the
transactional tables.
"""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from broker.catalog.models import SubCloud
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
    policy_digest: Mapped[str] = mapped_column(server_default="")
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


class Collector(Base):
    """The reading of one sub-cloud's samples: a row with a date, carried by a short workflow when it has come.

    ``run`` counts the acts: one act ends by moving ``due_at`` and adding one, whoever carried it and however often.
    ``read_until``: the hours before it have been read. ``outcome``: what the last act read and left out, with reasons.
    """

    __tablename__ = "collector"

    id: Mapped[Id]
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id), unique=True)
    run: Mapped[int] = mapped_column(server_default="1")
    due_at: Mapped[Moment]
    read_until: Mapped[Moment | None]
    source: Mapped[str] = mapped_column(server_default="")
    ended_at: Mapped[Moment | None]
    outcome: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    error_code: Mapped[str | None]
    failures: Mapped[int] = mapped_column(server_default="0")

    __table_args__ = (CheckConstraint("failures >= 0", name="failures"), Index("ix_collector_due_at", "due_at"))


class IdleScan(Base):
    """The detection of one day: made when its hour has come, carried by a short workflow, ended once.

    ``run`` counts the attempts; ``outcome``: how much was found, goes on, ended and is watched, and which clouds did
    not answer. ``heat``: how busy units are on clouds (``utilisation.pictures.Heat`` as lists).
    """

    __tablename__ = "idle_scan"

    id: Mapped[Id]
    day: Mapped[date] = mapped_column(unique=True)
    run: Mapped[int] = mapped_column(server_default="1")
    due_at: Mapped[Moment]
    finished_at: Mapped[Moment | None]
    policy_version: Mapped[str | None]
    outcome: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    heat: Mapped[list[list[Any]] | None] = mapped_column(JSONB)
    error_code: Mapped[str | None]

    __table_args__ = (Index("ix_idle_scan_due_at", "due_at", postgresql_where=text("finished_at IS NULL")),)

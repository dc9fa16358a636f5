"""Tables of sub-clouds, their authorities, offerings and images.

Used by: ``catalog.repository``. Credentials never stand here: ``options`` holds what may be shown, ``options_ref``
names the entry of the clouds file that holds the rest.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, String, UniqueConstraint, column
from sqlalchemy.dialects.postgresql import JSONB, ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from broker.db.base import Base, During, Id, Moment
from broker.tenancy.models import Unit


class SubCloud(Base):
    """One of 1 + N + 14."""

    __tablename__ = "sub_cloud"

    id: Mapped[Id]
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    tier: Mapped[str]
    provider: Mapped[str]
    options: Mapped[dict[str, Any]] = mapped_column(JSONB)
    options_ref: Mapped[str | None]
    mlps_level: Mapped[int]
    zones: Mapped[list[str]] = mapped_column(ARRAY(String))
    unified_management: Mapped[bool]
    division_code: Mapped[str | None]
    accredited_at: Mapped[Moment | None]
    retired_at: Mapped[Moment | None]
    position: Mapped[int]

    __table_args__ = (
        CheckConstraint("tier IN ('main', 'industry', 'city')", name="tier"),
        CheckConstraint("mlps_level BETWEEN 1 AND 5", name="mlps_level"),
    )


class SubCloudOperator(Base):
    """Who operates a sub-cloud (Art. 15), from when to when: whose prices hold there, and who is owed for what it gave.

    The database wants exactly one at every time (``operated_always``), and none changed in what was billed.
    """

    __tablename__ = "sub_cloud_operator"

    id: Mapped[Id]
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id))
    operator: Mapped[str]
    during: Mapped[During]

    __table_args__ = (
        CheckConstraint(
            "lower(during) = date_trunc('second', lower(during), 'UTC') IS NOT FALSE"
            " AND upper(during) = date_trunc('second', upper(during), 'UTC') IS NOT FALSE",
            name="whole_seconds",
        ),
        ExcludeConstraint(
            (column("sub_cloud_id"), "="), (column("during"), "&&"), using="gist", name="ex_sub_cloud_operator"
        ),
    )


class SubCloudAuthority(Base):
    """Which unit decides, assesses or delivers for a sub-cloud, from when to when."""

    __tablename__ = "sub_cloud_authority"

    id: Mapped[Id]
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id))
    duty: Mapped[str]
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    during: Mapped[During]

    __table_args__ = (
        CheckConstraint("duty IN ('decide', 'assess', 'deliver')", name="duty"),
        ExcludeConstraint(
            (column("sub_cloud_id"), "="),
            (column("duty"), "="),
            (column("during"), "&&"),
            using="gist",
            name="ex_authority",
        ),
    )


class HomeCloud(Base):
    """The sub-cloud a unit (and the units below it that have none) ordinarily uses, with the rule that says so."""

    __tablename__ = "home_cloud"

    id: Mapped[Id]
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id))
    article: Mapped[str]
    during: Mapped[During]

    __table_args__ = (
        ExcludeConstraint((column("unit_id"), "="), (column("during"), "&&"), using="gist", name="ex_home_cloud"),
    )


class Offering(Base):
    """What a sub-cloud offers and up to which size. ``cpu_arch`` for servers, ``block_class`` for disks."""

    __tablename__ = "offering"

    id: Mapped[Id]
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id))
    kind: Mapped[str]
    cpu_arch: Mapped[str] = mapped_column(server_default="")
    block_class: Mapped[str] = mapped_column(server_default="")
    max_vcpu: Mapped[int | None]
    max_memory_gib: Mapped[int | None]
    max_disk_gib: Mapped[int | None]

    __table_args__ = (
        UniqueConstraint("sub_cloud_id", "kind", "cpu_arch", "block_class"),
        CheckConstraint("kind IN ('server', 'volume', 'segment')", name="kind"),
    )


class Image(Base):
    """An operating-system image: our code, and the name the sub-cloud knows it by."""

    __tablename__ = "image"

    id: Mapped[Id]
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id))
    code: Mapped[str]
    name: Mapped[str]
    cpu_arch: Mapped[str]
    provider_name: Mapped[str]

    __table_args__ = (UniqueConstraint("sub_cloud_id", "code"),)


class SubCloudStatus(Base):
    """What a sub-cloud last said of itself: refreshed by the worker, read by placement and the region's page."""

    __tablename__ = "sub_cloud_status"

    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id), primary_key=True)
    healthy: Mapped[bool]
    detail: Mapped[str]
    capacity: Mapped[dict[str, Any]] = mapped_column(JSONB)
    checked_at: Mapped[Moment]
    uplinks: Mapped[list[str] | None] = mapped_column(ARRAY(String))
    """How its networks can meet a router of the extranet (``vxlan``, ``vlan``); None: it never said."""

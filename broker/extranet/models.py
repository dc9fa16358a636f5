"""Tables of the extranet: its topology as often as it was loaded, and where each segment is attached.

Used by: ``extranet.service``. A topology is never changed: the one that was loaded last holds. An attachment is written
before anything is done to a router, so that its undo is known; the database keeps VNIs and prefixes from being used
twice.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, and_, column, literal_column
from sqlalchemy.dialects.postgresql import CIDR, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from broker.db.base import Base, Id, Moment
from broker.inventory.models import Resource

_THERE = column("withdrawn_at").is_(None)
_VXLAN = and_(_THERE, column("encapsulation") == literal_column("'vxlan'"))
_VLAN = and_(_THERE, column("encapsulation") == literal_column("'vlan'"))


class ExtranetTopology(Base):
    """One topology file that was loaded, as plain data."""

    __tablename__ = "extranet_topology"

    id: Mapped[Id]
    document: Mapped[dict[str, Any]] = mapped_column(JSONB)
    digest: Mapped[str]
    loaded_at: Mapped[Moment]


class RouterLook(Base):
    """What the last audit heard from a router: whether it answered, which sessions were down, what still differs.

    ``down``: ``[routing table, neighbour, state]`` each; ``gaps``: ``[gap, routing table, subject, segment's id]`` of
    what was not repaired, the first of them, an empty id where it is no segment's. Written over by the next audit.
    """

    __tablename__ = "router_look"

    router: Mapped[str] = mapped_column(primary_key=True)
    looked_at: Mapped[Moment]
    silent: Mapped[bool]
    down: Mapped[list[list[str]]] = mapped_column(JSONB)
    gaps: Mapped[list[list[str]]] = mapped_column(JSONB, server_default="[]")


class SegmentAttachment(Base):
    """Where a segment is routed: in which table (``vrf``), on which router, by which VNI or VLAN; whose block it is of.

    ``verified_at``: when the probes last saw it at home and nowhere else. ``withdrawn_at``: it is on no router now.
    ``refused_at``: when its router said that something of others has this VNI or VLAN.
    """

    __tablename__ = "segment_attachment"

    id: Mapped[Id]
    resource_id: Mapped[UUID] = mapped_column(ForeignKey(Resource.id))
    unit: Mapped[str]
    vrf: Mapped[str]
    router: Mapped[str]
    vni: Mapped[int]
    encapsulation: Mapped[str]
    addressing: Mapped[str]
    prefix: Mapped[str] = mapped_column(CIDR)
    attached_at: Mapped[Moment]
    verified_at: Mapped[Moment | None]
    withdrawn_at: Mapped[Moment | None]
    refused_at: Mapped[Moment | None]

    __table_args__ = (
        CheckConstraint("vni BETWEEN 1 AND CASE encapsulation WHEN 'vlan' THEN 4094 ELSE 16777215 END", name="vni"),
        CheckConstraint("encapsulation IN ('vxlan', 'vlan')", name="encapsulation"),
        CheckConstraint("addressing IN ('slaac', 'dhcpv6')", name="addressing"),
        Index("ux_segment_attachment_resource", "resource_id", unique=True, postgresql_where=_THERE),
        Index("ux_segment_attachment_vni", "vni", unique=True, postgresql_where=_VXLAN),
        Index("ux_segment_attachment_vlan", "router", "vni", unique=True, postgresql_where=_VLAN),
        Index("ux_segment_attachment_prefix", "vrf", "prefix", unique=True, postgresql_where=_THERE),
    )

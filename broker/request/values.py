"""A request's form as values: what a unit asked for, checked and frozen.

Called by: rules, services and the assessment. Must not: read the database. ``to_json`` / ``from_json`` are the shape in
which a revision keeps it; personal data (the contact) is not part of that shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any
from uuid import UUID


class ItemKind(StrEnum):
    """What a unit can ask for."""

    SERVER = "server"
    VOLUME = "volume"
    SEGMENT = "segment"


class Zone(StrEnum):
    """The functional zones of the extranet (Art. 2(3))."""

    SHARED = "shared"
    PRIVATE = "private"
    INTERNET = "internet"


@dataclass(frozen=True, slots=True)
class Disk:
    """A data disk of a server, in GiB."""

    size_gib: int
    block_class: str


@dataclass(frozen=True, slots=True)
class ServerItem:
    """``count`` servers of one size on the segment of ``zone``; system disk and data disks belong to each."""

    name: str
    count: int
    vcpu: int
    memory_gib: int
    system_disk_gib: int
    image: str
    cpu_arch: str
    zone: Zone
    data_disks: tuple[Disk, ...] = ()
    system_disk_class: str = "ssd"
    kind: ItemKind = field(default=ItemKind.SERVER, init=False)


@dataclass(frozen=True, slots=True)
class VolumeItem:
    """``count`` volumes that belong to no server yet."""

    name: str
    count: int
    size_gib: int
    block_class: str
    kind: ItemKind = field(default=ItemKind.VOLUME, init=False)


@dataclass(frozen=True, slots=True)
class SegmentItem:
    """``count`` IPv6 segments (/64) in a zone.

    ``services`` (``tcp/443``) may be reached from the rest of the zone, and nothing else of the segment. In the private
    zone a department's segments reach each other without.
    """

    name: str
    zone: Zone
    count: int = 1
    services: tuple[str, ...] = ()
    kind: ItemKind = field(default=ItemKind.SEGMENT, init=False)


Item = ServerItem | VolumeItem | SegmentItem


@dataclass(frozen=True, slots=True)
class Contact:
    """Personal data of the request: goes to ``person``, never into the form or the log."""

    name: str
    phone: str
    email: str


@dataclass(frozen=True, slots=True)
class RequestForm:
    """A complete form. ``end_date`` is the last day of use; ``target_cloud`` is empty for the unit's home cloud."""

    unit_code: str
    system_code: str
    purpose: str
    contact: Contact
    expected_users: int
    start_date: date
    end_date: date
    funding_source: str
    nature: str
    classified: bool
    dedicated_network: bool
    document_number: str
    allow_partial: bool
    items: tuple[Item, ...]
    ssh_public_key: str = ""
    target_cloud: str = ""
    attachment_ids: tuple[UUID, ...] = ()


def item_spec(item: Item) -> dict[str, Any]:
    """The item as JSON without its kind and count, which are columns."""
    if isinstance(item, ServerItem):
        return {
            "name": item.name,
            "vcpu": item.vcpu,
            "memory_gib": item.memory_gib,
            "system_disk_gib": item.system_disk_gib,
            "system_disk_class": item.system_disk_class,
            "image": item.image,
            "cpu_arch": item.cpu_arch,
            "zone": item.zone.value,
            "data_disks": [{"size_gib": d.size_gib, "block_class": d.block_class} for d in item.data_disks],
        }
    if isinstance(item, VolumeItem):
        return {"name": item.name, "size_gib": item.size_gib, "block_class": item.block_class}
    declared = {"services": list(item.services)} if item.services else {}
    return {"name": item.name, "zone": item.zone.value, **declared}


def item_from(kind: str, count: int, spec: Mapping[str, Any]) -> Item:
    """The item that ``item_spec`` wrote."""
    if kind == ItemKind.SERVER:
        disks = tuple(Disk(d["size_gib"], d["block_class"]) for d in spec["data_disks"])
        return ServerItem(
            name=spec["name"],
            count=count,
            vcpu=spec["vcpu"],
            memory_gib=spec["memory_gib"],
            system_disk_gib=spec["system_disk_gib"],
            image=spec["image"],
            cpu_arch=spec["cpu_arch"],
            zone=Zone(spec["zone"]),
            data_disks=disks,
            system_disk_class=spec["system_disk_class"],
        )
    if kind == ItemKind.VOLUME:
        return VolumeItem(spec["name"], count, spec["size_gib"], spec["block_class"])
    return SegmentItem(spec["name"], Zone(spec["zone"]), count, tuple(spec.get("services", ())))


def to_json(form: RequestForm) -> dict[str, Any]:
    """The form as a revision keeps it: everything but the contact."""
    return {
        "unit": form.unit_code,
        "system": form.system_code,
        "purpose": form.purpose,
        "expected_users": form.expected_users,
        "start_date": form.start_date.isoformat(),
        "end_date": form.end_date.isoformat(),
        "funding_source": form.funding_source,
        "nature": form.nature,
        "classified": form.classified,
        "dedicated_network": form.dedicated_network,
        "document_number": form.document_number,
        "allow_partial": form.allow_partial,
        "ssh_public_key": form.ssh_public_key,
        "target_cloud": form.target_cloud,
        "attachments": [str(a) for a in form.attachment_ids],
        "items": [{"kind": i.kind.value, "count": i.count, **item_spec(i)} for i in form.items],
    }

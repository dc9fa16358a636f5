"""What makes a request complete and allowed: pure decisions over the form and the facts the service looked up.

Called by: ``request.service``. Must not: import SQL, web, cloud or engine. Returns all problems, never the first only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from broker.errors import Problem
from broker.request.values import RequestForm, SegmentItem, ServerItem, VolumeItem

MAX_YEARS = 5
"""The longest a request may run before it is renewed (ours)."""

DUTIES = ("decide", "assess", "deliver")
"""Somebody must hold each of them for a sub-cloud before a request can go there."""


@dataclass(frozen=True, slots=True)
class TargetCloud:
    """The sub-cloud a request goes to, and which units decide, assess and deliver for it today."""

    id: UUID
    code: str
    tier: str
    authorities: Mapping[str, UUID]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database knows about the things a form names. ``None``: no such thing, or not visible to the actor."""

    today: date
    unit_id: UUID | None
    system_id: UUID | None
    system_unit_in_tree: bool
    mlps_level: int
    cloud: TargetCloud | None
    image_archs: Mapping[str, str]
    network_exception: bool
    attachments_found: int
    segment_zones: frozenset[str]


def check(form: RequestForm, facts: Facts) -> list[Problem]:
    """Every reason why this form cannot be submitted as it is; empty when it can."""
    return [*_parties(form, facts), *_regulation(form, facts), *_dates(form, facts), *_items(form, facts)]


def _parties(form: RequestForm, facts: Facts) -> list[Problem]:
    out = []
    if facts.unit_id is None:
        out.append(Problem("unit.unknown", "unit"))
    if facts.system_id is None:
        out.append(Problem("system.unknown", "system", "Art. 26"))
    elif facts.unit_id is not None and not facts.system_unit_in_tree:
        out.append(Problem("system.of_another_unit", "system"))
    if facts.unit_id is not None and facts.cloud is None:
        out.append(Problem("cloud.unknown", "target_cloud"))
    elif facts.cloud is not None and any(duty not in facts.cloud.authorities for duty in DUTIES):
        out.append(Problem("cloud.without_authority", "target_cloud", "Art. 14"))
    if facts.attachments_found != len(form.attachment_ids):
        out.append(Problem("attachment.unknown", "attachments"))
    return out


def _regulation(form: RequestForm, facts: Facts) -> list[Problem]:
    """What the regulation forbids: classified data belongs on the intranet, dedicated networks are not to be built."""
    out = []
    if form.classified:
        out.append(Problem("request.classified", "classified", "Art. 2(3)"))
    if form.dedicated_network and not facts.network_exception:
        out.append(Problem("request.dedicated_network", "dedicated_network", "Art. 10"))
    return out


def _dates(form: RequestForm, facts: Facts) -> list[Problem]:
    if date.min in (form.start_date, form.end_date):
        return []
    out = []
    if form.start_date < facts.today:
        out.append(Problem("date.past", "start_date"))
    if form.end_date <= form.start_date:
        out.append(Problem("date.order", "end_date"))
    elif form.end_date > form.start_date + timedelta(days=366 * MAX_YEARS):
        out.append(Problem("date.too_far", "end_date", params={"years": MAX_YEARS}))
    return out


def _items(form: RequestForm, facts: Facts) -> list[Problem]:
    out = []
    names: set[str] = set()
    asked = {i.zone.value for i in form.items if isinstance(i, SegmentItem)}
    for n, item in enumerate(form.items):
        if item.name in names:
            out.append(Problem("item.name_twice", f"items[{n}].name", params={"name": item.name}))
        names.add(item.name)
        if isinstance(item, ServerItem):
            out += _server(item, f"items[{n}]", facts, asked)
    return out


def _server(item: ServerItem, path: str, facts: Facts, asked_zones: set[str]) -> list[Problem]:
    out = []
    arch = facts.image_archs.get(item.image)
    if arch is None:
        out.append(Problem("image.unknown", f"{path}.image", params={"image": item.image}))
    elif arch != item.cpu_arch:
        out.append(Problem("image.arch", f"{path}.cpu_arch", params={"image": item.image, "arch": arch}))
    if item.zone.value not in asked_zones | facts.segment_zones:
        out.append(Problem("segment.missing", f"{path}.zone", params={"zone": item.zone.value}))
    return out


def quantities(form: RequestForm) -> dict[str, int]:
    """What the whole form holds, by meter: the base of the quote."""
    total: dict[str, int] = {}
    for item in form.items:
        for meter, amount in item_quantities(item).items():
            total[meter] = total.get(meter, 0) + amount * item.count
    return total


def item_quantities(item: ServerItem | VolumeItem | SegmentItem) -> dict[str, int]:
    """What one piece of an item holds, by meter (a server with its disks)."""
    if isinstance(item, SegmentItem):
        return {"ipv6_segment": 1}
    if isinstance(item, VolumeItem):
        return {f"block_gib_{item.block_class}": item.size_gib}
    out = {f"vcpu_{item.cpu_arch}": item.vcpu, "memory_gib": item.memory_gib}
    for size, block_class in (
        (item.system_disk_gib, item.system_disk_class),
        *((d.size_gib, d.block_class) for d in item.data_disks),
    ):
        out[f"block_gib_{block_class}"] = out.get(f"block_gib_{block_class}", 0) + size
    return out

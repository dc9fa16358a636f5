"""Compares a sub-cloud with the rows: what bears our id and has no row, what is gone, of another size or power, twins.

Called by: the worker (every hour, for each cloud), ``guiyun reconcile``. Must not: correct anything by itself. It
reports; orphans and duplicates are removed only on an operator's word (``sweep``); sizes are for people; what we have
stopped and somebody else has started is written down by ``reclamation.started``, servers and volumes that are gone or
back by ``reclamation.missing``.

The cloud and the rows cannot be read at one instant, so that a first difference is only a suspicion: it counts when a
second look at the object, between two equal looks at its row, confirms it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv6Network
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select

from broker.catalog import repository as catalog
from broker.catalog.models import SubCloud
from broker.delivery.models import Delivery
from broker.delivery.specs import KIND
from broker.delivery.tools import Tools
from broker.errors import NotFound
from broker.extranet import service as extranet
from broker.inventory import service as inventory
from broker.inventory.models import Project, Resource, ServerSnapshot
from broker.lifecycle import ResourceState, Role
from broker.notify import service as notify
from broker.tenancy.rules import mandate
from broker.tenancy.values import SYSTEM, Actor
from broker.tenancy.work import Work
from providers.contract import Key, Kind, Observed, Provider, Status, Uplink

log = structlog.get_logger(__name__)

_RS = ResourceState
_HAVE = {_RS.READY.value, _RS.ACTIVE.value, _RS.STOPPED.value}
_GONE = {_RS.UNDONE.value, _RS.RELEASED.value, _RS.FAILED.value}
_KINDS = (Kind.PROJECT, Kind.NETWORK, Kind.VOLUME, Kind.SERVER, Kind.ATTACHMENT, Kind.SNAPSHOT)
_SWEEP_ORDER = (Kind.ATTACHMENT, Kind.SERVER, Kind.SNAPSHOT, Kind.VOLUME, Kind.NETWORK, Kind.PROJECT)
_REPORTED = 200
"""How many findings one audit event names; more are only counted."""


class DriftKind(StrEnum):
    """How the cloud and the rows differ."""

    ORPHAN = "orphan"
    """The cloud has an object with our id, and no row says that it should."""
    LOST = "lost"
    """A row says that there is an object, or that it was lost (``releasing``), and the cloud has none."""
    FOUND = "found"
    """A row says that it was lost, and the cloud has it."""
    SIZE = "size"
    """Both have it, in different sizes, or attached elsewhere."""
    UPLINK = "uplink"
    """A segment's network meets its router by another VNI, VLAN or gateway than the one it was given, or not at all."""
    DUPLICATE = "duplicate"
    """The cloud has more than one object for a row."""
    POWER = "power"
    """A server that we have stopped, and do not charge for, runs. One that its unit has stopped is charged for: no
    difference, but a finding of detection's."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference. ``refs``: the cloud's own ids (of a duplicate those that do not count). Sizes by name."""

    kind: DriftKind
    sub_cloud: str
    key: Key
    refs: tuple[str, ...]
    row_state: str
    expected: Mapping[str, object]
    found: Mapping[str, object]

    @property
    def metered_loss(self) -> bool:
        """A server or a volume that its unit pays for, or paid for until it was missed."""
        return (
            self.kind is DriftKind.LOST and self.key.kind in {Kind.SERVER, Kind.VOLUME} and self.row_state in _METERED
        )

    @property
    def fingerprint(self) -> str:
        """The same for the same difference, so that it is told once."""
        parts = [self.kind, self.sub_cloud, self.key.kind, str(self.key.id), *self.refs, self.row_state]
        parts += [repr(sorted(self.expected.items())), repr(sorted(self.found.items()))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class _Row:
    """What a row says of an object: its state, and its sizes as the cloud would show them."""

    key: Key
    state: str
    ref: str | None
    sizes: Mapping[str, object]
    busy: bool
    """Its delivery is on its way: what differs now may be put right by it."""
    lost: bool = False
    """It was missed before, is not metered since, and waits for people."""


_NO_ROW = "none"
_WRITTEN_DOWN = {DriftKind.POWER, DriftKind.FOUND}
_METERED = {_RS.ACTIVE.value, _RS.STOPPED.value, _RS.RELEASING.value}


def reconcile(tools: Tools, sub_cloud: str) -> list[Drift]:
    """Compare, tell the cloud's operators and the audit log what is new, and return all that differs.

    What runs though we have stopped it, and which servers and volumes are gone or back, is told by whoever writes it
    down (``reclamation.started``, ``reclamation.missing``).

    Raises NotFound ``sub_cloud.unknown``; ``providers.errors`` when the cloud does not answer.
    """
    drifts = list(_confirmed(tools, sub_cloud, tools.providers(sub_cloud)))
    if told := [d for d in drifts if not (d.kind in _WRITTEN_DOWN or d.metered_loss)]:
        _tell(tools, sub_cloud, told)
    return drifts


def sweep(tools: Tools, sub_cloud: str, *, only: Collection[UUID] = (), by: Actor = SYSTEM) -> list[Drift]:
    """On an operator's word remove orphans and duplicates: those named by our ids in ``only``, or all of them.

    Returns what was set out to be removed; what is deleted slowly shows in the next ``reconcile`` until it is gone.
    Raises Forbidden unless ``by`` may deliver for this cloud (or is the system, at its own command line); as above.
    """
    with tools.works.begin() as work:
        unit = catalog.delivering_unit(work.session, _cloud(work, sub_cloud).id, work.now)
        if by is not SYSTEM:
            mandate(by, Role.OPERATOR, unit)
    provider = tools.providers(sub_cloud)
    drifts = [d for d in _confirmed(tools, sub_cloud, provider) if d.kind in _SWEPT]
    going = [d for d in drifts if not only or d.key.id in only]
    for drift in sorted(going, key=lambda d: _SWEEP_ORDER.index(d.key.kind)):
        if drift.kind is DriftKind.DUPLICATE:
            provider.prune(drift.key)
        else:
            provider.delete(drift.key)
    if going:
        with tools.works.begin(by) as work:
            _write_down(work, sub_cloud, "sub_cloud.swept", going)
    return going


_SWEPT = {DriftKind.ORPHAN, DriftKind.DUPLICATE}


def _confirmed(tools: Tools, sub_cloud: str, provider: Provider) -> Iterator[Drift]:
    seen = {o.key: o for kind in _KINDS if kind in provider.capabilities.kinds for o in provider.list(kind)}
    before = _rows(tools, sub_cloud)
    suspects = [key for key in {**seen, **before} if _differs(sub_cloud, key, seen.get(key), before.get(key))]
    if not suspects:
        return
    again = {key: provider.observe(key) for key in suspects}
    after = _rows(tools, sub_cloud)
    for key in sorted(suspects, key=lambda k: (k.kind, k.id)):
        if before.get(key) == after.get(key):
            drift = _differs(sub_cloud, key, again[key], after.get(key))
            if drift is not None:
                yield drift


def _differs(sub_cloud: str, key: Key, seen: Observed | None, row: _Row | None) -> Drift | None:
    """The difference between what the cloud shows and what the row says, if there is one that lasts."""
    if row is not None and row.busy:
        return None
    state = row.state if row else _NO_ROW
    if seen is None:
        if row is None or not (state in _HAVE or row.lost):
            return None
        return Drift(DriftKind.LOST, sub_cloud, key, (row.ref or "",), state, row.sizes, {})
    if row is None or state in _GONE:
        refs = (seen.ref, *seen.extra_refs)
        orphan = Drift(DriftKind.ORPHAN, sub_cloud, key, refs, state, {}, _sizes(seen))
        return None if seen.status is Status.DELETING else orphan
    if row.lost:
        power = "on" if seen.status is Status.ACTIVE else "off"
        found = Drift(DriftKind.FOUND, sub_cloud, key, (seen.ref,), state, {}, {"power": power})
        return None if seen.status is Status.DELETING else found
    return _in_another_shape(sub_cloud, seen, row) if state in _HAVE else None


def _in_another_shape(sub_cloud: str, seen: Observed, row: _Row) -> Drift | None:
    """Both have it: whether it stands still if it should, is there once, and of the size that is paid for."""
    if row.key.kind is Kind.SERVER and row.state == _RS.STOPPED.value and seen.status is Status.ACTIVE:
        return Drift(DriftKind.POWER, sub_cloud, row.key, (seen.ref,), row.state, {"power": "off"}, {"power": "on"})
    if seen.extra_refs:
        return Drift(DriftKind.DUPLICATE, sub_cloud, row.key, seen.extra_refs, row.state, {}, {})
    found = _sizes(seen)
    different = sorted(name for name, size in row.sizes.items() if found.get(name) != size)
    if not different:
        return None
    expected, shown = {n: row.sizes[n] for n in different}, {n: found.get(n) for n in different}
    kind = DriftKind.UPLINK if different == ["uplink"] else DriftKind.SIZE
    return Drift(kind, sub_cloud, row.key, (seen.ref,), row.state, expected, shown)


def _sizes(seen: Observed) -> dict[str, object]:
    sizes: dict[str, object] = {"vcpu": seen.vcpu, "memory_gib": seen.memory_gib, "size_gib": seen.size_gib}
    sizes |= {"prefix": str(seen.prefix) if seen.prefix else None}
    sizes |= {"server_id": str(seen.server_id) if seen.server_id else None, "uplink": _named(seen.uplink)}
    return {name: size for name, size in sizes.items() if size is not None}


def _named(uplink: Uplink | None) -> str | None:
    """How a network meets its router, in words that can be compared."""
    if uplink is None:
        return None
    return f"{uplink.encapsulation.value} {uplink.tag} {uplink.gateway} {uplink.addressing.value}"


def _rows(tools: Tools, sub_cloud: str) -> dict[Key, _Row]:
    """Every object that the rows know of: projects, resources, and attachments of disks."""
    with tools.works.begin() as work:
        cloud_id = _cloud(work, sub_cloud).id
        projects = work.session.execute(select(Project.id, Project.ref).where(Project.sub_cloud_id == cloud_id)).all()
        resources = work.session.execute(
            select(Resource, Delivery.state)
            .outerjoin(Delivery, Delivery.id == Resource.delivery_id)
            .where(Resource.sub_cloud_id == cloud_id)
        ).all()
        snapshots = work.session.execute(
            select(ServerSnapshot.id, Resource.project_id, ServerSnapshot.taken_at, ServerSnapshot.removed_at)
            .join(Resource, Resource.id == ServerSnapshot.resource_id)
            .where(Resource.sub_cloud_id == cloud_id)
        ).all()
        segments = [resource.id for resource, _ in resources if resource.kind == "segment"]
        uplinks = extranet.uplinks(work.session, segments)
    rows = [_project_row(p.id, p.ref) for p in projects]
    for resource, delivery_state in resources:
        busy = delivery_state in {"queued", "running"}
        rows += _resource_rows(resource, uplinks.get(resource.id), busy=busy)
    rows += [_snapshot_row(*snapshot) for snapshot in snapshots]
    return {row.key: row for row in rows}


def _project_row(project_id: UUID, ref: str | None) -> _Row:
    """A project stays when nothing is left in it. One that was never made is not missed."""
    return _Row(Key(Kind.PROJECT, project_id, project_id), _RS.ACTIVE.value if ref else "planned", ref, {}, busy=False)


def _snapshot_row(snapshot_id: UUID, project_id: UUID, taken_at: datetime | None, removed_at: datetime | None) -> _Row:
    """An image that is kept is not missed before it was taken, and not wanted after it was removed."""
    state = _RS.RELEASED if removed_at else _RS.ACTIVE if taken_at else _RS.BUILDING
    return _Row(Key(Kind.SNAPSHOT, snapshot_id, project_id), state.value, None, {}, busy=False)


def _resource_rows(resource: Resource, uplink: Uplink | None, *, busy: bool) -> Iterator[_Row]:
    kind = KIND[resource.kind]
    spec: Mapping[str, Any] = resource.spec
    sizes: dict[str, object] = {}
    if kind is Kind.NETWORK:
        sizes = {"prefix": str(IPv6Network(str(resource.prefix))), "uplink": _named(uplink)}
    elif kind is Kind.VOLUME:
        sizes = {"size_gib": spec["size_gib"]}
    else:
        sizes = {"vcpu": spec["vcpu"], "memory_gib": spec["memory_gib"], "size_gib": spec["system_disk_gib"]}
    key = Key(kind, resource.id, resource.project_id)
    lost = resource.state == _RS.RELEASING.value and resource.error_code == inventory.LOST
    yield _Row(key, resource.state, resource.ref, sizes, busy, lost)
    if kind is Kind.VOLUME and resource.server_id is not None:
        attached = Key(Kind.ATTACHMENT, resource.id, resource.project_id)
        yield _Row(attached, resource.state, None, {"server_id": str(resource.server_id)}, busy)


def _tell(tools: Tools, sub_cloud: str, drifts: Sequence[Drift]) -> None:
    """A notice to the operators and an audit event for what was not told before."""
    with tools.works.begin() as work:
        cloud_id = _cloud(work, sub_cloud).id
        unit = catalog.delivering_unit(work.session, cloud_id, work.now)
        if unit is None:
            log.warning("drift, and nobody delivers for this cloud", sub_cloud=sub_cloud, count=len(drifts))
            return
        new = [d for d in drifts if notify.remind(work, [_notice(d, cloud_id, unit, role) for role in _TOLD])]
        if new:
            _write_down(work, sub_cloud, "sub_cloud.drifted", new)


_TOLD = (Role.CLOUD_OPERATOR, Role.OPERATOR)


def _notice(drift: Drift, cloud_id: UUID, unit_id: UUID, role: Role) -> dict[str, Any]:
    return {
        "code": f"drift.{drift.kind.value}",
        "params": {"sub_cloud": drift.sub_cloud, "kind": drift.key.kind.value, "id": str(drift.key.id)},
        "subject_type": "sub_cloud",
        "subject_id": cloud_id,
        "account_id": None,
        "unit_id": unit_id,
        "role": role.value,
        "dedupe": f"drift/{role.value}/{drift.fingerprint}",
    }


def _write_down(work: Work, sub_cloud: str, action: str, drifts: Sequence[Drift]) -> None:
    named = [
        {"drift": d.kind.value, "kind": d.key.kind.value, "id": str(d.key.id), "refs": list(d.refs)}
        for d in drifts[:_REPORTED]
    ]
    work.record(action, "sub_cloud", _cloud(work, sub_cloud).id, data={"count": len(drifts), "drifts": named})


def _cloud(work: Work, code: str) -> SubCloud:
    found = work.session.scalar(select(SubCloud).where(SubCloud.code == code))
    if found is None:
        raise NotFound("sub_cloud.unknown")
    return found

"""The machine steps that make things in a sub-cloud. Each may run any number of times and acts once.

Called by: ``workflows.steps``. Must not: decide their order (``workflows.fulfil`` does), or keep a transaction open
across a call to a cloud.

The pattern of every step: write down that it is about to act (resources ``building``: the undo is registered), act by
our ids, look, write down what is there. A resource that fails for good is marked ``failed`` alone; the others go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import select, text, update

from broker.catalog.models import Image, SubCloud
from broker.delivery import progress
from broker.delivery.models import Delivery
from broker.delivery.specs import KIND, attachment_of, limits_of, spec_of
from broker.delivery.tools import Pace, Tools
from broker.inventory import service as inventory
from broker.inventory.models import Project, Resource
from broker.lifecycle import ResourceState
from broker.tenancy.models import Unit
from broker.tenancy.work import Work
from providers.contract import Kind, Observed, ProjectSpec, Provider, Status
from providers.errors import ActionRequired, Permanent, ProviderError, Temporary, UnknownOutcome

_LIVE = ("planned", "building", "ready", "active", "stopped")
_MAKEABLE = (ResourceState.PLANNED.value, ResourceState.BUILDING.value)
_GOOD = (Status.ACTIVE, Status.STOPPED)

_NOTE_READY = text("""
UPDATE broker.resource r SET state = 'ready', ref = o.ref, addresses = o.addresses::inet[], error_code = NULL
FROM unnest(CAST(:ids AS uuid[]), CAST(:refs AS text[]), CAST(:addresses AS text[])) AS o(id, ref, addresses)
WHERE r.id = o.id AND r.state = 'building'
""")


class TryAgainError(Exception):
    """The step is not through: the engine calls it again, after ``retry_after_s``."""

    def __init__(self, code: str, retry_after_s: float = 1.0) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class Result:
    """What one attempt of a step found, resource by resource."""

    ready: dict[UUID, Observed] = field(default_factory=dict)
    failed: dict[UUID, str] = field(default_factory=dict)
    unclear: dict[UUID, ProviderError] = field(default_factory=dict)

    def settle(self, *, last: bool) -> None:
        """With no attempt left, what is unclear has failed: an operator will look."""
        if last:
            self.failed |= {i: e.code for i, e in self.unclear.items()}
            self.unclear = {}

    def raise_if_unclear(self) -> None:
        """Ask for another attempt while something is unclear."""
        for error in self.unclear.values():
            raise TryAgainError(error.code, getattr(error, "retry_after_s", 1.0))


def create_project(tools: Tools, delivery_id: UUID, pace: Pace) -> bool:
    """The unit's project in the sub-cloud, with the cloud's own limits set to just what was granted.

    Like every step here: False when something has failed for good, TryAgainError while attempts are left.
    """
    with tools.works.begin() as work:
        delivery, cloud = _delivery(work, delivery_id)
        progress.begin(work, delivery, "create_project")
        code = work.session.scalar(select(Unit.code).join(Project).where(Project.id == delivery.project_id))
        granted = work.session.scalars(
            select(Resource).where(Resource.project_id == delivery.project_id, Resource.state.in_(_LIVE))
        ).all()
        spec = ProjectSpec(delivery.project_id, f"guiyun-{code}", limits_of(granted))
    provider = tools.providers(cloud)
    try:
        provider.create(spec)
        seen = provider.change(spec)
    except (Permanent, ActionRequired, Temporary, UnknownOutcome) as error:
        if isinstance(error, (Temporary, UnknownOutcome)) and not pace.last:
            raise TryAgainError(error.code, getattr(error, "retry_after_s", 1.0)) from error
        _fail_all(tools, delivery_id, "create_project", error.code)
        return False
    with tools.works.begin() as work:
        work.session.execute(
            update(Project)
            .where(Project.id == delivery.project_id, Project.ref.is_distinct_from(seen.ref))
            .values(ref=seen.ref)
        )
        progress.end(work, delivery, "create_project")
    return True


def create(tools: Tools, delivery_id: UUID, kind: str, pace: Pace) -> bool:
    """Make all resources of ``kind`` (``segment``, ``volume``, ``server``) of a delivery and wait until they are there.

    Raises TryAgainError while something is unclear and attempts are left.
    """
    step = f"create_{kind}s"
    with tools.works.begin() as work:
        delivery, cloud = _delivery(work, delivery_id)
        wanted = _to_make(work, delivery_id, kind)
        orphans = _without_base(work, wanted)
        progress.begin(work, delivery, step)
        inventory.move(work, [r.id for r in wanted], ResourceState.BUILDING)
        _fail(work, dict.fromkeys(orphans, "base_failed"))
        images = _images(work, delivery.sub_cloud_id) if kind == "server" else {}
    wanted = [r for r in wanted if r.id not in orphans]
    result = _order(tools.providers(cloud), wanted, images, delivery.public_key)
    _await(tools.providers(cloud), KIND[kind], delivery.project_id, result, pace)
    result.settle(last=pace.last)
    with tools.works.begin() as work:
        _write(work, result)
        if not result.unclear:
            progress.end(work, delivery, step, failed=_codes(result))
    result.raise_if_unclear()
    return not result.failed and not orphans


def attach_volumes(tools: Tools, delivery_id: UUID, pace: Pace) -> bool:
    """Attach each data disk to its server. Raises TryAgainError while something is unclear and attempts are left."""
    with tools.works.begin() as work:
        delivery, cloud = _delivery(work, delivery_id)
        progress.begin(work, delivery, "attach_volumes")
        disks = [
            r
            for r in inventory.of_delivery(work, delivery_id)
            if r.kind == "volume" and r.server_id and r.state == ResourceState.READY.value
        ]
        servers = select(Resource.id).where(
            Resource.id.in_({d.server_id for d in disks}), Resource.state == ResourceState.READY.value
        )
        there = set(work.session.scalars(servers))
        orphans = [d.id for d in disks if d.server_id not in there]
        _fail(work, dict.fromkeys(orphans, "base_failed"))
    provider = tools.providers(cloud)
    result = Result()
    for disk in disks:
        if disk.id not in orphans:
            _try(result, disk.id, lambda disk=disk: provider.create(attachment_of(disk)))
    _await(provider, Kind.ATTACHMENT, delivery.project_id, result, pace)
    result.settle(last=pace.last)
    with tools.works.begin() as work:
        _fail(work, result.failed)
        if not result.unclear:
            progress.end(work, delivery, "attach_volumes", failed=_codes(result))
    result.raise_if_unclear()
    return not result.failed and not orphans


def configure(tools: Tools, delivery_id: UUID, pace: Pace) -> bool:
    """Harden the servers that a playbook can reach; one that cannot be hardened has failed."""
    with tools.works.begin() as work:
        delivery, _ = _delivery(work, delivery_id)
        progress.begin(work, delivery, "configure_guests")
        servers = [
            r
            for r in inventory.of_delivery(work, delivery_id)
            if r.kind == "server" and r.state == ResourceState.READY.value and r.addresses
        ]
    pace.beat()
    by_address = {str(r.addresses[0]).split("/")[0]: r for r in servers}
    assert tools.harden is not None
    failures = tools.harden({a: r.name for a, r in by_address.items()}, None) if by_address else {}
    if failures and not pace.last:
        raise TryAgainError("configure.failed", 5.0)
    failed = {by_address[address].id: "configure.failed" for address in failures}
    with tools.works.begin() as work:
        _fail(work, failed)
        progress.end(work, delivery, "configure_guests", failed=" ".join(failures.values()))
    return not failed


def _delivery(work: Work, delivery_id: UUID) -> tuple[Delivery, str]:
    row = work.session.execute(
        select(Delivery, SubCloud.code)
        .join(SubCloud, SubCloud.id == Delivery.sub_cloud_id)
        .where(Delivery.id == delivery_id)
    ).one()
    return row[0], row[1]


def _to_make(work: Work, delivery_id: UUID, kind: str) -> list[Resource]:
    return list(
        work.session.scalars(
            select(Resource)
            .where(Resource.delivery_id == delivery_id, Resource.kind == kind, Resource.state.in_(_MAKEABLE))
            .order_by(Resource.id)
        )
    )


def _without_base(work: Work, wanted: Sequence[Resource]) -> list[UUID]:
    """Servers whose segment is not there: they cannot be made, whatever the cloud says."""
    bases = {r.network_id for r in wanted if r.network_id}
    if not bases:
        return []
    good = set(
        work.session.scalars(select(Resource.id).where(Resource.id.in_(bases), Resource.state.in_(("ready", "active"))))
    )
    return [r.id for r in wanted if r.network_id and r.network_id not in good]


def _images(work: Work, sub_cloud_id: UUID) -> dict[str, str]:
    rows = work.session.execute(select(Image.code, Image.provider_name).where(Image.sub_cloud_id == sub_cloud_id))
    return dict(rows.all())


def _order(provider: Provider, wanted: Sequence[Resource], images: Mapping[str, str], public_key: str | None) -> Result:
    """Ask for each resource; what the cloud says at once is sorted into ready, failed and unclear."""
    result = Result()
    for resource in wanted:
        _try(result, resource.id, lambda r=resource: provider.create(spec_of(r, images, public_key)))
    return result


def _try(result: Result, resource_id: UUID, act: object) -> None:
    try:
        seen: Observed = act()  # type: ignore[operator]
    except (Permanent, ActionRequired) as error:
        result.failed[resource_id] = error.code
    except (Temporary, UnknownOutcome) as error:
        result.unclear[resource_id] = error
    else:
        result.ready[resource_id] = seen


def _await(provider: Provider, kind: Kind, project_id: UUID, result: Result, pace: Pace) -> None:
    """Look with one call for all until nothing is being built; sort out what went wrong meanwhile."""
    while any(seen.status is Status.BUILDING for seen in result.ready.values()):
        if not pace.wait():
            break
        try:
            there = {seen.key.id: seen for seen in provider.list(kind, project_id)}
        except (Temporary, UnknownOutcome):
            continue
        for resource_id in list(result.ready):
            if resource_id in there:
                result.ready[resource_id] = there[resource_id]
            else:
                del result.ready[resource_id]
                result.unclear[resource_id] = Temporary("provider.vanished")
    for resource_id, seen in list(result.ready.items()):
        if seen.status not in _GOOD:
            del result.ready[resource_id]
            _not_ready(result, resource_id, seen, pace)


def _not_ready(result: Result, resource_id: UUID, seen: Observed, pace: Pace) -> None:
    """Patience has run out, or the cloud says that it failed."""
    if seen.status is not Status.BUILDING:
        result.failed[resource_id] = "provider.error_state"
    elif pace.in_place:
        result.unclear[resource_id] = Temporary("provider.still_building")
    else:
        result.failed[resource_id] = "provider.still_building"


def _write(work: Work, result: Result) -> None:
    if result.ready:
        found = list(result.ready.items())
        work.session.execute(
            _NOTE_READY,
            {
                "ids": [i for i, _ in found],
                "refs": [seen.ref for _, seen in found],
                "addresses": ["{" + ",".join(str(a) for a in seen.addresses) + "}" for _, seen in found],
            },
        )
    _fail(work, result.failed)


def _fail(work: Work, failed: Mapping[UUID, str]) -> None:
    for resource_id, code in failed.items():
        inventory.move(work, [resource_id], ResourceState.FAILED, error_code=code)


def _fail_all(tools: Tools, delivery_id: UUID, step: str, code: str) -> None:
    """Nothing can be made here: every resource of the delivery has failed for the same reason."""
    with tools.works.begin() as work:
        delivery, _ = _delivery(work, delivery_id)
        ids = [r.id for r in inventory.of_delivery(work, delivery_id) if r.state in _MAKEABLE]
        inventory.move(work, ids, ResourceState.BUILDING)
        inventory.move(work, ids, ResourceState.FAILED, error_code=code)
        progress.end(work, delivery, step, failed=code)


def _codes(result: Result) -> str:
    return " ".join(sorted(set(result.failed.values())))

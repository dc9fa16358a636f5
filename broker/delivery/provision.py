"""The machine steps that make things in a sub-cloud. Each may run any number of times and acts once.

Called by: ``workflows.steps``. Must not: decide their order (``workflows.fulfil`` does), or keep a transaction open
across a call to a cloud.

The pattern of every step: read what is to be made (it is ``building``: the undo is registered), act by our ids, look,
write down what is there. A resource that fails for good is marked ``failed`` alone; the others go on. Every step says
False when something has failed for good, and raises TryAgainError while something is unclear and attempts are left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from broker.catalog.models import Image
from broker.delivery import cases, progress
from broker.delivery.models import Delivery
from broker.delivery.specs import KIND, attachment_of, spec_of
from broker.delivery.tools import Pace, Tools
from broker.delivery.values import Job
from broker.extranet import service
from broker.inventory.models import Resource
from broker.lifecycle import ResourceState
from broker.tenancy.work import Work
from providers.contract import Kind, Observed, ProjectLimits, ProjectSpec, Provider, Status
from providers.errors import ActionRequired, Permanent, ProviderError, Temporary, UnknownOutcome

_RS = ResourceState
_BASES = (_RS.READY.value, _RS.ACTIVE.value, _RS.STOPPED.value)
_GOOD = (Status.ACTIVE, Status.STOPPED)
_OVER_LIMIT = ("quota.exceeded", "quota_exceeded")

_PROJECT = text("""
WITH step AS (
  INSERT INTO broker.delivery_step (id, subject_id, request_id, run, name, state, started_at, detail)
  VALUES (gen_random_uuid(), :subject, :request, :run, 'create_project', 'running', :now, '')
  ON CONFLICT (subject_id, run, name) DO UPDATE
  SET attempts = delivery_step.attempts + 1, state = 'running', finished_at = NULL
)
SELECT p.id, u.code, count(*) FILTER (WHERE r.kind = 'server') AS servers,
  sum((r.spec->>'vcpu')::int) FILTER (WHERE r.kind = 'server') AS vcpu,
  sum((r.spec->>'memory_gib')::int) FILTER (WHERE r.kind = 'server') AS memory_gib,
  count(*) FILTER (WHERE r.kind = 'volume') AS volumes,
  sum((r.spec->>'size_gib')::int) FILTER (WHERE r.kind = 'volume') AS block_gib,
  count(*) FILTER (WHERE r.kind = 'segment') AS networks,
  count(*) FILTER (WHERE r.delivery_id = d.id AND r.state = 'failed') AS failed
FROM broker.delivery d JOIN broker.project p ON p.id = d.project_id JOIN broker.unit u ON u.id = p.unit_id
LEFT JOIN broker.resource r ON r.project_id = p.id
  AND r.state IN ('planned', 'building', 'ready', 'active', 'stopped', 'failed', 'releasing')
WHERE d.id = :subject GROUP BY p.id, u.code
""")

_PROJECT_THERE = text("""
WITH step AS (
  UPDATE broker.delivery_step SET state = 'done', finished_at = :now, detail = ''
  WHERE subject_id = :subject AND run = :run AND name = 'create_project'
)
UPDATE broker.project SET ref = :ref WHERE id = :project AND ref IS DISTINCT FROM :ref
""")

# A step keeps the failures of its earlier attempts, and says them when it is through.
_FINISH = text("""
WITH told AS (
  SELECT id, left(array_to_string(ARRAY(
    SELECT DISTINCT code FROM unnest(string_to_array(detail, ' ') || CAST(:codes AS text[])) code ORDER BY code
  ), ' '), 500) AS codes
  FROM broker.delivery_step WHERE subject_id = :subject AND run = :run AND name = :step
), step AS (
  UPDATE broker.delivery_step s
  SET detail = told.codes, finished_at = CASE WHEN :through THEN CAST(:now AS timestamptz) END,
      state = CASE WHEN NOT :through THEN 'running' WHEN told.codes = '' THEN 'done' ELSE 'failed' END
  FROM told WHERE s.id = told.id AND (:through OR s.detail <> told.codes)
)
UPDATE broker.resource r
SET state = o.state, ref = coalesce(o.ref, r.ref), addresses = coalesce(o.addresses::inet[], r.addresses),
    error_code = NULL
FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[]), CAST(:refs AS text[]), CAST(:addresses AS text[]))
  AS o(id, state, ref, addresses)
WHERE r.id = o.id AND r.state IN ('building', 'ready')
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
    failed_before: bool = False
    """Rows of an earlier attempt or step say that something failed: a step that runs again gives the same answer."""

    def settle(self, *, last: bool) -> None:
        """With no attempt left, what is unclear has failed: an operator will look."""
        if last:
            self.failed |= {i: e.code for i, e in self.unclear.items()}
            self.unclear = {}

    def raise_if_unclear(self) -> None:
        """Ask for another attempt while something is unclear."""
        for error in self.unclear.values():
            raise again(error)


def again(error: ProviderError) -> TryAgainError:
    """The cloud's word as a wish for another attempt."""
    return TryAgainError(error.code, getattr(error, "retry_after_s", 1.0))


def create_project(tools: Tools, job: Job, pace: Pace) -> bool:
    """The unit's project in the sub-cloud, with the cloud's own limits set to just what was granted."""
    with tools.works.begin() as work:
        spec, failed_before = _project(work, job)
    try:
        provider = tools.providers(job.sub_cloud)
        provider.create(spec)
        seen = provider.change(spec)
    except ProviderError as error:
        if isinstance(error, (Temporary, UnknownOutcome)) and not pace.last:
            raise again(error) from error
        fail_all(tools, job, error.code)
        return False
    with tools.works.begin() as work:
        where = {"subject": job.id, "run": job.run, "now": work.now}
        work.session.execute(_PROJECT_THERE, where | {"ref": seen.ref, "project": spec.id})
    return not failed_before


def create(tools: Tools, job: Job, kind: str, pace: Pace) -> bool:
    """Make all resources of ``kind`` (``segment``, ``volume``, ``server``) of a delivery; wait until they are there.

    A segment's place in the extranet is written down first: its network is made on the VNI that its router will use, so
    that the servers which come after it stand on the segment.
    """
    step = f"create_{kind}s"
    routed = kind == "segment" and job.routes
    keyless = _keyless(tools) if routed else ""
    with tools.works.begin() as work:
        if kind == "server":
            resources, images, public_key = _begin_servers(work, job, step)
        else:
            resources, images, public_key = begin_step(work, job, step), {}, None
        wanted = [r for r in resources if r.kind == kind and r.state == _RS.BUILDING.value]
        bases = {r.id: r.network_id for r in wanted}
        refused = dict.fromkeys((r.id for r in wanted), keyless) if keyless else {}
        if routed and not keyless:
            refused = service.attach(work, job.sub_cloud, wanted)
        uplinks = service.uplinks(work.session, [r.id for r in wanted]) if routed else {}
        result = start_result(resources, _without_base(work, bases, resources), failed=refused)
    provider = _provider(tools, job, result, wanted)
    if provider is not None:
        for resource in wanted:
            if resource.id not in result.failed:
                spec = spec_of(resource, images, public_key, uplinks.get(resource.id))
                _try(result, resource.id, lambda spec=spec: provider.create(spec), pace)  # type: ignore[misc]
        if wanted:
            _await(provider, KIND[kind], wanted[0].project_id, result, pace)
        _raise_limits(tools, job, result, pace)
    return finish_step(tools, job, step, result, pace)


def attach_volumes(tools: Tools, job: Job, pace: Pace) -> bool:
    """Attach each data disk to its server; a disk whose server is not there has failed."""
    with tools.works.begin() as work:
        resources = begin_step(work, job, "attach_volumes")
        disks = [r for r in resources if r.kind == "volume" and r.server_id and r.state == _RS.READY.value]
        bases = {d.id: d.server_id for d in disks}
        result = start_result(resources, _without_base(work, bases, resources))
    provider = _provider(tools, job, result, disks)
    if provider is not None:
        for disk in disks:
            if disk.id not in result.failed:
                spec = attachment_of(disk)
                _try(result, disk.id, lambda spec=spec: provider.create(spec), pace)  # type: ignore[misc]
        if disks:
            _await(provider, Kind.ATTACHMENT, disks[0].project_id, result, pace)
    refs = {r.id: r.ref for r in disks}
    result.ready = {i: _as_volume(seen, refs[i]) for i, seen in result.ready.items()}
    return finish_step(tools, job, "attach_volumes", result, pace)


def configure(tools: Tools, job: Job, pace: Pace) -> bool:
    """Harden the servers that a playbook can reach; one that cannot be hardened has failed."""
    with tools.works.begin() as work:
        resources = begin_step(work, job, "configure_guests")
    ready = [r for r in resources if r.kind == "server" and r.state == _RS.READY.value]
    servers = {str(r.addresses[0]).split("/")[0]: r for r in ready if r.addresses}
    pace.beat()
    assert tools.harden is not None
    failures = tools.harden({address: r.name for address, r in servers.items()}) if servers else {}
    if failures and not pace.last:
        raise TryAgainError("configure.failed", 5.0)
    result = start_result(resources, ())
    # One without an address cannot be reached, and is not handed over as it is.
    missed = [servers[address] for address in failures] + [r for r in ready if not r.addresses]
    result.failed = {r.id: "configure.failed" for r in missed}
    return finish_step(tools, job, "configure_guests", result, pace)


def _keyless(tools: Tools) -> str:
    """Why this worker could bring no segment onto a router; nothing is made that could then not be routed."""
    try:
        tools.networks()
    except ActionRequired as error:
        return error.code
    return ""


def _project(work: Work, job: Job) -> tuple[ProjectSpec, bool]:
    """The project with its limits as granted at this moment, and whether something of the delivery has failed."""
    values = {"subject": job.id, "request": job.request_id, "run": job.run, "now": work.now}
    row: Any = work.session.execute(_PROJECT, values).one()
    limits = ProjectLimits(
        servers=row.servers,
        vcpu=row.vcpu or 0,
        memory_gib=row.memory_gib or 0,
        volumes=row.volumes,
        block_gib=row.block_gib or 0,
        networks=row.networks,
    )
    return ProjectSpec(row.id, f"guiyun-{row.code}", limits), row.failed > 0


def start_result(
    resources: Sequence[Resource], without_base: Iterable[UUID] = (), *, failed: Mapping[UUID, str] | None = None
) -> Result:
    """What is known before anything is tried."""
    failed_before = any(r.state == _RS.FAILED.value for r in resources)
    known = dict.fromkeys(without_base, cases.BASE_FAILED) | dict(failed or {})
    return Result(failed=known, failed_before=failed_before)


def begin_step(work: Work, job: Job, step: str) -> Sequence[Resource]:
    """The step runs: one statement says so and reads the delivery's resources."""
    statement = select(Resource).where(Resource.delivery_id == job.id).order_by(Resource.id)
    return work.session.scalars(statement.add_cte(progress.begun(work, job, step))).all()


def _begin_servers(work: Work, job: Job, step: str) -> tuple[Sequence[Resource], Mapping[str, str], str | None]:
    """The same, with the sub-cloud's names of the images they need, and the public key that goes into the servers."""
    statement = (
        select(Resource, Image.provider_name, Delivery.public_key)
        .join(Delivery, Delivery.id == Resource.delivery_id)
        .outerjoin(Image, (Image.sub_cloud_id == Resource.sub_cloud_id) & (Image.code == Resource.spec["image"].astext))
        .where(Resource.delivery_id == job.id)
        .order_by(Resource.id)
    )
    rows = work.session.execute(statement.add_cte(progress.begun(work, job, step))).all()
    images = {row.Resource.spec["image"]: row.provider_name for row in rows if row.provider_name is not None}
    return [row.Resource for row in rows], images, rows[0].public_key if rows else None


def finish_step(tools: Tools, job: Job, step: str, result: Result, pace: Pace) -> bool:
    """Write down what the step found, in one statement; ask for another attempt while something is unclear."""
    result.settle(last=pace.last)
    found: list[tuple[Any, ...]] = [(i, _RS.READY.value, seen.ref, _array(seen)) for i, seen in result.ready.items()]
    columns: list[Sequence[Any]] = list(zip(*found, strict=True)) if found else [()] * 4
    with tools.works.begin() as work:
        cases.fail(work, job, step, result.failed)
        work.session.execute(
            _FINISH,
            {
                "subject": job.id,
                "run": job.run,
                "step": step,
                "now": work.now,
                "through": not result.unclear,
                "codes": sorted(set(result.failed.values())),
                **dict(zip(("ids", "states", "refs", "addresses"), map(list, columns), strict=True)),
            },
        )
    result.raise_if_unclear()
    return not (result.failed or result.failed_before)


def _array(seen: Observed) -> str:
    return "{" + ",".join(str(a) for a in seen.addresses) + "}"


def _as_volume(seen: Observed, ref: str | None) -> Observed:
    """An attached disk keeps the volume's own reference."""
    return Observed(seen.key, ref or seen.ref, seen.status)


def _without_base(work: Work, bases: Mapping[UUID, UUID | None], resources: Sequence[Resource]) -> list[UUID]:
    """What stands on a segment or server that is not there: it cannot be made, whatever the cloud says."""
    states = {r.id: r.state for r in resources}
    elsewhere = {base for base in bases.values() if base is not None and base not in states}
    if elsewhere:
        rows = work.session.execute(select(Resource.id, Resource.state).where(Resource.id.in_(elsewhere)))
        states |= {row.id: row.state for row in rows}
    return [i for i, base in bases.items() if base is not None and states[base] not in _BASES]


def _provider(tools: Tools, job: Job, result: Result, wanted: Sequence[Resource]) -> Provider | None:
    """The sub-cloud's adapter; without one everything wanted has failed."""
    try:
        return tools.providers(job.sub_cloud)
    except ActionRequired as error:
        result.failed |= {r.id: error.code for r in wanted}
        return None


def _try(result: Result, resource_id: UUID, act: Callable[[], Observed], pace: Pace) -> None:
    """Ask the cloud; what it says at once is sorted into ready, failed and unclear."""
    if pace.over:
        result.unclear[resource_id] = Temporary("provider.slow", retry_after_s=0)
        return
    try:
        result.ready[resource_id] = act()
    except (Permanent, ActionRequired) as error:
        result.failed[resource_id] = error.code
    except (Temporary, UnknownOutcome) as error:
        result.unclear[resource_id] = error


def _await(provider: Provider, kind: Kind, project_id: UUID, result: Result, pace: Pace) -> None:
    """Look with one call for all until nothing is being built; sort out what went wrong meanwhile."""
    while any(seen.status is Status.BUILDING for seen in result.ready.values()):
        if not pace.wait():
            break
        try:
            there = {seen.key.id: seen for seen in provider.list(kind, project_id)}
        except (Temporary, UnknownOutcome):
            continue
        except (Permanent, ActionRequired) as error:
            for resource_id in [i for i, seen in result.ready.items() if seen.status is Status.BUILDING]:
                del result.ready[resource_id]
                result.failed[resource_id] = error.code
            break
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


def _raise_limits(tools: Tools, job: Job, result: Result, pace: Pace) -> None:
    """The project's limits may be those of another delivery, computed before this one was granted: set them anew."""
    over = [i for i, code in result.failed.items() if code in _OVER_LIMIT]
    if not over or pace.last:
        return
    with contextlib.suppress(TryAgainError):
        create_project(tools, job, pace)
    for resource_id in over:
        result.unclear[resource_id] = Temporary(result.failed.pop(resource_id))


def fail_all(tools: Tools, job: Job, code: str) -> None:
    """There is no project, so nothing can be made here: one case for the whole delivery."""
    step = "create_project"
    with tools.works.begin() as work:
        building = [r.id for r in begin_step(work, job, step) if r.state == _RS.BUILDING.value]
        cases.fail(work, job, step, dict.fromkeys(building, cases.BASE_FAILED))
        if building:
            cases.put(work, job, step, code, None)
        progress.end(work, job, step, failed=code)

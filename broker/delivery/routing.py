"""The machine steps that route segments: onto their routers, looked at from every zone, and off again.

Called by: ``workflows.steps``, ``delivery.remove``. Must not: decide the order, or keep a transaction open across a
call to a router. Where a segment goes is written down and committed before a router hears of it
(``segment_attachment``): a worker that is lost between router and row does the same again, and the undo knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from broker.delivery import provision
from broker.delivery.provision import Result, again
from broker.delivery.tools import Pace, Tools
from broker.delivery.values import Job
from broker.extranet import service
from broker.extranet.networks import Network
from broker.extranet.repairing import under_repair
from broker.inventory.models import Resource
from broker.lifecycle import ResourceState
from providers.errors import ActionRequired, Permanent, ProviderError, Temporary
from providers.networking import Outcomes, SegmentSpec

_READY = ResourceState.READY.value
_TAKEN = "extranet.vni_in_use"
_BUSY = Temporary("extranet.router_busy", "reconcile", retry_after_s=2.0)


def route(tools: Tools, job: Job, pace: Pace) -> bool:
    """Bring a delivery's segments onto their routers. One that is refused has failed alone."""
    step = "route_segments"
    with tools.works.begin() as work:
        resources = provision.begin_step(work, job, step)
        segments = [r for r in resources if r.kind == "segment" and r.state == _READY]
        refused = service.attach(work, job.sub_cloud, segments)
        specs = _specs(work.session, segments)
        busy = under_repair(work.session, [s.id for s in specs])
    result = provision.start_result(resources, failed=refused)
    _sort(result, dict.fromkeys(busy, _BUSY))
    if specs := [s for s in specs if s.id not in busy]:
        outcomes = _asked(tools, specs, lambda network: network.provider.create(specs))
        _sort(result, outcomes)
        if taken := [i for i, error in outcomes.items() if error is not None and error.code == _TAKEN]:
            with tools.works.begin() as work:
                service.refused(work, taken)
    return provision.finish_step(tools, job, step, result, pace)


def verify(tools: Tools, job: Job, pace: Pace) -> bool:
    """Look whether the segments answer in their zone and nowhere else; one that does not has failed."""
    step = "verify_segments"
    with tools.works.begin() as work:
        resources = provision.begin_step(work, job, step)
        specs = _specs(work.session, [r for r in resources if r.kind == "segment" and r.state == _READY])
    result = provision.start_result(resources)
    if specs:
        verdicts = _asked(tools, specs, lambda network: network.provider.verify(specs).verdicts)
        _sort(result, verdicts)
        with tools.works.begin() as work:
            service.verified(work, [i for i, wrong in verdicts.items() if wrong is None])
    return provision.finish_step(tools, job, step, result, pace)


def withdraw(tools: Tools, resources: Sequence[Resource], pace: Pace) -> dict[UUID, str]:
    """Take segments off their routers, if they are on any; returns what could not be, with a code.

    They keep their place until the sub-cloud has let go of it too (``free``): a VNI that a network is still on must not
    be another segment's. Raises TryAgainError while a router gives no clear answer and attempts are left.
    """
    segments = [r for r in resources if r.kind == "segment"]
    if not segments:
        return {}
    with tools.works.begin() as work:
        specs = _specs(work.session, segments)
        busy = under_repair(work.session, [s.id for s in specs])
    outcomes: dict[UUID, ProviderError | None] = dict.fromkeys(busy, _BUSY)
    if specs := [s for s in specs if s.id not in busy]:
        outcomes |= _asked(tools, specs, lambda network: network.provider.delete(specs))
    stuck = {i: error for i, error in outcomes.items() if error is not None}
    if not pace.last:
        for error in stuck.values():
            if not isinstance(error, Permanent | ActionRequired):
                raise again(error)
    return {i: error.code for i, error in stuck.items()}


def free(tools: Tools, resources: Sequence[Resource]) -> None:
    """Segments that are on no router and in no cloud any more: their VNIs are free again."""
    segments = [r.id for r in resources if r.kind == "segment"]
    if segments:
        with tools.works.begin() as work:
            service.withdrawn(work, segments)


def _asked(tools: Tools, specs: Sequence[SegmentSpec], ask: Callable[[Network], Outcomes]) -> Outcomes:
    """What the network says of segments that have a place; without one that this worker can speak to, why not."""
    try:
        network = tools.networks()
        if network is not None:
            return ask(network)
        error: ProviderError = ActionRequired("extranet.no_topology")
    except ProviderError as said:
        error = said
    return dict.fromkeys((s.id for s in specs), error)


def _specs(session: Session, segments: Sequence[Resource]) -> list[SegmentSpec]:
    return service.specs(session, service.attachments(session, [s.id for s in segments]))


def _sort(result: Result, outcomes: Mapping[UUID, ProviderError | None]) -> None:
    for resource_id, error in outcomes.items():
        if isinstance(error, Permanent | ActionRequired):
            result.failed[resource_id] = error.code
        elif error is not None:
            result.unclear[resource_id] = error

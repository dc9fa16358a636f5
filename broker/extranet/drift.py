"""Compares the routers with the plan and the rows: missing, changed, extra, rogue; repairs ours, reports the rest.

Called by: ``guiyun reconcile``, the worker every hour. Must not: touch what does not carry an id of ours, or a segment
whose delivery or release is on its way (that may put it right itself).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import select

from broker.db.base import AnyRow
from broker.extranet import looks, service, telling
from broker.extranet.differences import Gap, RouterDrift, Rows, compare
from broker.extranet.models import SegmentAttachment
from broker.extranet.networks import Network, Networks
from broker.extranet.repairing import repairing
from broker.extranet.values import fact
from broker.inventory.models import Resource
from broker.lifecycle import ResourceState
from broker.tenancy.work import Work, WorkFactory
from providers.errors import ProviderError
from providers.networking import NO_PREFIX, RouterFacts, SegmentSpec

_HANDED_OVER = {ResourceState.ACTIVE.value, ResourceState.STOPPED.value}
_OVER = {ResourceState.RELEASED.value, ResourceState.UNDONE.value}
_REPAIRED = {Gap.MISSING, Gap.CHANGED, Gap.EXTRA}


def reconcile(networks: Networks, works: WorkFactory, *, repair: bool = True) -> list[RouterDrift] | None:
    """Compare, repair what is ours, tell operators of what is new. None: there is no extranet to compare.

    Raises ActionRequired ``extranet.no_key`` when there is one that this process cannot speak to.
    """
    network = networks()
    if network is None:
        return None
    heard, found = _look(network, works)
    left = found
    if repair and any(d.gap in _REPAIRED and d.spec is not None for d in found):
        acted = _repair(network, works, found)
        heard, left = _look(network, works)
        found = _after(found, acted, left)
    with works.begin() as work:
        looks.keep(work, heard, found)
        service.withdrawn(work, _gone(work, heard, left))
        telling.tell(work, network.loaded, found)
    return found


def _look(network: Network, works: WorkFactory) -> tuple[Sequence[RouterFacts], list[RouterDrift]]:
    """Ask every router, and compare. Only what the rows said before *and* after the answers is held against a router.

    An audit takes seconds. What is delivered or taken back meanwhile is neither missing nor too much.
    """
    with works.begin() as work:
        before = _rows(work)
    heard = network.provider.audit()
    with works.begin() as work:
        after = _rows(work)
    agreed = {i: spec for i, spec in after.settled.items() if before.settled.get(i) == spec}
    moving = before.busy | after.busy | (before.settled.keys() | after.settled.keys()) - agreed.keys()
    rows = Rows(agreed, frozenset(moving), before.coming | after.coming)
    return heard, list(compare(network.loaded.topology, rows, heard))


Acted = Mapping[tuple[bool, UUID], ProviderError | None]
"""What a repair came to, by whether something was taken away, and the segment's id."""


def _repair(network: Network, works: WorkFactory, found: Sequence[RouterDrift]) -> Acted:
    """Take away what is ours and should not be there, bring back what is missing or changed.

    What rows say is read once more when nobody can deliver or release these segments any more before we are through
    (``repairing``): what was put right or taken back since the look is left alone. What goes goes first: a segment that
    was moved into another table has the VNI that it needs in its own.
    """
    ours = [(d, d.spec) for d in found if d.gap in _REPAIRED and d.spec is not None]
    with repairing(works.sessions, {spec.id for _, spec in ours}):
        with works.begin() as work:
            rows, places = _rows(work), _places(work)
            extra = [s for d, s in ours if d.gap is Gap.EXTRA and _is_too_much(d, s, rows, places)]
            extra = _with_prefixes(work, extra)
        back = [spec for d, spec in ours if d.gap is not Gap.EXTRA and rows.settled.get(spec.id) == spec]
        gone = network.provider.delete(extra) if extra else {}
        made = network.provider.update(back) if back else {}
    return {(True, i): error for i, error in gone.items()} | {(False, i): error for i, error in made.items()}


def _is_too_much(drift: RouterDrift, spec: SegmentSpec, rows: Rows, places: Mapping[UUID, tuple[str, str]]) -> bool:
    """Whether it still is: nobody has been given this place meanwhile. What carries no id is known by its interface."""
    if any(each.code == "unfinished" for each in drift.facts):
        return (spec.router, f"seg{spec.vni}") not in rows.coming
    return places.get(spec.id) != (spec.router, spec.vrf)


def _with_prefixes(work: Work, extra: Sequence[SegmentSpec]) -> list[SegmentSpec]:
    """What has lost its address may still be written to be announced: rows know which prefix it had in its table."""
    lost = [spec.id for spec in extra if spec.prefix == NO_PREFIX]
    known = service.prefixes_of(work.session, lost)
    return [
        replace(s, prefix=known[s.id, s.vrf]) if s.prefix == NO_PREFIX and (s.id, s.vrf) in known else s for s in extra
    ]


def _after(found: Sequence[RouterDrift], acted: Acted, left: Sequence[RouterDrift]) -> list[RouterDrift]:
    """What to say of the first look once there was a second; what only the second one found is said as well.

    Repaired is what the next look does not find any more, whatever the repair said of itself.
    """
    still = {d.place for d in left}
    told: list[RouterDrift] = []
    for drift in found:
        key = (drift.gap is Gap.EXTRA, drift.spec.id) if drift.spec is not None else None
        if drift.gap not in _REPAIRED or (key not in acted and drift.place in still):
            told.append(drift)
        elif key is not None and key in acted:
            error = acted[key]
            facts = drift.facts if error is None else (*drift.facts, fact("unrepaired", trouble=error.code))
            told.append(replace(drift, facts=facts, repaired=error is None and drift.place not in still))
    known = {d.place for d in found}
    return told + [d for d in left if d.place not in known]


def _live(work: Work) -> Sequence[AnyRow]:
    """Segments that have a place, with their resource's state."""
    statement = (
        select(SegmentAttachment, Resource.state)
        .join(Resource, Resource.id == SegmentAttachment.resource_id)
        .where(SegmentAttachment.withdrawn_at.is_(None))
    )
    return work.session.execute(statement).all()


def _rows(work: Work) -> Rows:
    """On their way is what may still become something, or is being taken back; what is over is not."""
    found = _live(work)
    settled = [a for a, state in found if state in _HANDED_OVER]
    busy = frozenset(a.resource_id for a, state in found if state not in _HANDED_OVER | _OVER)
    coming = frozenset((a.router, f"seg{a.vni}") for a, _ in found)
    return Rows({spec.id: spec for spec in service.specs(work.session, settled)}, busy, coming)


def _places(work: Work) -> dict[UUID, tuple[str, str]]:
    """Router and table of each segment that rightly has a place."""
    return {a.resource_id: (a.router, a.vrf) for a, state in _live(work) if state not in _OVER}


def _gone(work: Work, heard: Sequence[RouterFacts], left: Sequence[RouterDrift]) -> list[UUID]:
    """Segments that are over, still have a place in the rows, and are on their router no more: their VNIs are free."""
    tables = {(f.router, vrf) for f in heard if f.error is None for vrf in f.facts.get("vrfs", {})}
    there = {(d.router, d.subject) for d in left if d.gap is Gap.EXTRA}
    return [
        a.resource_id
        for a, state in _live(work)
        if state in _OVER and (a.router, a.vrf) in tables and (a.router, f"seg{a.vni}") not in there
    ]

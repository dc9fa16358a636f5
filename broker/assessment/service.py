"""Stage 3's use-cases: propose, confirm (with what the assessor changed), send back, let go, expire (Art. 17(3)).

Called by: the API; dispatch (holds whose date has passed). Must not: call a cloud: what clouds have left is in
``quotas``, how they feel is what they last said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Network
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, column, select, text, true

from broker.assessment import rules
from broker.assessment.models import Assessment, Placement
from broker.assessment.planning import Placed, plan_resources
from broker.assessment.values import Judgement, Wish, judgement_json
from broker.catalog import repository as catalog
from broker.db.base import new_id
from broker.errors import Busy, Conflict, Invalid, Problem
from broker.extranet import service as extranet
from broker.extranet.space import Space
from broker.inventory import rules as scarce
from broker.inventory.models import Resource
from broker.inventory.repository import node_names
from broker.lifecycle import ItemState, RequestEvent, RequestState, Role, after
from broker.notify import service as notify
from broker.pricing import service as pricing
from broker.pricing.values import Quote
from broker.region.plan import candidate_pools
from broker.request import clocks, repository
from broker.request import service as requests
from broker.request.clocks import ARTICLE, Stage
from broker.request.models import RequestItem, ServiceRequest
from broker.request.rules import item_quantities
from broker.request.values import SegmentItem, item_from, item_spec
from broker.tenancy.rules import mandate
from broker.tenancy.values import Mandate
from broker.tenancy.work import Work
from quotas import availability
from quotas import service as quotas
from quotas.errors import PoolFull, PrefixBusy, QuotaExceeded, UnknownPool
from quotas.ipv6 import service as ipv6

_UNIT_FACTS = (
    text("""
SELECT u.kind AS unit_kind, up.ancestors, coalesce(s.mlps_level, 1) AS mlps_level,
  (SELECT id FROM broker.extranet_topology ORDER BY id DESC LIMIT 1) AS topology_id,
  ARRAY(SELECT a.code FROM broker.unit a WHERE a.id = ANY(up.ancestors || u.id)) AS lineage,
  (SELECT h.article FROM unnest(up.ancestors) WITH ORDINALITY a(id, depth)
    JOIN broker.home_cloud h ON h.unit_id = a.id AND h.during @> CAST(:now AS timestamptz)
    ORDER BY a.depth DESC LIMIT 1) AS home_article
FROM broker.unit u JOIN broker.unit_period up ON up.unit_id = u.id AND up.during @> CAST(:now AS timestamptz)
LEFT JOIN broker.information_system s ON s.id = :system
WHERE u.id = :unit
""")
    .columns(*map(column, ("unit_kind", "ancestors", "mlps_level", "topology_id", "lineage", "home_article")))
    .subquery("facts")
)

_ITEMS_AND_FACTS = (
    select(RequestItem, _UNIT_FACTS)
    .join(_UNIT_FACTS, true())
    .where(RequestItem.revision_id == bindparam("revision"))
    .order_by(RequestItem.ordinal)
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the system proposes: for each item every candidate's verdicts (best first), the choice, and the cost."""

    request: ServiceRequest
    wishes: tuple[Wish, ...]
    judgements: Mapping[int, tuple[Judgement, ...]]
    chosen: Mapping[int, UUID | None]
    quote: Quote
    ancestors: tuple[UUID, ...]
    space: Space | None
    """Where the extranet has space for the unit; None without an extranet."""

    @property
    def complete(self) -> bool:
        """Every item has a place."""
        return all(self.chosen.values())


@dataclass(frozen=True, slots=True)
class Changes:
    """What the assessor changed, by the item's place in the form: its cloud (by code) and sizes."""

    clouds: Mapping[int, str]
    sizes: Mapping[int, Mapping[str, int]]


NOTHING = Changes({}, {})
_RESIZABLE = {
    "server": ("vcpu", "memory_gib", "system_disk_gib", "count"),
    "volume": ("size_gib", "count"),
    "segment": ("count",),
}


def propose(work: Work, request_id: UUID, changes: Changes = NOTHING) -> Proposal:
    """Size, place and cost a request as it stands, with changes tried on. Changes nothing."""
    return _propose(work, repository.load(work.session, work.actor, request_id), changes)


def _propose(work: Work, request: ServiceRequest, changes: Changes) -> Proposal:
    assert request.target_cloud_id is not None
    about = {"revision": request.revision_id, "unit": request.unit_id, "system": request.system_id, "now": work.now}
    rows = work.session.execute(_ITEMS_AND_FACTS, about).all()
    wishes = tuple(_wish(row.RequestItem, changes.sizes) for row in rows)
    unit: Any = rows[0]  # a revision has items, and each row says the unit's facts
    space = None
    if unit.topology_id is not None and any(isinstance(w.item, SegmentItem) for w in wishes):
        space = extranet.space_of(work.session, unit.topology_id, unit.lineage)
    candidates, home = catalog.candidates(work.session, unit_id=request.unit_id, now=work.now)
    asked = rules.Asked(
        unit_kind=unit.unit_kind,
        mlps_level=unit.mlps_level,
        target_id=request.target_cloud_id,
        home_id=home,
        home_article=unit.home_article or "",
        authorities=_authorities(request),
        attached=None if space is None else space.attachable,
    )
    stock = availability.pool_left(work.session, [c.id for c in candidates])
    left = {pool: {kind: s.left for kind, s in classes.items()} for pool, classes in stock.items()}
    judgements = {w.ordinal: tuple(rules.judge(w, wishes, asked, candidates, left)) for w in wishes}
    chosen = {w.ordinal: _choose(judgements[w.ordinal], changes.clouds.get(w.ordinal)) for w in wishes}
    return Proposal(
        request=request,
        wishes=wishes,
        judgements=judgements,
        chosen=chosen,
        quote=_quote(work, wishes, chosen),
        ancestors=tuple(unit.ancestors),
        space=space,
    )


def _authorities(request: ServiceRequest) -> dict[str, UUID]:
    duties = {
        "decide": request.deciding_unit_id,
        "assess": request.assessing_unit_id,
        "deliver": request.delivering_unit_id,
    }
    return {duty: unit for duty, unit in duties.items() if unit is not None}


def _wish(row: RequestItem, sizes: Mapping[int, Mapping[str, int]]) -> Wish:
    """The item as asked, with the assessor's sizes in place of the unit's."""
    wanted = sizes.get(row.ordinal, {})
    unknown = [name for name in wanted if name not in _RESIZABLE[row.kind]]
    wrong = [name for name, value in wanted.items() if not 0 < value <= 32768]
    if unknown or wrong:
        raise Invalid([Problem("size.refused", f"items[{row.ordinal}].{name}") for name in (*unknown, *wrong)])
    item = item_from(row.kind, wanted.get("count", row.count), {**row.spec, **wanted})
    return Wish(row.id, row.ordinal, item)


def _choose(judgements: Sequence[Judgement], wanted: str | None) -> UUID | None:
    """The best that passes every filter; an assessor's choice must pass them too."""
    for judgement in judgements:
        if judgement.passed and wanted in (None, judgement.code):
            return judgement.sub_cloud_id
    return None


def _quote(work: Work, wishes: Sequence[Wish], chosen: Mapping[int, UUID | None]) -> Quote:
    """The monthly cost where the items are placed; an item without a place is costed at the general price."""
    by_cloud: dict[UUID | None, dict[str, int]] = {}
    for wish in wishes:
        held = by_cloud.setdefault(chosen[wish.ordinal], {})
        for meter, amount in item_quantities(wish.item).items():
            held[meter] = held.get(meter, 0) + amount * wish.item.count
    parts = [pricing.quote_for(work.session, held, cloud, work.now) for cloud, held in by_cloud.items()]
    return Quote(
        lines=tuple(line for part in parts for line in part.lines),
        total_fen=sum(part.total_fen for part in parts),
        missing=tuple(meter for part in parts for meter in part.missing),
    )


def confirm(
    work: Work, request_id: UUID, *, revision_id: UUID, hold_days: int, changes: Changes = NOTHING, reason: str = ""
) -> ServiceRequest:
    """Confirm sizing and placement: hold quota, capacity and prefixes until a date, all or nothing.

    Raises Conflict ``revision.stale``, ``state.refused``, ``system.left``, ``placement.none`` (with the items that have
    no place), what the routers' plan says of a prefix (``extranet.prefix_outside_plan``, …); Forbidden;
    ``quotas.errors.QuotaExceeded`` and ``PoolFull`` (what is short, and where).
    """
    request = repository.load(work.session, work.actor, request_id, lock=True)
    by = _assessor(work, request)
    state = after(RequestState(request.state), RequestEvent.CONFIRM, frozenset({Role.ASSESSOR}))
    if request.revision_id != revision_id:
        raise Conflict("revision.stale", seen=str(revision_id), current=str(request.revision_id))
    _require_system(work, request)
    proposal = _propose(work, request, changes)
    if not proposal.complete:
        where = [f"items[{n}]" for n, cloud in proposal.chosen.items() if cloud is None]
        raise Conflict("placement.none", field=where[0], items=where)
    expires_at = work.now + timedelta(days=hold_days)
    holds = _hold(work, proposal, expires_at)
    placed = Placed(request, proposal.wishes, proposal.chosen, holds)
    plan_resources(work, placed, lambda segment: _allocate(work, segment, proposal, expires_at))
    assert request.delivering_unit_id is not None
    held = requests.items_at(request, ItemState.HELD)
    late = clocks.hand_on(work, request, Stage.ASSESSMENT, Stage.DELIVERY, request.delivering_unit_id, held)
    request.state = state.value
    request.version += 1
    _write(work, proposal, by, late=late, reason=reason, expires_at=expires_at, changes=changes)
    audience = (request.delivering_unit_id, Role.OPERATOR)
    notify.tell_role(work, audience, "delivery.waiting", ("request", request.id), number=request.number)
    return request


def _assessor(work: Work, request: ServiceRequest) -> Mandate:
    requester = frozenset({request.applicant_id})
    return mandate(work.actor, Role.ASSESSOR, request.assessing_unit_id, except_for=requester)


_SYSTEM = text("""
SELECT s.retired_at IS NULL AND p.ancestors @> ARRAY[CAST(:unit AS uuid)] FROM broker.information_system s
JOIN broker.unit_period p ON p.unit_id = s.unit_id AND p.during @> CAST(:now AS timestamptz)
WHERE s.id = :system FOR SHARE OF s
""")


def _require_system(work: Work, request: ServiceRequest) -> None:
    """The system is still the unit's to ask for, and stays it until the resources are planned.

    Raises Conflict ``system.left``: it went to another unit, was merged or ended since the request was handed in.
    """
    about = {"system": request.system_id, "unit": request.unit_id, "now": work.now}
    if request.system_id is not None and not work.session.scalar(_SYSTEM, about):
        raise Conflict("system.left", field="system", article="Art. 28")


def _hold(work: Work, proposal: Proposal, expires_at: Any) -> dict[UUID, UUID]:
    """One hold for each sub-cloud; the transaction keeps all of them or none."""
    holds = {}
    clouds = sorted({c for c in proposal.chosen.values() if c is not None})
    if len(clouds) > 1:
        quotas.alone(work.session)
    for cloud in clouds:
        parts = [rules.item_amounts(w.item) for w in proposal.wishes if proposal.chosen[w.ordinal] == cloud]
        try:
            holds[cloud] = quotas.hold(
                work.session,
                owner=proposal.request.id,
                node=proposal.request.unit_id,
                below=proposal.request.system_id,
                lines=scarce.lines(scarce.total(parts), cloud),
                expires_at=expires_at,
            )
        except QuotaExceeded as error:
            raise _exceeded(work, error) from error
    return holds


def _exceeded(work: Work, error: QuotaExceeded) -> Conflict:
    """Every limit that refuses, each as a problem of its own that says whose it is."""
    nodes = [refusal.node for refusal in error.refusals if refusal.node is not None]
    names = node_names(work.session, nodes, work.now)
    names |= catalog.names(work.session, (refusal.pool for refusal in error.refusals))
    conflict = Conflict("quota.exceeded")
    conflict.problems = tuple(scarce.refused(refusal, names) for refusal in error.refusals)
    return conflict


def _allocate(work: Work, segment: Resource, proposal: Proposal, expires_at: Any) -> None:
    """Take a prefix for a segment from the unit's own block of the zone, or the nearest one above it.

    The routers' plan has to contain it as well: what the two plans do not agree on is for people, before delivery.
    """
    for pool in candidate_pools(proposal.ancestors, segment.spec["zone"]):
        try:
            allocation = ipv6.allocate(work.session, pool_id=pool, owner=segment.id, length=64, expires_at=expires_at)
        except UnknownPool:
            continue
        except PoolFull as error:
            raise Conflict("prefix.pool_full", zone=segment.spec["zone"], fits=error.fits) from error
        except PrefixBusy as error:
            raise Busy("prefix.busy") from error  # anew, without the counters that others wait for
        break
    else:
        raise Conflict("prefix.no_pool", zone=segment.spec["zone"])
    segment.prefix = str(allocation.prefix)
    segment.routing_domain = allocation.routing_domain
    if proposal.space is not None:
        codes = {j.sub_cloud_id: j.code for judged in proposal.judgements.values() for j in judged}
        prefix = IPv6Network(segment.prefix)
        if refused := proposal.space.refusal(codes[segment.sub_cloud_id], segment.spec["zone"], prefix):
            raise Conflict(refused, zone=segment.spec["zone"], prefix=segment.prefix)


def _write(
    work: Work, proposal: Proposal, by: Mandate, *, late: bool, reason: str, expires_at: Any, changes: Changes
) -> None:
    request = proposal.request
    assessment = Assessment(
        id=new_id(),
        request_id=request.id,
        revision_id=request.revision_id,
        outcome="confirm",
        reason=reason.strip(),
        hold_expires_at=expires_at,
        quote=proposal.quote.to_json(),
        monthly_fen=proposal.quote.total_fen,
        decided_by=by.account_id,
        on_behalf_of=by.on_behalf_of,
        decided_at=work.now,
        late=late,
    )
    work.session.add(assessment)
    for wish in proposal.wishes:
        cloud = proposal.chosen[wish.ordinal]
        work.session.add(
            Placement(
                assessment_id=assessment.id,
                item_id=wish.item_id,
                sub_cloud_id=cloud,
                overridden=wish.ordinal in changes.clouds or wish.ordinal in changes.sizes,
                spec={"count": wish.item.count, **item_spec(wish.item)},
                candidates=[
                    judgement_json(j, chosen=j.sub_cloud_id == cloud) for j in proposal.judgements[wish.ordinal]
                ],
            )
        )
    work.record(
        "request.assessed",
        "request",
        request.id,
        request_id=request.id,
        mandate=by,
        article=ARTICLE[Stage.ASSESSMENT],
        data={"assessment": str(assessment.id), "monthly_fen": proposal.quote.total_fen, "late": late},
    )


def send_back(work: Work, request_id: UUID, *, revision_id: UUID, reason: str) -> ServiceRequest:
    """Return the request to the applicant; assessment's clock stands still until it has been approved again.

    Raises Conflict ``revision.stale``, ``state.refused``; Forbidden; Invalid ``reason.missing``.
    """
    request = repository.load(work.session, work.actor, request_id, lock=True)
    by = _assessor(work, request)
    if request.revision_id != revision_id:
        raise Conflict("revision.stale", seen=str(revision_id), current=str(request.revision_id))
    request.state = after(RequestState(request.state), RequestEvent.SEND_BACK, frozenset({Role.ASSESSOR})).value
    if not reason.strip():
        raise Invalid([Problem("reason.missing", "reason")])
    request.version += 1
    clocks.stop(work, request, Stage.ASSESSMENT)
    work.session.add(
        Assessment(
            id=new_id(),
            request_id=request.id,
            revision_id=revision_id,
            outcome="return",
            reason=reason.strip(),
            quote={},
            monthly_fen=0,
            decided_by=by.account_id,
            on_behalf_of=by.on_behalf_of,
            decided_at=work.now,
            late=False,
        )
    )
    about = ("request", request.id)
    notify.tell_account(work, request.applicant_id, "assessment.return", about, number=request.number)
    work.record("request.returned", "request", request.id, request_id=request.id, mandate=by, article="Art. 17(3)")
    return request


def latest(work: Work, request_id: UUID) -> Assessment | None:
    """The last assessment of a request."""
    statement = select(Assessment).where(Assessment.request_id == request_id).order_by(Assessment.id.desc()).limit(1)
    return work.session.scalar(statement)


def placements(work: Work, assessment_id: UUID) -> list[Placement]:
    """Where each item went, with every candidate's verdicts, in the form's order."""
    statement = (
        select(Placement)
        .join(RequestItem, RequestItem.id == Placement.item_id)
        .where(Placement.assessment_id == assessment_id)
        .order_by(RequestItem.ordinal)
    )
    return list(work.session.scalars(statement))

"""What an operator does to the address plan by hand, each with its audit event.

Called by: ``guiyun ipv6`` (the operator's access to the database is his permission). Must not: count quota, commit.

A unit's quota is what its requests were granted: the request road holds and posts it with the resource. What an
operator hands out or grows by hand (links between routers, a region's own services, a repair) is nobody's request and
counts in no unit's quota; ``beside_quota`` says how much that is, so that it is seen and not discovered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Network
from uuid import UUID, uuid5

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from broker.inventory.models import Resource
from broker.tenancy.repository import unit_names
from broker.tenancy.work import Work
from quotas import models
from quotas.errors import BadPrefix, QuotaError, UnknownPool
from quotas.ipv6 import operating, service, transfer
from quotas.ipv6.values import Allocation, PrefixState, SweptPrefix, Wish


@dataclass(frozen=True, slots=True)
class BesideQuota:
    """Prefixes in use (held or active) against units' quota, in whole /64s.

    ``by_hand``: of no resource with a hold. ``grown_64``: what prefixes of requested segments, each one /64 in the
    quota, are by now beyond that.
    """

    by_hand: int
    by_hand_64: int
    grown_64: int


def beside_quota(session: Session) -> BesideQuota:
    """How much of the plan is in use without being counted in a unit's quota. One statement."""
    a = models.prefix_allocation.c
    counted = Resource.hold_id.is_not(None)
    row = session.execute(
        select(
            func.count().filter(counted.is_not(True)),
            func.coalesce(func.sum(a.count_64).filter(counted.is_not(True)), 0),
            func.coalesce(func.sum(a.count_64 - 1).filter(counted), 0),
        )
        .select_from(models.prefix_allocation)
        .outerjoin(Resource, Resource.id == a.owner)
        .where(a.state.in_((PrefixState.HELD, PrefixState.ACTIVE)))
    ).one()
    return BesideQuota(*map(int, row))


def owner_of(given: str) -> UUID:
    """An owner's id; any other word names the same owner each time."""
    try:
        return UUID(given)
    except ValueError:
        return uuid5(transfer.NAMESPACE, given)


def owners(session: Session, ids: Iterable[UUID], now: datetime) -> dict[UUID, str]:
    """What owners of prefixes are called: the unit and its segment; else the label of the last prefix they had."""
    wanted = set(ids)
    segments = session.execute(
        select(Resource.id, Resource.unit_id, Resource.name).where(Resource.id.in_(wanted))
    ).all()
    units = unit_names(session, (s.unit_id for s in segments), now)
    found = {s.id: f"{units.get(s.unit_id, '')} {s.name}".strip() for s in segments}
    a = models.prefix_allocation.c
    labelled = select(a.owner, a.label).where(a.owner.in_(wanted - set(found)), a.label != "").order_by(a.id)
    return {row.owner: row.label for row in session.execute(labelled)} | found


def pool_of(work: Work, given: str, routing_domain: str = "") -> UUID:
    """A pool by its id or prefix. UnknownPool; BadPrefix: no prefix, or (ambiguous) several private plans have it."""
    try:
        return UUID(given)
    except ValueError:
        prefix = service.network_of(given)
    p, d = models.prefix_pool, models.routing_domain
    found = work.session.execute(
        select(p.c.id, p.c.hands_out)
        .join(d, d.c.id == p.c.domain_id)
        .where(p.c.prefix == str(prefix), *([d.c.code == routing_domain] if routing_domain else []))
        .order_by(p.c.hands_out.desc())
    ).all()
    if not found:
        raise UnknownPool(given)
    if sum(row.hands_out == found[0].hands_out for row in found) > 1:
        raise BadPrefix("ambiguous", given)
    known: UUID = found[0].id
    return known


def allocate(work: Work, wishes: Sequence[Wish]) -> list[Allocation | QuotaError]:
    """Hand out prefixes; each wish is answered for itself."""
    answers = service.allocate_many(work.session, wishes)
    for answer in answers:
        if isinstance(answer, Allocation):
            _record(work, "allocated", answer)
    return answers


def release(work: Work, owner: UUID, *, prefix: str | None, quarantine_days: int) -> Allocation:
    """Give back; an active prefix rests for so many days."""
    until = work.now + timedelta(days=quarantine_days)
    return _record(work, "released", operating.give_back(work.session, owner, quarantine_until=until, prefix=prefix))


def grow(work: Work, owner: UUID, length: int) -> Allocation:
    """Make a prefix shorter where it is."""
    return _record(work, "grown", operating.grow(work.session, owner, length))


def reserve(work: Work, routing_domain: str, prefix: str, reason: str) -> Allocation:
    """Keep a range free. Without a routing domain it must follow from the prefix. BadPrefix: outside, ambiguous."""
    domain = routing_domain or _only_domain(work, service.network_of(prefix))
    made = operating.reserve(work.session, routing_domain=domain, prefix=prefix, reason=reason)
    return _record(work, "reserved", made)


def _only_domain(work: Work, prefix: IPv6Network) -> str:
    p, d = models.prefix_pool, models.routing_domain
    found = work.session.scalars(
        select(d.c.code).distinct().join(p, d.c.id == p.c.domain_id).where(p.c.prefix.bool_op(">>=")(str(prefix)))
    ).all()
    if len(found) != 1:
        raise BadPrefix("ambiguous" if found else "outside", str(prefix))
    return str(found[0])


def lift(work: Work, reservation: UUID) -> Allocation:
    """End a reservation."""
    return _record(work, "lifted", operating.lift(work.session, reservation))


def sweep(work: Work) -> list[SweptPrefix]:
    """Free what is due: expired holds and quarantines that ended. The worker does the same all the time."""
    return service.sweep(work.session, work.now)


def take_over(
    work: Work, rows: Sequence[Mapping[str, str]], *, partial: bool, dry_run: bool, first: int = 1
) -> transfer.Report:
    """Import existing prefixes; one event says how many."""
    report = transfer.take_over(work.session, rows, partial=partial, dry_run=dry_run, first=first)
    if report.written:
        counts = transfer.as_json(report)["counts"]
        work.record("prefix.imported", "prefix_plan", transfer.NAMESPACE, data=counts)
    return report


def _record(work: Work, what: str, allocation: Allocation) -> Allocation:
    data = {"prefix": str(allocation.prefix), "owner": str(allocation.owner), "state": allocation.state.value}
    work.record(f"prefix.{what}", "prefix", allocation.id, data=data)
    return allocation

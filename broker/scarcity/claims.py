"""Lent capacity is claimed back by notice: who needs his own share, who is asked to give back how much of it (ours).

Called by: dispatch, with the other dates that have come (requests that wait for assessment); the command line, where a
hold was refused. Must not: take anything back. What a borrower gives back is the lender's, since the lender stays
within its share and the borrower does not (``quotas.borrowing``).

A claim is made for a request (or a hold's owner) that would pass but for what others have borrowed: it stays within
the nominal shares on its way, and is short only where one of them is lent out. It is told once: to the people of the
borrower and to the Information Center. It is closed when nobody waits for it any more or there is room; should the same
be short again later, it is opened and told once more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import exists, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from broker.catalog import repository as catalog
from broker.catalog.models import SubCloud, SubCloudAuthority
from broker.db.base import AnyRow, new_id
from broker.inventory.models import InformationSystem
from broker.inventory.repository import node_names
from broker.inventory.rules import Amounts
from broker.lifecycle import RequestState, Role
from broker.notify import service as notify
from broker.request import repository
from broker.request.models import ServiceRequest
from broker.request.values import item_from
from broker.scarcity import asked
from broker.scarcity.models import QuotaClaim
from broker.tenancy.models import Unit
from broker.tenancy.work import Work
from quotas import availability, borrowing, models, rules
from quotas.values import Cause, Limit, Line, ResourceClass

_PATIENCE = timedelta(days=7)
"""How long a refused hold is taken to be still wanted (ours); a request says itself whether it waits."""

_PEOPLE = (Role.APPLICANT, Role.UNIT_LEADER, Role.CLOUD_CHIEF)


@dataclass(frozen=True, slots=True)
class Due:
    """So much of the borrower's use is asked back, so that the lender can use ``wanted`` of its own share."""

    owner: UUID
    lender: UUID
    borrower: Limit
    wanted: int
    amount: int

    @property
    def key(self) -> tuple[object, ...]:
        """What names the claim."""
        return (self.owner, self.lender, self.borrower.node, self.borrower.resource_class.value, self.borrower.pool)


def look(work: Work) -> int:
    """Claim for every approved request that waits because its share is lent out; close what is over.

    Returns how many notices were new. Two statements while nobody borrows and nothing is claimed.
    """
    opened = work.session.scalars(select(QuotaClaim).where(QuotaClaim.closed_at.is_(None))).all()
    lent = select(
        exists().where(models.node_limit.c.used + models.node_limit.c.booked > models.node_limit.c.limit_amount)
    )
    waiting = _waiting(work) if work.session.scalar(lent) else []
    dues = [due for owner, node, pool, amounts in waiting for due in _dues(work, owner, node, pool, amounts)]
    told = _claim(work, dues)
    kept = {due.key for due in dues}
    over = [claim for claim in opened if _key(claim) not in kept and not _still_short(work, claim)]
    if over:
        work.session.execute(
            update(QuotaClaim).where(QuotaClaim.id.in_([claim.id for claim in over])).values(closed_at=work.now)
        )
    return told


def for_refused(work: Work, *, owner: UUID, node: UUID, lines: Sequence[Line]) -> int:
    """A hold was refused: claim what of the node's own share is lent out. Returns how many notices were new."""
    by_pool: defaultdict[UUID, Amounts] = defaultdict(dict)
    for line in lines:
        by_pool[line.pool][line.resource_class] = int(line.amount) + by_pool[line.pool].get(line.resource_class, 0)
    return _claim(work, [d for pool, amounts in by_pool.items() for d in _dues(work, owner, node, pool, amounts)])


def _waiting(work: Work) -> Iterator[tuple[UUID, UUID, UUID, Amounts]]:
    """Of each request that waits for its hold: its id, the node and the cloud it would be counted at, and what of."""
    rows = work.session.scalars(
        select(ServiceRequest)
        .where(ServiceRequest.state == RequestState.APPROVED.value, ServiceRequest.target_cloud_id.is_not(None))
        .order_by(ServiceRequest.id)
    ).all()
    systems = [row.system_id for row in rows if row.system_id is not None]
    known = set(work.session.scalars(select(models.node.c.id).where(models.node.c.id.in_(systems))))
    for row in rows:
        node = row.system_id if row.system_id is not None and row.system_id in known else row.unit_id
        items = [item_from(item.kind, item.count, item.spec) for item in repository.items(work.session, row)]
        assert row.target_cloud_id is not None
        yield row.id, node, row.target_cloud_id, asked.total(items)


def _dues(work: Work, owner: UUID, node: UUID, pool: UUID, amounts: Amounts) -> list[Due]:
    """Who would have to give back what so that these amounts pass; empty when they pass, or would not even then."""
    seen = availability.snapshot(work.session, node)
    lines = [Line(kind, amount, pool) for kind, amount in sorted(amounts.items())]
    short = {(r.node, r.resource_class, r.pool) for r in rules.explain(seen, lines) if r.cause is Cause.LIMIT}
    chains: defaultdict[tuple[ResourceClass, UUID | None], list[Limit]] = defaultdict(list)
    for limit in seen.limits if short else ():
        chains[limit.resource_class, limit.pool].append(limit)
    found: list[Due] = []
    for chain in chains.values():
        wanted = sum(amount for kind, amount in amounts.items() if rules.meets(chain[0], kind, pool))
        for own, above in pairwise(chain):
            place = (above.node, above.resource_class, above.pool)
            if place in short and own.load + wanted <= own.limit and (dues := _of(work, owner, own, above, wanted)):
                short.discard(place)
                found += dues
            wanted -= min(max(own.guaranteed - own.load, 0), wanted)  # what fills a guarantee is booked above already
    return [] if short else found


def _of(work: Work, owner: UUID, own: Limit, above: Limit, wanted: int) -> list[Due]:
    cohort = availability.cohort(work.session, above.node, own.resource_class, own.pool)
    if cohort is None:
        return []
    limits = {limit.node: limit for limit in (cohort.parent, *cohort.members)}
    due = borrowing.claims(cohort, own.node, wanted)
    asked_above = wanted - max(own.guaranteed - own.load, 0)
    if above.load + asked_above - sum(due.values()) > above.ceiling:
        return []  # what is borrowed would not suffice: nobody gives back for nothing
    return [Due(owner, own.node, limits[borrower], wanted, amount) for borrower, amount in due.items()]


def _still_short(work: Work, claim: QuotaClaim) -> bool:
    """Of a claim that no waiting request makes: whether it is a refused hold's, and there is still no room for it."""
    if work.now - claim.made_at > _PATIENCE or work.session.get(ServiceRequest, claim.owner) is not None:
        return False
    limits = [
        limit
        for limit in availability.snapshot(work.session, claim.lender_id).limits
        if (limit.resource_class.value, limit.pool) == (claim.resource_class, claim.pool_id)
    ]
    if len(limits) < 2 or limits[0].node != claim.lender_id:
        return False
    dues = _of(work, claim.owner, limits[0], limits[1], claim.wanted)
    return any(due.borrower.node == claim.borrower_id for due in dues)


def _key(claim: QuotaClaim | AnyRow) -> tuple[object, ...]:
    return (claim.owner, claim.lender_id, claim.borrower_id, claim.resource_class, claim.pool_id)


def _claim(work: Work, dues: Sequence[Due]) -> int:
    """Write claims that are new, or were closed; tell of just those. Returns how many notices were new."""
    if not dues:
        return 0
    statement = insert(QuotaClaim).values(
        [
            {
                "id": new_id(),
                "owner": due.owner,
                "lender_id": due.lender,
                "borrower_id": due.borrower.node,
                "resource_class": due.borrower.resource_class.value,
                "pool_id": due.borrower.pool,
                "wanted": due.wanted,
                "amount": due.amount,
                "times": 1,
                "made_at": work.now,
            }
            for due in dues
        ]
    )
    renewed = {name: statement.excluded[name] for name in ("wanted", "amount", "made_at")}
    made = work.session.execute(
        statement.on_conflict_do_update(
            index_elements=["owner", "lender_id", "borrower_id", "resource_class", "pool_id"],
            set_=renewed | {"times": QuotaClaim.times + 1, "closed_at": None},
            where=QuotaClaim.closed_at.is_not(None),
        ).returning(*QuotaClaim.__table__.columns)
    ).all()
    by_key = {due.key: due for due in dues}
    around = _around(work, made)
    return notify.remind(work, [notice for row in made for notice in _notices(row, by_key[_key(row)], around)])


@dataclass(frozen=True, slots=True)
class _Around:
    names: Mapping[UUID, str]
    units: Mapping[UUID, AnyRow]
    center: UUID | None


def _around(work: Work, rows: Sequence[AnyRow]) -> _Around:
    """Names of nodes and clouds; of each borrower its unit; and the Center, which delivers for the main cloud."""
    if not rows:
        return _Around({}, {}, None)
    names = node_names(work.session, (n for row in rows for n in (row.lender_id, row.borrower_id)), work.now)
    names |= catalog.names(work.session, (row.pool_id for row in rows))
    borrowers = [row.borrower_id for row in rows]
    units = work.session.execute(
        select(Unit.id.label("node_id"), Unit.id, Unit.code)
        .where(Unit.id.in_(borrowers))
        .union_all(
            select(InformationSystem.id, Unit.id, Unit.code)
            .join(Unit, Unit.id == InformationSystem.unit_id)
            .where(InformationSystem.id.in_(borrowers))
        )
    )
    center = work.session.scalar(
        select(SubCloudAuthority.unit_id)
        .join(SubCloud, SubCloud.id == SubCloudAuthority.sub_cloud_id)
        .where(
            SubCloud.tier == "main", SubCloudAuthority.duty == "deliver", SubCloudAuthority.during.contains(work.now)
        )
    )
    return _Around(names, {row.node_id: row for row in units}, center)


def _notices(row: AnyRow, due: Due, around: _Around) -> Iterator[dict[str, Any]]:
    unit = around.units.get(row.borrower_id)
    people = [] if unit is None else [(unit.id, role) for role in _PEOPLE]
    people += [] if around.center is None else [(around.center, Role.OPERATOR)]
    common = {
        "code": "quota.claimed" if row.pool_id is None else "quota_in_cloud.claimed",
        "params": {
            "class": row.resource_class,
            "lender": around.names.get(row.lender_id, str(row.lender_id)),
            "unit": around.names.get(row.borrower_id, str(row.borrower_id)),
            "unit_code": "" if unit is None else unit.code,
            "cloud": around.names.get(row.pool_id, "") if row.pool_id else "",
            "wanted": row.wanted,
            "amount": row.amount,
            "used": due.borrower.load,
            "limit": due.borrower.limit,
        },
        "subject_type": "unit" if unit is not None else "quota_claim",
        "subject_id": row.id if unit is None else unit.id,
        "account_id": None,
    }
    for unit_id, role in dict.fromkeys(people):
        dedupe = f"claim/{row.id}/{row.times}/{unit_id}/{role.value}"
        yield common | {"unit_id": unit_id, "role": role.value, "dedupe": dedupe}


@dataclass(frozen=True, slots=True)
class Claim:
    """An open claim, as it is shown; nodes by their names."""

    claim: QuotaClaim
    lender: str
    borrower: str
    cloud: str


def open_claims(work: Work, node_ids: Iterable[UUID]) -> list[Claim]:
    """The open claims that one of the nodes makes or is asked by, the oldest first. For whom may see these nodes."""
    nodes = list(node_ids)
    rows = work.session.scalars(
        select(QuotaClaim)
        .where(QuotaClaim.closed_at.is_(None), or_(QuotaClaim.lender_id.in_(nodes), QuotaClaim.borrower_id.in_(nodes)))
        .order_by(QuotaClaim.made_at, QuotaClaim.id)
    ).all()
    names = node_names(work.session, (n for row in rows for n in (row.lender_id, row.borrower_id)), work.now)
    names |= catalog.names(work.session, (row.pool_id for row in rows))
    return [
        Claim(
            row,
            names.get(row.lender_id, str(row.lender_id)),
            names.get(row.borrower_id, str(row.borrower_id)),
            names.get(row.pool_id, "") if row.pool_id else "",
        )
        for row in rows
    ]

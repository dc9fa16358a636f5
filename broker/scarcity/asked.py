"""What is asked for beside what is there: old, asked, new and what is left, class by class, and which limit binds.

Called by: the form, the decision and the assessment, in the console and over HTTP. Must not: decide; the hold does when
it counts, and until then another may be faster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from broker.assessment.rules import item_amounts
from broker.catalog import repository as catalog
from broker.inventory import rules as scarce
from broker.inventory.repository import node_names
from broker.inventory.rules import Amounts
from broker.request import facts, form, repository
from broker.request.models import ServiceRequest
from broker.request.values import Item, item_from
from broker.tenancy.work import Work
from quotas import availability, rules
from quotas.values import Left, Line, Refusal, ResourceClass


@dataclass(frozen=True, slots=True)
class Row:
    """One class. ``used`` is what the unit's tree holds now (old); ``left`` None: no limit on the way to the root.

    ``bound_by`` is whose limit leaves least; None with a finite ``left``: the cloud's own stock does.
    """

    resource_class: ResourceClass
    pool: UUID | None
    used: int
    asked: int
    limit: int | None
    left: int | None
    bound_by: UUID | None

    @property
    def new(self) -> int:
        """What the unit's tree would hold."""
        return self.used + self.asked

    @property
    def fits(self) -> bool:
        return self.left is None or self.asked <= self.left

    @property
    def remains(self) -> int | None:
        """What would be left afterwards; below zero: so much is missing."""
        return None if self.left is None else self.left - self.asked


@dataclass(frozen=True, slots=True)
class Asked:
    """A form or request beside what is there. ``in_cloud`` is empty as long as no cloud is known."""

    unit: tuple[Row, ...]
    in_cloud: tuple[Row, ...]
    refusals: tuple[Refusal, ...]
    unit_id: UUID
    node_id: UUID
    """Where it would be counted: the unit's node, or that of the information system where it has one."""
    cloud_id: UUID | None
    names: Mapping[UUID, str]
    """What the units, systems and the cloud that are meant are called."""

    @property
    def of_system(self) -> bool:
        """The rows are those of the information system, which has a node of its own."""
        return self.node_id != self.unit_id

    @property
    def tighter_in_cloud(self) -> tuple[Row, ...]:
        """Where the cloud leaves less than the unit's quota over all clouds does: by its stock, or a limit for it."""
        wide = {row.resource_class: row.left for row in self.unit}
        return tuple(row for row in self.in_cloud if _less(row, [wide.get(k) for k in row.resource_class.counted_as]))


def _less(row: Row, others: Iterable[int | None]) -> bool:
    return row.left is not None and all(other is None or row.left < other for other in others)


def total(items: Iterable[Item]) -> Amounts:
    """What items take together, by the class that a hold would name."""
    return scarce.total(item_amounts(item) for item in items)


def of_form(work: Work, raw: Mapping[str, Any]) -> Asked | None:
    """A form while it is being filled in, for its unit, in the cloud it would go to. None: no unit that one may see."""
    parsed, _ = form.read(raw)
    found = facts.look_up(work, parsed)
    if found.unit_id is None:
        return None
    cloud = found.cloud.id if found.cloud else None
    return compare(work, found.unit_id, cloud, total(parsed.items), system_id=found.system_id)


def of_request(work: Work, request: ServiceRequest) -> Asked:
    """The revision in force, for its unit, in the cloud it goes to."""
    rows = repository.items(work.session, request)
    items = [item_from(row.kind, row.count, row.spec) for row in rows]
    return compare(work, request.unit_id, request.target_cloud_id, total(items), system_id=request.system_id)


def compare(
    work: Work, unit_id: UUID, cloud_id: UUID | None, asked: Amounts, *, system_id: UUID | None = None
) -> Asked:
    """Amounts beside the unit's quota and, where the cloud is known, what it has left for this unit.

    Where the information system has a node of its own: beside the system's, as its hold will be counted there.
    """
    node = availability.lowest(work.session, [system_id]) or unit_id
    wide: dict[ResourceClass, int] = {}
    for kind, amount in asked.items():
        for counted in kind.counted_as:
            wide[counted] = wide.get(counted, 0) + amount
    unit = [_row(left, None, wide) for left in availability.left(work.session, node)]
    in_cloud: list[Row] = []
    refusals: tuple[Refusal, ...] = ()
    if cloud_id is not None:
        offered = {left.resource_class: left for left in availability.left(work.session, node, cloud_id)}
        # What the cloud does not offer at all is asked for in vain: a row with nothing left.
        missing = [Left(kind, cloud_id, 0, None, 0, None) for kind in asked if kind not in offered]
        in_cloud = [_row(left, cloud_id, asked) for left in (*offered.values(), *missing)]
        lines = [Line(kind, amount, cloud_id) for kind, amount in sorted(asked.items())]
        refusals = rules.explain(availability.snapshot(work.session, node, [cloud_id]), lines)
    # A class that is kept by architecture is told by the wider one, unless a limit of its own stands on it.
    unit = [r for r in unit if r.limit is not None or (r.resource_class.counts_in is None and (r.asked or r.used))]
    in_cloud = [row for row in in_cloud if row.asked]
    rows = [*unit, *in_cloud]
    nodes = {r.bound_by for r in rows} | {r.node for r in refusals} | {node}
    names = node_names(work.session, nodes, work.now)
    names |= catalog.names(work.session, [cloud_id])
    return Asked(
        unit=tuple(unit),
        in_cloud=tuple(in_cloud),
        refusals=refusals,
        unit_id=unit_id,
        node_id=node,
        cloud_id=cloud_id,
        names=names,
    )


def _row(left: Left, pool: UUID | None, asked: Mapping[ResourceClass, int]) -> Row:
    kind = left.resource_class
    return Row(kind, pool, left.used, asked.get(kind, 0), left.limit, left.left, left.bound_by)

"""What later stages know of a system that went to another unit or was merged goes along, in the same transaction.

Called by: the use-cases of this room, after the register has moved the resources. Must not: move a resource, count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, select, text

from broker.chargeback import repository as money
from broker.errors import Conflict
from broker.inventory.models import InformationSystem
from broker.lifecycle import RequestState, Role
from broker.notify import service as notify
from broker.reclamation import following as cases
from broker.request.models import ServiceRequest
from broker.tenancy.repository import unit_names
from broker.tenancy.work import Work

_DONE = (RequestState.DELIVERED.value, RequestState.PARTLY_DELIVERED.value)
_TOLD = (Role.APPLICANT, Role.CLOUD_CHIEF)
"""Who of both units is told: who looks after resources, and the cloud chief (Art. 5)."""

_MERGED_NOW = text("""
SELECT id FROM broker.information_system WHERE retired_at = :now AND ended_kind = 'merged' ORDER BY id
""")


def merged_now(work: Work) -> list[UUID]:
    """The systems that this transaction has merged into others."""
    return list(work.session.scalars(_MERGED_NOW, {"now": work.now}))


def follow(work: Work, moves: Sequence[tuple[InformationSystem, UUID]]) -> None:
    """What is known of systems follows them: requests, cases. ``moves``: each, as it is now, and its unit until now.

    Raises Conflict ``system.in_flight``, ``system.case_mixed``, ``month.closing``.
    """
    if not moves:
        return
    ids = [system.id for system, _ in moves]
    cases.refuse_while_given_back(work, ids)
    for system, before in moves:
        head = _head(work, system)
        _requests(work, ServiceRequest.system_id == system.id, head.unit_id, head.id)
        if head.unit_id != before:
            if not money.hold_closes(work.session):
                raise Conflict("month.closing")
            _tell(work, system, (before, head.unit_id))
    cases.pass_on(work, ids)


def _head(work: Work, system: InformationSystem) -> InformationSystem:
    if system.merged_into_id is None:
        return system
    return work.session.get_one(InformationSystem, system.merged_into_id)


def follow_unit(work: Work, unit_id: UUID, into: UUID) -> None:
    """What is known of a unit that was merged, beside its systems, is the other's. Raises as ``follow``."""
    cases.refuse_while_given_back(work, [], unit_id)
    if not money.hold_closes(work.session):
        raise Conflict("month.closing")
    _requests(work, ServiceRequest.unit_id == unit_id, into)
    cases.pass_on(work, [])


def _requests(work: Work, which: ColumnElement[bool], unit_id: UUID, system_id: UUID | None = None) -> None:
    """Requests whose resources are in use: the term, its renewal and giving back are the new unit's from now on.

    Whoever has one locked wants the resources next, which are ours already: he is not waited for.
    """
    wanted = select(ServiceRequest).where(which, ServiceRequest.state.in_(_DONE))
    there = dict(work.session.execute(wanted.with_only_columns(ServiceRequest.id, ServiceRequest.number)).all())
    lock = wanted.order_by(ServiceRequest.id).with_for_update(skip_locked=True)
    for request in work.session.scalars(lock.execution_options(populate_existing=True)).all():
        data = {"from": str(request.unit_id), "to": str(unit_id), "system": str(system_id or request.system_id or "")}
        request.unit_id, request.system_id = unit_id, system_id or request.system_id
        request.version += 1
        there.pop(request.id, None)
        work.record("request.passed_on", "request", request.id, request_id=request.id, article="Art. 28", data=data)
    if there:
        raise Conflict("system.in_flight", what=min(there.values()))


def _tell(work: Work, system: InformationSystem, units: tuple[UUID, UUID]) -> None:
    names = unit_names(work.session, units, work.now)
    said = {"name": system.name, "old": names.get(units[0], ""), "new": names.get(units[1], "")}
    for audience in ((unit, role) for unit in units for role in _TOLD):
        notify.tell_role(work, audience, "system.passed_on", ("system", system.id), **said)


def units_of(work: Work, system_ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """Whose each system is."""
    rows = work.session.execute(
        select(InformationSystem.id, InformationSystem.unit_id).where(InformationSystem.id.in_(list(system_ids)))
    )
    return {row.id: row.unit_id for row in rows}

"""A system of the register goes to another unit: offices are merged and split (机构改革), its entry says since when.

Called by: ``reorganisation``, which takes along what later stages know of it. Must not: be called beside it, or write
that anything was so before today.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select

from broker.catalog import repository as catalog
from broker.errors import Conflict, Invalid, NotFound, Problem, Stale
from broker.inventory import nodes, owners, register
from broker.inventory.models import InformationSystem
from broker.lifecycle import Role
from broker.tenancy.models import Unit, UnitPeriod
from broker.tenancy.repository import holds
from broker.tenancy.rules import mandate
from broker.tenancy.values import Mandate
from broker.tenancy.work import Work


def move(work: Work, system_id: UUID, *, to: str, reason: str, version: int | None) -> InformationSystem:
    """The Bureau, which keeps the whole register (Art. 28), gives a system to the unit with the code ``to``.

    What the register said stays as a revision; who answers for it in the old unit does so no more. Its live resources
    and what is counted of them go along (``owners``, ``nodes``). Raises NotFound ``system.not_found``, Forbidden
    (``tenancy.rules.mandate``), Stale ``version.stale``; Conflict ``system.ended``, ``system.in_flight``,
    ``system.no_room`` (a limit of the new unit does not bear it); Invalid with all of ``reason.missing``,
    ``unit.unknown`` (no unit of today), ``system.same_unit``.
    """
    by = mandate(work.actor, Role.APPROVER, catalog.main_authority(work.session, "decide", work.now))
    system = work.session.get(InformationSystem, system_id, with_for_update={"key_share": True}, populate_existing=True)
    if system is None:
        raise NotFound("system.not_found")
    if version not in {None, system.version}:
        raise Stale("version.stale", found=system.version)
    if system.retired_at is not None:
        raise Conflict("system.ended")
    unit_id = work.session.scalar(
        select(Unit.id)
        .join(UnitPeriod, UnitPeriod.unit_id == Unit.id)
        .where(Unit.code == to.strip(), holds(UnitPeriod.during, work.now), UnitPeriod.merged_into_id.is_(None))
    )
    problems = [] if reason.strip() else [Problem("reason.missing", "reason")]
    if unit_id is None:
        problems.append(Problem("unit.unknown", "unit"))
    elif unit_id == system.unit_id:
        problems.append(Problem("system.same_unit", "unit"))
    if problems or unit_id is None:
        raise Invalid(problems)
    take(work, system, unit_id, reason=reason.strip(), by=by)
    return system


def take(work: Work, system: InformationSystem, unit_id: UUID, *, reason: str, by: Mandate | None = None) -> None:
    """A system that is locked goes to the unit, with its resources and what is counted of them. Raises as ``move``."""
    what = owners.lock(work, [system.id])[system.id]
    nodes.go(work, system, unit_id, what.holds)
    before = system.unit_id
    system.unit_id, system.owner_person_id = unit_id, None
    system.version += 1
    work.session.flush()
    owners.hand_over(work, what, unit_id)
    register.note_revision(work, system, "move")
    data = {"code": system.code, "from": str(before), "to": str(unit_id), "reason": reason}
    data["resources"] = str(len(what.resources))
    work.record("system.moved", "system", system.id, mandate=by, article="Art. 28", data=data)

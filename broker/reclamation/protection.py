"""What the policies' exemptions protect by its name: no case is opened over it, nor over what it would come along with.

Called by: ``opening``, for whatever opens a case but the end of a term. Must not: open the case.

What is exempt because it is new, by its level, or for a season is left alone by detection only: a person may know more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import any_, select

from broker.errors import Conflict
from broker.inventory.models import InformationSystem, Resource
from broker.tenancy.models import Unit, UnitPeriod
from broker.tenancy.repository import holds
from broker.tenancy.work import Work
from broker.utilisation.values import Exemption, Policy, PolicySet

_NONE = frozenset[str]()


def of_all(policies: PolicySet) -> tuple[Exemption, ...]:
    """What holds against a person's word: whatever an exemption of the file names, by resource, system or unit."""
    return tuple(e for e in policies.exemptions.values() if not e.months and (e.resources or e.systems or e.units))


def of_policy(policy: Policy, policies: PolicySet) -> tuple[Exemption, ...]:
    """What holds against a policy: what its own exemptions name, and each resource that any of them names.

    That a system or unit is exempt from one policy says nothing of another; a disk that somebody named does not go
    with its server, whatever found that one.
    """
    own = _with_included(policies, policy.exempt)
    return tuple(e if e.name in own else replace(e, systems=_NONE, units=_NONE) for e in of_all(policies))


def _with_included(policies: PolicySet, names: Sequence[str]) -> set[str]:
    """The file has no cycles."""
    out = set(names)
    for name in names:
        out |= _with_included(policies, policies.exemptions[name].includes)
    return out


def check(work: Work, protected: Sequence[Exemption], resources: Sequence[Resource]) -> None:
    """Raises Conflict ``reclaim.protected`` with the first resource that an exemption names, and why it does."""
    units = _units(work, {r.unit_id for r in resources}) if any(e.units for e in protected) else {}
    systems = _systems(work, resources) if any(e.systems for e in protected) else {}
    for each in sorted(resources, key=lambda r: r.number):
        names = {str(each.id), each.number, each.ref}
        system = systems.get(each.system_id) if each.system_id is not None else None
        for one in protected:
            if names & one.resources or system in one.systems or not one.units.isdisjoint(units.get(each.unit_id, ())):
                raise Conflict("reclaim.protected", resource=each.number, reason=one.reason)


def _units(work: Work, ids: set[UUID]) -> dict[UUID, set[str]]:
    """Each unit's own code and those of all above it."""
    rows = work.session.execute(
        select(UnitPeriod.unit_id, Unit.code)
        .join(Unit, Unit.id == any_(UnitPeriod.ancestors))
        .where(UnitPeriod.unit_id.in_(ids), holds(UnitPeriod.during, work.now))
    )
    out: dict[UUID, set[str]] = {}
    for row in rows:
        out.setdefault(row.unit_id, set()).add(row.code)
    return out


def _systems(work: Work, resources: Sequence[Resource]) -> dict[UUID, str]:
    ids = {r.system_id for r in resources if r.system_id is not None}
    rows = work.session.execute(select(InformationSystem.id, InformationSystem.code).where(InformationSystem.id.in_(ids)))
    return {row.id: row.code for row in rows}

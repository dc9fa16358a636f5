"""What the policies' exemptions protect by its name: no case is opened over it, nor over what it would come along with.

Called by: ``opening``, for whatever opens a case but the end of a term; ``policies``. Must not: open the case.

What is exempt because it is new, by its level, or for a season is left alone by detection only: a person may know more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import String, any_, cast, or_, select

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
    own = with_included(policies, policy.exempt)
    return tuple(e if e.name in own else replace(e, systems=_NONE, units=_NONE) for e in of_all(policies))


def with_included(policies: PolicySet, names: Sequence[str]) -> dict[str, Exemption]:
    """These exemptions and what they include, by name. The file has no cycles."""
    out: dict[str, Exemption] = {}
    for name in names:
        out[name] = policies.exemptions[name]
        out |= with_included(policies, out[name].includes)
    return out


def unknown(work: Work, exemptions: Iterable[Exemption]) -> frozenset[str]:
    """What exemptions name and nobody has: a resource, a system or a unit that is misspelt protects nothing."""
    listed = list(exemptions)
    found: set[str] = set()
    if resources := {name for e in listed for name in e.resources}:
        ids = cast(Resource.id, String)
        named = or_(Resource.number.in_(resources), Resource.ref.in_(resources), ids.in_(resources))
        for row in work.session.execute(select(Resource.number, Resource.ref, ids.label("id")).where(named)):
            found |= {row.number, row.ref, row.id} & resources
    missing = resources - found
    for column, names in (
        (InformationSystem.code, {name for e in listed for name in e.systems}),
        (Unit.code, {name for e in listed for name in e.units}),
    ):
        missing |= names - set(work.session.scalars(select(column).where(column.in_(names)))) if names else set()
    return frozenset(missing)


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
    named = select(InformationSystem.id, InformationSystem.code).where(InformationSystem.id.in_(ids))
    return {row.id: row.code for row in work.session.execute(named)}

"""A case over what a person names: anything but what the policies protect by its name, its system's or its unit's.

Called by: the API, the console, before ``opening.open_case``. Must not: open the case.

What is exempt because it is new, by its level, or for a season is left alone by detection only: a person may know more.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from broker.errors import Conflict
from broker.inventory.models import InformationSystem, Resource
from broker.reclamation.values import Cause, Opening
from broker.tenancy.repository import codes_above
from broker.tenancy.work import Work
from broker.utilisation.values import PolicySet


def named(work: Work, policies: PolicySet, ids: Sequence[UUID], reason: str) -> Opening:
    """What to open over these resources. Raises Conflict ``reclaim.protected`` with the first and why it is."""
    by_name = [e for e in policies.exemptions.values() if not e.months and (e.resources or e.systems or e.units)]
    if by_name:
        above = codes_above(work.session, work.now)
        rows = work.session.execute(
            select(Resource.id, Resource.number, Resource.ref, Resource.unit_id, InformationSystem.code)
            .outerjoin(InformationSystem, InformationSystem.id == Resource.system_id)
            .where(Resource.id.in_(ids))
            .order_by(Resource.number)
        )
        for row in rows:
            for each in by_name:
                mine = {str(row.id), row.number, row.ref} & each.resources or row.code in each.systems
                if mine or above.get(row.unit_id, frozenset()) & each.units:
                    raise Conflict("reclaim.protected", resource=row.number, reason=each.reason)
    return Opening(Cause.PERSON, tuple(ids), reason)

"""Reclaim cases as they are shown.

Called by: the routes, the console's pages. Must not: write, or decide.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from api.schemas import reclaim as schemas
from broker.db.base import AnyRow
from broker.reclamation import board
from broker.reclamation.models import ReclaimCase
from broker.tenancy.work import Work

_OF_ROW = ("unit_name", "sub_cloud", "sub_cloud_name", "system_name", "resources")


def line(row: AnyRow) -> schemas.CaseLine:
    """A case in a list."""
    around = {name: getattr(row, name) or "" for name in _OF_ROW} | {"resources": row.resources}
    return schemas.CaseLine.model_validate(_columns(row[0], schemas.CaseLine, around))


def case(work: Work, case_id: UUID) -> schemas.Case:
    """A case with everything. Raises NotFound ``reclaim.not_found``."""
    work.session.flush()
    file = board.file(work, case_id)
    around = {
        "unit_name": file.unit_name,
        "sub_cloud": file.sub_cloud,
        "sub_cloud_name": file.sub_cloud_name,
        "system_name": file.system_name,
        "resources": len(file.resources),
        "parts": [_part(row) for row in file.resources],
        "objections": file.objections,
        "acts": file.acts,
        "offers": board.offers(work, file.case),
    }
    return schemas.Case.model_validate(_columns(file.case, schemas.Case, around))


def _part(row: AnyRow) -> schemas.CaseResource:
    resource = row[0]
    return schemas.CaseResource(
        id=resource.id,
        number=resource.number,
        kind=resource.kind,
        name=resource.name,
        state=resource.state,
        was_active=row.was_active,
    )


def _columns(found: ReclaimCase, schema: type[schemas.CaseLine], around: dict[str, Any]) -> dict[str, Any]:
    names = schema.model_fields.keys() - around.keys()
    return {name: getattr(found, name) for name in names} | around

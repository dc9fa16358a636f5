"""Reclaim cases as they are shown.

Called by: the routes, the console's pages. Must not: write, or decide.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from api.schemas import reclaim as schemas
from api.texts import utilisation as words
from api.views.grounds import grounds
from broker.db.base import AnyRow
from broker.reclamation import board, missing, watched
from broker.reclamation.models import ReclaimCase
from broker.reclamation.policies import Standing, Version
from broker.reclamation.report import TakenBack
from broker.tenancy.work import Work
from broker.utilisation.values import OURS

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
        "siblings": [schemas.CaseSibling.model_validate(each) for each in board.siblings(work, file.case)],
        "watched": watched.of(work, file.case),
        "offers": board.offers(work, file.case),
        "grounds": grounds(file.case),
        "basis": _basis(file.case),
    }
    return schemas.Case.model_validate(_columns(file.case, schemas.Case, around))


def desk(work: Work) -> list[schemas.CaseOnDesk]:
    """What of the actor's authority's cases a person has to see to, then what he should know of."""
    found: list[tuple[ReclaimCase, list[str]]] = [(row[0], []) for row in board.in_trouble(work)]
    found += watched.desk(work)
    return [
        schemas.CaseOnDesk(
            id=case.id,
            number=case.number,
            state=case.state,
            trouble=case.trouble,
            trouble_step=case.trouble_step,
            watched=why,
        )
        for case, why in found
    ]


def lost(work: Work) -> list[schemas.LostResource]:
    """What is lost in no case, at clouds that the actor delivers for."""
    return [
        schemas.LostResource(
            id=row[0].id,
            number=row[0].number,
            kind=row[0].kind,
            name=row[0].name,
            unit_name=row.unit_name or "",
            sub_cloud=row.sub_cloud,
            sub_cloud_name=row.sub_cloud_name,
            error_code=row[0].error_code,
            lost_at=row.lost_at,
        )
        for row in missing.listed(work)
    ]


def _part(row: AnyRow) -> schemas.CaseResource:
    resource = row[0]
    return schemas.CaseResource(
        id=resource.id,
        number=resource.number,
        kind=resource.kind,
        name=resource.name,
        state=resource.state,
        error_code=resource.error_code,
        was_active=row.was_active,
    )


def _basis(case: ReclaimCase) -> str | None:
    basis = case.policy_content.get("basis")
    return "" if basis == OURS else basis


def _columns(found: ReclaimCase, schema: type[schemas.CaseLine], around: dict[str, Any]) -> dict[str, Any]:
    names = schema.model_fields.keys() - around.keys()
    return {name: getattr(found, name) for name in names} | around


def policy(found: Standing) -> schemas.Policy:
    """A policy, and whether it acts."""
    said = found.policy
    return schemas.Policy(
        name=said.name,
        title=said.title,
        version=found.version,
        digest=found.digest,
        basis=said.basis,
        days=said.days,
        grace=dict(said.grace_working_days),
        kind=said.kind,
        condition=words.condition(said),
        exemptions=[words.exemption(each, found.unknown) for each in found.exemptions],
        on=found.on is not None,
        on_since=found.on.switched_on_at if found.on else None,
        on_by=found.on.switched_on_by if found.on else None,
        changed=found.was_on is not None,
        dry_run=schemas.DryRun.model_validate(found.dry_run) if found.dry_run else None,
    )


def version(found: Version) -> schemas.PolicyVersion:
    """A content that a policy has had."""
    own = {name: getattr(found.row, name) for name in schemas.PolicyVersion.model_fields if hasattr(found.row, name)}
    return schemas.PolicyVersion.model_validate(own | {"dry_runs": found.dry_runs, "last_run_at": found.last_run_at})


_CSV = (
    ("月份", "month"),
    ("单位", "unit_name"),
    ("云平台", "sub_cloud_name"),
    ("事项", "cases"),
    ("资源", "resources"),
    ("vCPU", "vcpu"),
    ("内存（GiB）", "memory_gib"),
    ("存储（GiB）", "block_gib"),
    ("网段", "segments"),
    ("每月费用（分）", "monthly_fen"),
)


def report_csv(rows: Sequence[TakenBack]) -> str:
    """What was taken back, as spreadsheets read it: a byte-order mark, and nothing that they take for a formula."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([title for title, _ in _CSV])
    for row in rows:
        values = [str(getattr(row, name)) for _, name in _CSV]
        writer.writerow([f"'{v}" if v[:1] in "=+-@\t" else v for v in values])
    return "\ufeff" + out.getvalue()


def end_of(work: Work, day: date) -> datetime:
    """The instant after a day's last, as the region counts days; no further than anything that may be asked for."""
    day = min(max(day, date(2000, 1, 1)), date(9000, 1, 1))
    return datetime.combine(day + timedelta(days=1), time.min, work.calendar.zone)

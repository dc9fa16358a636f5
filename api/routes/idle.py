"""What is idle, over HTTP: findings of the daily detection, of resources that one may see.

Called by: the offices, units that look at their own, ``guiyun idle list``. Must not: hold rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic_core import to_jsonable_python

from api.paging import Paged
from api.permissions import Permission, allowed, needs
from api.schemas.idle import Evidence, Finding, FindingPage, FindingSum, Sizing
from api.texts.utilisation import evidence_words, risk_words
from api.uow import Uow
from broker.inventory import repository as inventory
from broker.reclamation import board as reclaim
from broker.request import repository
from broker.tenancy.work import Work
from broker.utilisation import board, sizing
from broker.utilisation.board import Listed
from broker.utilisation.findings import FindingKind
from broker.utilisation.sizing import Proposal

router = APIRouter(prefix="/api/v1", tags=["闲置检测"])


@router.get(
    "/findings", response_model=FindingPage, summary="闲置检测结果", openapi_extra=needs(Permission.RESOURCE_READ)
)
def findings(
    uow: Uow,
    page: Paged,
    *,
    kind: Annotated[list[FindingKind], Query(description="种类，可多选")] = [],  # noqa: B006 - FastAPI copies it
    sub_cloud: Annotated[str, Query(max_length=40, description="云平台代码")] = "",
    resource: Annotated[UUID | None, Query(description="资源")] = None,
    ended: Annotated[bool, Query(description="已结束的")] = False,
) -> Response:
    """现有的闲置检测结果，每月费用高的在前；`ended` 为真时是已经结束的，`cleared_because` 说明原因。"""

    def read(work: Work) -> Any:
        rows = board.listed(
            work,
            kinds=kind,
            sub_cloud=sub_cloud,
            resource_id=resource,
            ended=ended,
            after=page.after,
            limit=page.fetch,
        )
        return page.render(rows, _viewer(work, rows), lambda row: row.finding.id)

    return uow.read(read, render=lambda found: found)


@router.get(
    "/findings/sums",
    response_model=list[FindingSum],
    summary="闲置检测结果合计",
    openapi_extra=needs(Permission.RESOURCE_READ),
)
def finding_sums(uow: Uow) -> Response:
    """按种类：多少条、涉及多少个资源、这些资源每月的费用（目录价）。"""
    return uow.read(board.sums, render=lambda rows: [FindingSum.model_validate(row) for row in rows])


@router.get(
    "/findings/{finding_id}",
    response_model=Finding,
    summary="一条闲置检测结果",
    openapi_extra=needs(Permission.RESOURCE_READ),
)
def finding(finding_id: UUID, uow: Uow) -> Response:
    """依据、起止日期、天数与每月费用。"""

    def read(work: Work) -> Finding:
        row = board.one(work, finding_id)
        return _viewer(work, [row])(row)

    return uow.read(read, render=lambda found: found)


@router.get(
    "/resources/{resource_id}/sizing",
    response_model=Sizing | None,
    summary="规格建议",
    openapi_extra=needs(Permission.RESOURCE_READ),
)
def resource_sizing(resource_id: UUID, uow: Uow) -> Response:
    """按近 30 天的监测数据建议更小的规格、每月节省与风险；没有建议时为空（自定规则）。"""
    servers, now = uow.look(
        lambda work: (
            inventory.resource(work.session, work.actor, resource_id, now=work.now)
            and sizing.servers_of(work, resource_id=resource_id),
            work.now,
        )
    )
    found = sizing.proposals(uow.core.settings, servers, now)
    return JSONResponse(to_jsonable_python(_sizing(found[0]) if found else None))


@router.get(
    "/requests/{request_id}/sizing",
    response_model=list[Sizing],
    summary="同一信息系统在用主机的规格建议",
    openapi_extra=needs(Permission.ASSESSMENT_READ),
)
def request_sizing(request_id: UUID, uow: Uow) -> Response:
    """评估新申请时参考：这个系统现有的主机是否用得上现在的规格。"""
    servers, now = uow.look(lambda work: (_of_system(work, request_id), work.now))
    found = sizing.proposals(uow.core.settings, servers, now)
    return JSONResponse(to_jsonable_python([_sizing(each) for each in found]))


def _of_system(work: Work, request_id: UUID) -> list[sizing.Server]:
    request = repository.load(work.session, work.actor, request_id)
    return sizing.servers_of(work, system_id=request.system_id) if request.system_id else []


_NEEDS = ("hours", "cpu_avg_p95", "cpu_max_p95", "cpu_peak", "memory_p95_gib", "memory_peak_gib")
_SIZES = ("resource_id", "number", "name", "vcpu", "memory_gib", "to_vcpu", "to_memory_gib", "saved_fen")


def _sizing(made: Proposal) -> Sizing:
    return Sizing(
        **{name: getattr(made, name) for name in _SIZES},
        **{name: getattr(made.needs, name) for name in _NEEDS},
        risks=[risk.value for risk in made.risks],
        risk=risk_words(made),
    )


_OWN = (
    "id",
    "resource_id",
    "policy",
    "policy_version",
    "object_ref",
    "first_day",
    "last_day",
    "days",
    "monthly_fen",
    "scanned_on",
    "found_at",
    "cleared_at",
    "cleared_because",
)
_RESOURCE = ("number", "name", "resource_kind", "unit_name", "system_name", "sub_cloud", "sub_cloud_name")


def _viewer(work: Work, rows: Sequence[Listed]) -> Callable[[Listed], Finding]:
    """Shows findings, each with the open case of its resource."""
    ids = [row.finding.resource_id for row in rows]
    cases = reclaim.open_cases(work, ids) if allowed(work.actor, Permission.RECLAIM_READ) else {}

    def show(row: Listed) -> Finding:
        case = cases.get(row.finding.resource_id)
        return view(row, case.number if case is not None else None)

    return show


def view(row: Listed, case_number: str | None) -> Finding:
    """A finding with its resource, its reason in words."""
    found = row.finding
    return Finding(
        **{name: getattr(found, name) for name in _OWN},
        **{name: getattr(row, name) for name in _RESOURCE},
        kind=found.kind.value,
        evidence=[Evidence(code=each.code, params=dict(each.params)) for each in found.evidence],
        reason=evidence_words(found.evidence),
        case_number=case_number,
    )

"""Reclaim cases over HTTP: opened, objected to, answered, undone, proposed, confirmed.

Called by: the units and the authorities. Must not: call a cloud: people write rows, the worker acts on them.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.paging import Paged
from api.permissions import Permission, needs
from api.schemas.reclaim import Case, CasePage, CaseReason, NewAnswer, NewCase
from api.uow import Uow
from api.views import reclaim as views
from broker.lifecycle import CaseState
from broker.reclamation import board, cases, opening
from broker.reclamation.models import ReclaimCase
from broker.reclamation.values import Answer, Cause, Opening
from broker.tenancy.work import Work
from broker.utilisation import findings

router = APIRouter(prefix="/api/v1/reclaim-cases", tags=["闲置回收"])


@router.get("", response_model=CasePage, summary="回收事项", openapi_extra=needs(Permission.RECLAIM_READ))
def listing(
    uow: Uow,
    page: Paged,
    *,
    state: Annotated[list[CaseState], Query()] = [],  # noqa: B006 - FastAPI copies it
    open: Annotated[bool, Query(description="只列未办结的")] = False,  # noqa: A002 - the interface's word
    number: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """本单位及下属单位的，与本单位负责答复或执行的，新的在前。"""

    def read(work: Work) -> Any:
        rows = board.listing(work, states=state, only_open=open, number=number, after=page.after, limit=page.fetch)
        return page.render(rows, views.line, lambda row: row[0].id)

    return uow.read(read, render=lambda found: found)


@router.post(
    "", status_code=201, response_model=Case, summary="发起回收", openapi_extra=needs(Permission.RECLAIM_OPERATE)
)
def open_case(form: NewCase, uow: Uow) -> Response:
    """按资源编号，或按检测结果。挂在云服务器上的硬盘一并列入；先告知使用单位，异议期满后再停用。"""

    def use_case(work: Work) -> ReclaimCase:
        if form.finding is not None:
            found = findings.finding(work.session, form.finding)
            return opening.open_case(work, opening.of_finding(found, form.reason))
        ids = opening.ids_of(work, form.resources)
        return opening.open_case(work, Opening(Cause.PERSON, ids, form.reason))

    return _acted(uow, use_case, status=201)


@router.get("/{case_id}", response_model=Case, summary="回收事项详情", openapi_extra=needs(Permission.RECLAIM_READ))
def show(case_id: UUID, uow: Uow) -> Response:
    """资源、异议与答复、经过，以及本人现在可以办理的操作。"""
    return uow.read(lambda work: views.case(work, case_id), render=lambda found: found)


@router.post(
    "/{case_id}/objection", response_model=Case, summary="提出异议", openapi_extra=needs(Permission.RECLAIM_OBJECT)
)
def object_to(case_id: UUID, form: CaseReason, uow: Uow) -> Response:
    """须写明理由；答复之前期限停止计算。"""
    return _acted(uow, lambda work: cases.object_to(work, case_id, reason=form.reason))


@router.post(
    "/{case_id}/answer", response_model=Case, summary="答复异议", openapi_extra=needs(Permission.RECLAIM_ANSWER)
)
def answer(case_id: UUID, form: NewAnswer, uow: Uow) -> Response:
    """接受（至某日，含当日，不再列入回收）、不接受，或延长若干工作日；均须写明理由。"""

    def use_case(work: Work) -> ReclaimCase:
        until = None
        if form.until is not None:
            until = datetime.combine(form.until + timedelta(days=1), time.min, work.calendar.zone)
        return cases.answer(work, case_id, Answer(form.decision, form.reason, until, form.workdays))

    return _acted(uow, use_case)


@router.post(
    "/{case_id}/withdrawal", response_model=Case, summary="撤销事项", openapi_extra=needs(Permission.RECLAIM_END)
)
def withdraw(case_id: UUID, form: CaseReason, uow: Uow) -> Response:
    """停用之前；须写明理由。"""
    return _acted(uow, lambda work: cases.withdraw(work, case_id, reason=form.reason))


@router.post(
    "/{case_id}/resumption", response_model=Case, summary="恢复使用", openapi_extra=needs(Permission.RECLAIM_END)
)
def resume(case_id: UUID, form: CaseReason, uow: Uow) -> Response:
    """停用之后、确认释放之前；须写明理由。原先运行的云服务器重新启动。"""
    return _acted(uow, lambda work: cases.resume(work, case_id, reason=form.reason))


@router.post(
    "/{case_id}/proposal", response_model=Case, summary="提请释放", openapi_extra=needs(Permission.RECLAIM_OPERATE)
)
def propose(case_id: UUID, form: CaseReason, uow: Uow) -> Response:
    """保留期满后；须写明理由，由另一人确认。"""
    return _acted(uow, lambda work: cases.propose(work, case_id, reason=form.reason))


@router.post(
    "/{case_id}/confirmation", response_model=Case, summary="确认释放", openapi_extra=needs(Permission.RECLAIM_END)
)
def confirm(case_id: UUID, uow: Uow) -> Response:
    """提请人以外的一人确认后，系统删除资源，归还配额与网段；不能撤销。"""
    return _acted(uow, lambda work: cases.confirm(work, case_id))


@router.post(
    "/{case_id}/refusal", response_model=Case, summary="不同意释放", openapi_extra=needs(Permission.RECLAIM_OPERATE)
)
def decline(case_id: UUID, form: CaseReason, uow: Uow) -> Response:
    """退回已停用状态；须写明理由。"""
    return _acted(uow, lambda work: cases.decline(work, case_id, reason=form.reason))


@router.post("/{case_id}/retry", response_model=Case, summary="重试", openapi_extra=needs(Permission.RECLAIM_OPERATE))
def retry(case_id: UUID, uow: Uow) -> Response:
    """系统未能完成的一步再执行一次。"""
    return _acted(uow, lambda work: cases.retry(work, case_id))


@router.post(
    "/{case_id}/waiver",
    response_model=Case,
    summary="无监测数据时予以核实",
    openapi_extra=needs(Permission.RECLAIM_OPERATE),
)
def waive(case_id: UUID, form: CaseReason, uow: Uow) -> Response:
    """没有监测数据的资源不会自动停用；交付人核实确未使用的，写明理由后继续。"""
    return _acted(uow, lambda work: cases.waive(work, case_id, reason=form.reason))


def _acted(uow: Uow, use_case: Any, *, status: int = 200) -> Response:
    """Run it, and show the case as it is then."""

    def use_and_show(work: Work) -> Case:
        return views.case(work, use_case(work).id)

    return uow.run(use_and_show, render=lambda shown: shown, status=status)

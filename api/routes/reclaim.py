"""Reclaim cases over HTTP: opened, objected to, answered, undone, proposed, confirmed.

Called by: the units and the authorities. Must not: call a cloud: people write rows, the worker acts on them.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from api.paging import Paged
from api.permissions import Permission, needs
from api.schemas.reclaim import (
    Case,
    CaseOnDesk,
    CasePage,
    CaseReason,
    DryRun,
    LostResource,
    NewAnswer,
    NewCase,
    NewRenewal,
    Policy,
    PolicyVersion,
    SwitchOn,
    TakenBack,
)
from api.uow import Uow
from api.views import reclaim as views
from broker.lifecycle import CaseState
from broker.reclamation import board, cases, dry_runs, opening, policies, report, terms
from broker.reclamation.models import ReclaimCase
from broker.reclamation.values import Answer
from broker.tenancy.work import Work
from broker.utilisation import findings
from broker.utilisation.service import policies_of

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
            return opening.open_case(work, opening.of_finding(found, policies_of(uow.core.settings), form.reason))
        ids = opening.ids_of(work, form.resources)
        return opening.open_case(work, opening.by_hand(policies_of(uow.core.settings), ids, form.reason))

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
    "/{case_id}/renewal", response_model=Case, summary="申请续期", openapi_extra=needs(Permission.RECLAIM_OBJECT)
)
def renew(case_id: UUID, form: NewRenewal, uow: Uow) -> Response:
    """期限届满的事项；须写明理由，由审批单位像答复异议一样答复。"""
    return _acted(
        uow, lambda work: terms.ask_to_renew(work, case_id, until=views.end_of(work, form.until), reason=form.reason)
    )


@router.post(
    "/{case_id}/answer", response_model=Case, summary="答复异议", openapi_extra=needs(Permission.RECLAIM_ANSWER)
)
def answer(case_id: UUID, form: NewAnswer, uow: Uow) -> Response:
    """接受（至某日，含当日，不再列入回收）、不接受，或延长若干工作日；均须写明理由。"""

    def use_case(work: Work) -> ReclaimCase:
        until = None
        if form.until is not None:
            until = views.end_of(work, form.until)
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


report_router = APIRouter(prefix="/api/v1", tags=["闲置回收"])
Month = Annotated[str, Query(pattern="^([0-9]{4}-(0[1-9]|1[0-2]))?$", description="月份，如 2026-03")]


@report_router.get(
    "/reclaim-report", response_model=list[TakenBack], summary="收回情况", openapi_extra=needs(Permission.RECLAIM_READ)
)
def taken_back(uow: Uow, *, first: Month = "", last: Month = "") -> Response:
    """按月、单位、云平台统计收回的资源，金额为按当月价格每月的费用（分）；首尾月份均含在内。"""
    return uow.read(
        lambda work: report.taken_back(work, first=first, last=last),
        render=lambda rows: [TakenBack.model_validate(row) for row in rows],
    )


@report_router.get(
    "/reclaim-report.csv", summary="收回情况（CSV）", response_class=Response,
    openapi_extra=needs(Permission.RECLAIM_READ),
)  # fmt: skip
def taken_back_csv(uow: Uow, *, first: Month = "", last: Month = "") -> Response:
    """与上相同的内容，供表格软件使用。"""
    rows = uow.look(lambda work: report.taken_back(work, first=first, last=last))
    return Response(
        views.report_csv(rows),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="reclaim-report.csv"'},
    )


@report_router.get(
    "/reclaim-desk", response_model=list[CaseOnDesk], summary="待关注的回收事项",
    openapi_extra=needs(Permission.RECLAIM_READ),
)  # fmt: skip
def on_the_desk(uow: Uow) -> Response:
    """本单位负责的、系统未能完成的事项，以及使用单位已撤销或者云服务器被另行启动的事项。"""
    return uow.read(views.desk, render=lambda rows: rows)


@report_router.get(
    "/lost-resources", response_model=list[LostResource], summary="云平台上已不存在、待处理的资源",
    openapi_extra=needs(Permission.DESK_READ),
)  # fmt: skip
def lost_resources(uow: Uow) -> Response:
    """本单位负责交付的云平台上找不到、已停止计量的资源，不含已列入回收事项的；须核实后交还或者发起回收。"""
    return uow.read(views.lost, render=lambda rows: rows)


policies_router = APIRouter(prefix="/api/v1/reclaim-policies", tags=["闲置回收"])


@policies_router.get(
    "", response_model=list[Policy], summary="回收规则", openapi_extra=needs(Permission.RECLAIM_POLICY_READ)
)
def policies_now(uow: Uow) -> Response:
    """检测规则，是否自动发起回收，以及现有内容的最近一次试运行。"""
    return uow.read(
        lambda work: policies.standings(work, uow.core.settings), render=lambda rows: [views.policy(r) for r in rows]
    )


@policies_router.get(
    "/{name}/versions", response_model=list[PolicyVersion], summary="规则的历次内容",
    openapi_extra=needs(Permission.RECLAIM_POLICY_READ),
)  # fmt: skip
def versions(name: Annotated[str, Path(max_length=80)], uow: Uow) -> Response:
    """试运行过的各个内容，以及何人何时启用、停用，新的在前。"""
    return uow.read(lambda work: policies.versions(work, name), render=lambda rows: [views.version(r) for r in rows])


@policies_router.post(
    "/{name}/dry-run", response_model=DryRun, summary="试运行", openapi_extra=needs(Permission.RECLAIM_POLICY)
)
def dry_run(name: Annotated[str, Path(max_length=80)], uow: Uow) -> Response:
    """按规则现在的内容检测已存的监测数据，列出会发起哪些回收、哪些不会及其原因；不发起任何回收。"""
    settings = uow.core.settings
    asked = uow.look(lambda work: dry_runs.ask(work, settings, name))
    looked = dry_runs.look(settings, asked)
    return uow.run(lambda work: dry_runs.run(work, settings, asked, looked), render=DryRun.model_validate)


@policies_router.post(
    "/{name}/on", response_model=list[Policy], summary="启用规则", openapi_extra=needs(Permission.RECLAIM_POLICY)
)
def switch_on(name: Annotated[str, Path(max_length=80)], form: SwitchOn, uow: Uow) -> Response:
    """须注明所看的试运行；规则内容改动后须重新试运行。"""

    def use_case(work: Work) -> Any:
        policies.switch_on(work, uow.core.settings, name, form.dry_run)
        return policies.standings(work, uow.core.settings)

    return uow.run(use_case, render=lambda rows: [views.policy(r) for r in rows])


@policies_router.post(
    "/{name}/off", response_model=list[Policy], summary="停用规则", openapi_extra=needs(Permission.RECLAIM_POLICY)
)
def switch_off(name: Annotated[str, Path(max_length=80)], uow: Uow) -> Response:
    """不再发起新的回收；已发起的继续办理。"""

    def use_case(work: Work) -> Any:
        policies.switch_off(work, name)
        return policies.standings(work, uow.core.settings)

    return uow.run(use_case, render=lambda rows: [views.policy(r) for r in rows])


def _acted(uow: Uow, use_case: Any, *, status: int = 200) -> Response:
    """Run it, and show the case as it is then."""

    def use_and_show(work: Work) -> Case:
        return views.case(work, use_case(work).id)

    return uow.run(use_and_show, render=lambda shown: shown, status=status)

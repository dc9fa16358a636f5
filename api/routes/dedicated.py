"""Dedicated networks over HTTP (Art. 10-12): the list, the four steps, the Bureau's decisions, stopped funds.

Called by: units that built one, the Bureau, finance, programs. Must not: hold rules.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.etag import Seen
from api.paging import Paged
from api.permissions import Permission, needs
from api.schemas import dedicated as schemas
from api.schemas.base import View
from api.uow import Uow
from api.views import dedicated as views
from broker.dedicated import board, dates, register, rulings, steps, stops
from broker.dedicated.entry import NetworkEntry
from broker.dedicated.values import Closing, Date, Done, Plan, Step
from broker.tenancy.work import Work

router = APIRouter(prefix="/api/v1/dedicated-networks", tags=["业务专网"])
stops_router = APIRouter(prefix="/api/v1", tags=["业务专网"])


class NetworkPage(View):
    """A page of dedicated networks."""

    data: list[schemas.Network]
    next: str | None


State = Literal["", "plan", "connect", "migrate", "shut_down", "closed"]


@router.get("", response_model=NetworkPage, summary="业务专网", openapi_extra=needs(Permission.NETWORK_READ))
def listing(
    uow: Uow,
    page: Paged,
    *,
    state: Annotated[State, Query(description="下一步是哪一步；closed 已撤并改")] = "",
    late: Annotated[bool, Query(description="只列逾期的")] = False,
    q: Annotated[str, Query(max_length=100, description="名称或编号的一部分")] = "",
) -> Response:
    """可见的业务专网，新的在前。"""

    def read(work: Work) -> Any:
        rows = board.listing(work, state=state, words=q, late=late, after=page.after, limit=page.fetch)
        return page.render(rows, views.network, lambda row: row.network.id)

    return uow.read(read, render=lambda found: found)


@router.post(
    "",
    status_code=201,
    response_model=schemas.NetworkShown,
    summary="登记业务专网",
    openapi_extra=needs(Permission.NETWORK_WRITE),
)
def create(form: schemas.NewNetwork, uow: Uow) -> Response:
    """第十一条自查。2019-09-11（含）以后建成的，应先有例外批准（第十条）；涉密的不在此登记。"""
    workdays = uow.core.settings.network_plan_workdays

    def write(work: Work) -> schemas.NetworkShown:
        made = register.register(work, NetworkEntry(**form.model_dump()), plan_workdays=workdays)
        return again(work, made.id)

    return uow.run(write, render=lambda found: found, status=201)


def again(work: Work, network_id: UUID) -> schemas.NetworkShown:
    """A network as it is after what was just done."""
    work.session.flush()
    return views.one(work, str(network_id))


@router.get(
    "/{network}",
    response_model=schemas.NetworkShown,
    summary="一个业务专网",
    openapi_extra=needs(Permission.NETWORK_READ),
)
def one(network: str, uow: Uow) -> Response:
    """按标识或编号；含各步的期限与依据、网段、信息系统、历次登记。"""
    return uow.read(lambda work: views.one(work, network), render=lambda found: found)


@router.put(
    "/{network_id}",
    response_model=schemas.NetworkShown,
    summary="修改业务专网登记",
    openapi_extra=needs(Permission.NETWORK_WRITE),
)
def revise(network_id: UUID, form: schemas.NewNetwork, version: Seen, uow: Uow) -> Response:
    """`If-Match` 注明所见版本。编号与建设单位不能改变；此前的内容留存。"""

    def write(work: Work) -> schemas.NetworkShown:
        register.revise(work, network_id, NetworkEntry(**form.model_dump()), version=version)
        return again(work, network_id)

    return uow.run(write, render=lambda found: found)


@router.post(
    "/{network_id}/plan",
    response_model=schemas.NetworkShown,
    summary="报送迁移计划",
    openapi_extra=needs(Permission.NETWORK_WRITE),
)
def plan(network_id: UUID, form: schemas.NewPlan, uow: Uow) -> Response:
    """第十一条第（一）项：迁移范围、内容、完成时间、责任领导、责任处室、联络员。"""
    days = {Step(name): Date(**each) for name, each in form.dates.model_dump().items()}
    given = Plan(**{**form.model_dump(), "dates": days})

    def write(work: Work) -> schemas.NetworkShown:
        steps.report_plan(work, network_id, given)
        return again(work, network_id)

    return uow.run(write, render=lambda found: found)


@router.post(
    "/{network_id}/connection",
    response_model=schemas.NetworkShown,
    summary="报告联通",
    openapi_extra=needs(Permission.NETWORK_WRITE),
)
def connect(network_id: UUID, form: schemas.NewDone, uow: Uow) -> Response:
    """第十一条第（二）项：至少一个已交付、在计划的网络区、通过核验的外网网段。

    报告后由探测点当日再核验一次（`probes`）：全部在本区可达、在其他区不可达的，这一步完成；否则写明原因，可重新报告。
    """
    return _done(network_id, Step.CONNECT, form, uow)


@router.post(
    "/{network_id}/migration",
    response_model=schemas.NetworkShown,
    summary="报告迁移完成",
    openapi_extra=needs(Permission.NETWORK_WRITE),
)
def migrate(network_id: UUID, form: schemas.NewDone, uow: Uow) -> Response:
    """第十一条第（三）项：所列信息系统都有服务器在本专网的外网网段上，或者已经终止。"""
    return _done(network_id, Step.MIGRATE, form, uow)


def _done(network_id: UUID, step: Step, form: schemas.NewDone, uow: Uow) -> Response:
    def write(work: Work) -> schemas.NetworkShown:
        steps.report_done(work, network_id, step, Done(**form.model_dump()))
        return again(work, network_id)

    return uow.run(write, render=lambda found: found)


@router.post(
    "/{network_id}/closing",
    response_model=schemas.NetworkShown,
    summary="报请撤并改",
    openapi_extra=needs(Permission.NETWORK_WRITE),
)
def propose_closing(network_id: UUID, form: schemas.NewClosing, uow: Uow) -> Response:
    """不能撤销，由大数据发展局的另一人确认后生效。"""

    def write(work: Work) -> schemas.NetworkShown:
        steps.propose_closing(work, network_id, Closing(**form.model_dump()))
        return again(work, network_id)

    return uow.run(write, render=lambda found: found)


@router.post(
    "/{network_id}/closing/decision",
    response_model=schemas.NetworkShown,
    summary="确认撤并改",
    openapi_extra=needs(Permission.NETWORK_DECIDE),
)
def decide_closing(network_id: UUID, form: schemas.DecideClosing, uow: Uow) -> Response:
    """由大数据发展局办理；报请人不能自己确认。"""

    def write(work: Work) -> schemas.NetworkShown:
        steps.decide_closing(work, network_id, decision=form.decision, answer=form.answer)
        return again(work, network_id)

    return uow.run(write, render=lambda found: found)


@router.post(
    "/{network_id}/dates",
    response_model=schemas.NetworkShown,
    summary="调整期限",
    openapi_extra=needs(Permission.NETWORK_DECIDE),
)
def redate(network_id: UUID, form: schemas.NewDate, uow: Uow) -> Response:
    """由大数据发展局办理，写明理由；可以同时或者只更换责任人；此前的期限与责任人留存。"""

    def write(work: Work) -> schemas.NetworkShown:
        dates.redate(work, network_id, form.step, due_on=form.due_on, reason=form.reason, owner=form.owner)
        return again(work, network_id)

    return uow.run(write, render=lambda found: found)


@router.post(
    "/{network_id}/stays",
    response_model=schemas.NetworkShown,
    summary="批准保留",
    openapi_extra=needs(Permission.NETWORK_DECIDE),
)
def let_stay(network_id: UUID, form: schemas.NewStay, uow: Uow) -> Response:
    """第六条“孤网是例外”：由大数据发展局批准，有文号、理由和期限；期内各步不计逾期。"""

    def write(work: Work) -> schemas.NetworkShown:
        dates.let_stay(work, network_id, **form.model_dump())
        return again(work, network_id)

    return uow.run(write, render=lambda found: found)


@router.post(
    "/{network_id}/rulings",
    response_model=schemas.NetworkShown,
    summary="裁定所承载的系统",
    openapi_extra=needs(Permission.NETWORK_DECIDE),
)
def rule(network_id: UUID, form: schemas.NewRuling, uow: Uow) -> Response:
    """计划报送后，系统移出清单由大数据发展局裁定；不列系统的，即确认该专网不承载信息系统。"""

    def write(work: Work) -> schemas.NetworkShown:
        rulings.rule(work, network_id, drop=form.drop, reason=form.reason)
        return again(work, network_id)

    return uow.run(write, render=lambda found: found)


@stops_router.get(
    "/funds-stops",
    response_model=list[schemas.StoppedNetwork],
    summary="停拨经费的业务专网",
    openapi_extra=needs(Permission.FUNDS_STOP_READ),
)
def standing(uow: Uow, payer: Annotated[UUID | None, Query(description="只列由这个付费单位承担的")] = None) -> Response:
    """第十条：未按计划整合迁移的业务专网，停拨日期早的在前。"""
    return uow.read(
        lambda work: stops.standing(work, payer=payer),
        render=lambda rows: [views.stopped(row) for row in rows],
    )

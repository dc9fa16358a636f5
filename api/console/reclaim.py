"""Reclaiming: the board of cases with their dates and the shares, a case, what people do about it, what was taken back.

Called by: browsers. Must not: decide (the services do), or call a cloud.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any
from uuid import UUID

from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import FormData

from api.console import show
from api.console.page import Context, Form, act, console_router, go, id_of, page, text_of
from api.paging import Paged
from api.permissions import Permission, needs
from api.texts import reclaim as case_words
from api.texts import utilisation as words
from api.uow import UnitOfWork, Uow
from api.views import reclaim as views
from broker.errors import BrokerError, Invalid, NotFound, Problem
from broker.inventory import repository as inventory
from broker.inventory.models import Resource
from broker.reclamation import board, cases, opening, report, terms
from broker.reclamation.values import Answer, Decision
from broker.tenancy import people
from broker.tenancy.work import Work
from broker.utilisation import board as idle
from broker.utilisation import findings
from broker.utilisation.service import policies_of

router = console_router("回收")


@router.get("/reclaim", openapi_extra=needs(Permission.RECLAIM_READ))
def listing(uow: Uow, paged: Paged, *, closed: bool = False) -> Response:
    """回收事项。"""

    def collect(work: Work) -> Context:
        rows = board.listing(work, only_open=not closed, after=paged.after, limit=paged.fetch)
        shown = paged.render(rows, lambda row: row, lambda row: row[0].id)
        return {
            "rows": shown["data"],
            "next": shown["next"],
            "paged": paged.after is not None,
            "closed": closed,
            "shares": board.shares(work, uow.core.settings),
        }

    return page(uow, "reclaim/board.html", collect)


@router.get("/reclaim/report", openapi_extra=needs(Permission.RECLAIM_READ))
def taken_back(uow: Uow) -> Response:
    """收回的资源。"""
    return page(uow, "reclaim/report.html", lambda work: {"rows": report.taken_back(work)})


@router.get("/reclaim/new", openapi_extra=needs(Permission.RECLAIM_OPERATE))
def new(uow: Uow, finding: UUID | None = None, resource: UUID | None = None) -> Response:
    """发起回收前的确认：按检测结果，或按一个资源。"""
    return _new(uow, finding, resource)


@router.post("/reclaim", openapi_extra=needs(Permission.RECLAIM_OPERATE))
def open_case(form: Form, uow: Uow) -> Response:
    """发起回收。"""
    finding, resource, reason = id_of(form, "finding"), id_of(form, "resource"), text_of(form, "reason")

    def use_case(work: Work) -> UUID:
        if finding is not None:
            found = findings.finding(work.session, finding)
            return opening.open_case(work, opening.of_finding(found, policies_of(uow.core.settings), reason)).id
        named = () if resource is None else (resource,)
        return opening.open_case(work, opening.by_hand(policies_of(uow.core.settings), named, reason)).id

    return act(
        uow,
        use_case,
        then=lambda case_id: go(f"/reclaim/{case_id}", done="reclaim_opened"),
        instead=lambda error: _new(uow, finding, resource, error, reason),
    )


@router.get("/reclaim/{case_id}", openapi_extra=needs(Permission.RECLAIM_READ))
def case(case_id: UUID, uow: Uow) -> Response:
    """一个回收事项。"""
    return _show(uow, case_id)


@router.post("/reclaim/{case_id}/objection", openapi_extra=needs(Permission.RECLAIM_OBJECT))
def object_to(case_id: UUID, form: Form, uow: Uow) -> Response:
    """提出异议。"""
    return _acted(uow, case_id, lambda work: cases.object_to(work, case_id, reason=text_of(form, "reason")))


@router.post("/reclaim/{case_id}/renewal", openapi_extra=needs(Permission.RECLAIM_OBJECT))
def renew(case_id: UUID, form: Form, uow: Uow) -> Response:
    """申请续期。"""

    def use_case(work: Work) -> object:
        until = _end_of(work, form, "until")
        if until is None:
            raise Invalid([Problem("field.missing", "until")])
        return terms.ask_to_renew(work, case_id, until=until, reason=text_of(form, "reason"))

    return _acted(uow, case_id, use_case)


@router.post("/reclaim/{case_id}/answer", openapi_extra=needs(Permission.RECLAIM_ANSWER))
def answer(case_id: UUID, form: Form, uow: Uow) -> Response:
    """答复异议。"""

    def use_case(work: Work) -> object:
        decision, days = text_of(form, "decision"), text_of(form, "workdays")
        if decision not in set(Decision):
            raise Invalid([Problem("field.missing", "decision")])
        until = _end_of(work, form, "until")
        workdays = int(days[:4]) if days.isascii() and days.isdigit() else None
        given = Answer(Decision(decision), text_of(form, "reason"), until, workdays)
        return cases.answer(work, case_id, given)

    return _acted(uow, case_id, use_case)


@router.post("/reclaim/{case_id}/end", openapi_extra=needs(Permission.RECLAIM_END))
def end(case_id: UUID, form: Form, uow: Uow) -> Response:
    """撤销、恢复使用或确认释放。"""
    what, reason = text_of(form, "what"), text_of(form, "reason")

    def use_case(work: Work) -> object:
        if what == "confirm":
            return cases.confirm(work, case_id)
        return (cases.resume if what == "resume" else cases.withdraw)(work, case_id, reason=reason)

    return _acted(uow, case_id, use_case)


@router.post("/reclaim/{case_id}/operate", openapi_extra=needs(Permission.RECLAIM_OPERATE))
def operate(case_id: UUID, form: Form, uow: Uow) -> Response:
    """提请释放、不同意释放、重试、核实未使用。"""
    what, reason = text_of(form, "what"), text_of(form, "reason")
    acts: dict[str, Callable[[Work], Any]] = {
        "propose": lambda work: cases.propose(work, case_id, reason=reason),
        "decline": lambda work: cases.decline(work, case_id, reason=reason),
        "waive": lambda work: cases.waive(work, case_id, reason=reason),
    }
    return _acted(uow, case_id, acts.get(what, lambda work: cases.retry(work, case_id)))


def _acted(uow: UnitOfWork, case_id: UUID, use_case: Callable[[Work], Any]) -> Response:
    return act(
        uow,
        use_case,
        then=lambda _: go(f"/reclaim/{case_id}", done="reclaim"),
        instead=lambda error: _show(uow, case_id, error),
    )


def _show(uow: UnitOfWork, case_id: UUID, error: BrokerError | None = None) -> HTMLResponse:
    def collect(work: Work) -> Context:
        shown = views.case(work, case_id)
        who = {shown.proposed_by, shown.confirmed_by, *(a.actor_id for a in shown.acts)}
        who |= {o.raised_by for o in shown.objections} | {o.answered_by for o in shown.objections}
        linked = _visible(work, [r.id for r in shown.parts])
        return {
            "c": shown,
            "cases": case_words,
            "named": people.named(work.session, who),
            "linked": linked,
            "pictured": next((r.id for r in shown.parts if r.kind == "server" and r.id in linked), None),
            "problems": show.problems(error.problems) if error else [],
        }

    return page(uow, "reclaim/case.html", collect, status=error.status if error else 200)


def _visible(work: Work, resource_ids: list[UUID]) -> set[UUID]:
    """Those whose page the actor may see: who answers for a cloud sees its cases, not each unit's resources."""
    rows = work.session.execute(inventory.visible(work.actor, work.now).where(Resource.id.in_(resource_ids)))
    return {row[0].id for row in rows}


def _new(
    uow: UnitOfWork,
    finding: UUID | None,
    resource: UUID | None,
    error: BrokerError | None = None,
    reason: str | None = None,
) -> HTMLResponse:
    """The page on which opening a case is confirmed; the reason is proposed from what was found."""

    def collect(work: Work) -> Context:
        found = None if finding is None else idle.one(work, finding).finding
        resource_id = resource if found is None else found.resource_id
        if resource_id is None:
            raise NotFound("resource.not_found")
        proposed = "" if found is None else words.finding_words(found)
        return {
            "row": inventory.resource(work.session, work.actor, resource_id, now=work.now),
            "parts": opening.together(work, [resource_id]),
            "found": found,
            "reason": proposed if reason is None else reason,
            "texts": words,
            "problems": show.problems(error.problems) if error else [],
        }

    return page(uow, "reclaim/new.html", collect, status=error.status if error else 200)


def _end_of(work: Work, form: FormData, name: str) -> datetime | None:
    """The instant after the day in a field. Raises Invalid ``field.date``."""
    given = text_of(form, name)
    if not given:
        return None
    try:
        day = date.fromisoformat(given)
    except ValueError:
        raise Invalid([Problem("field.date", name)]) from None
    return views.end_of(work, day)

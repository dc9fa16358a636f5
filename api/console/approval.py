"""The authority's decision: what is asked beside what the unit has and what is left, who else waits, and the form.

Called by: browsers. Must not: decide who may decide (``approval.service`` does).
"""

from __future__ import annotations

from uuid import UUID

from fastapi.responses import HTMLResponse, Response

from api.console import show
from api.console.page import Context, Form, act, console_router, go, id_of, page, text_of
from api.permissions import Permission, needs
from api.uow import UnitOfWork, Uow
from broker.approval import service as approval
from broker.approval.service import Decision
from broker.catalog import overview
from broker.errors import BrokerError, Invalid, Problem
from broker.lifecycle import Role
from broker.request import attachments, pages, repository
from broker.request.models import ServiceRequest
from broker.scarcity import asked, waiting
from broker.tenancy import people
from broker.tenancy.work import Work

router = console_router("审批")

_MOST_WAITING = 8


@router.get("/requests/{request_id}/decision", openapi_extra=needs(Permission.REQUEST_APPROVE))
def decision_page(request_id: UUID, uow: Uow) -> Response:
    """审批页。"""
    return _page(uow, request_id)


@router.post("/requests/{request_id}/decision", openapi_extra=needs(Permission.REQUEST_APPROVE))
def decide(request_id: UUID, form: Form, uow: Uow) -> Response:
    """批准、退回补正或不予批准。"""
    chosen, reason, revision_id = text_of(form, "decision"), text_of(form, "reason"), id_of(form, "revision_id")

    def use_case(work: Work) -> ServiceRequest:
        if chosen not in set(Decision) or revision_id is None:
            raise Invalid([Problem("field.missing", "decision")])
        return approval.decide(work, request_id, Decision(chosen), revision_id=revision_id, reason=reason)

    return act(
        uow,
        use_case,
        then=lambda _: go(f"/requests/{request_id}", done=chosen),
        instead=lambda error: _page(uow, request_id, error=error, decision=chosen, reason=reason),
    )


def _page(
    uow: UnitOfWork, request_id: UUID, *, error: BrokerError | None = None, decision: str = "", reason: str = ""
) -> HTMLResponse:
    def collect(work: Work) -> Context:
        request = repository.load(work.session, work.actor, request_id)
        items = repository.items(work.session, request)
        around = pages.surroundings(work.session, request)
        others = repository.listing(
            work.session,
            work.actor,
            states=["submitted"],
            duty=Role.APPROVER,
            by_due=True,
            limit=_MOST_WAITING + 1,
        )
        return {
            "request": request,
            "revision": repository.revision(work.session, request),
            "revisions": pages.revisions(work.session, request_id),
            "images": overview.image_names(work.session),
            "items": items,
            "contact": people.person(work.session, request.contact_id),
            "unit_name": around.unit_name,
            "system": around[1],
            "cloud": around[2],
            "attached": attachments.of_request(work, request_id),
            "asked": asked.of_request(work, request),
            "competing": waiting.compete(work, request),
            "waiting": [row for row in others if row[0].id != request_id][:_MOST_WAITING],
            "problems": show.problems(error.problems) if error else [],
            "decision": decision,
            "reason": reason,
        }

    return page(uow, "approval/decision.html", collect, status=error.status if error else 200)

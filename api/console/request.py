"""The list of requests and a request's page, with its live progress.

Called by: browsers. Must not: decide what an actor may see or do (services do; ``offers`` asks the same rules).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import anyio.to_thread
import structlog
from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from api.console import live, road, show
from api.console.offers import offers
from api.console.page import Context, Form, act, console_router, go, page, render, text_of
from api.events import respond
from api.paging import Paged
from api.permissions import Permission, needs
from api.uow import UnitOfWork, Uow
from broker.approval import service as approval
from broker.assessment import letting_go
from broker.assessment import pages as assessments
from broker.audit import repository as audit
from broker.catalog import overview
from broker.catalog import repository as catalog
from broker.chargeback import service as chargeback
from broker.delivery import progress
from broker.delivery import service as delivery
from broker.errors import BrokerError
from broker.inventory import service as inventory
from broker.lifecycle import RequestState
from broker.reclamation import service as reclamation
from broker.reclamation import terms
from broker.request import attachments, clocks, pages, repository
from broker.request.models import ServiceRequest
from broker.tenancy import people
from broker.tenancy.work import Work

router = console_router("申请")
_log = structlog.get_logger("api.console")

_AUDIT_ROWS = 100
_LIVE_STATES = frozenset({"assessed", "delivering", "needs_operator", "partly_delivered", "releasing"})
_GROUPS = {
    "open": ("draft", "returned", "submitted", "approved", "assessed", "delivering", "needs_operator"),
    "mine": ("draft", "returned"),
    "used": ("delivered", "partly_delivered", "releasing"),
    "closed": ("withdrawn", "refused", "undelivered", "released"),
}


@router.get("/requests", openapi_extra=needs(Permission.REQUEST_READ))
def list_requests(uow: Uow, paged: Paged, state: str = "", group: str = "", search: str = "") -> Response:
    """资源申请列表。"""
    states = [state] if state in set(RequestState) else list(_GROUPS.get(group, ()))

    def collect(work: Work) -> Context:
        rows = repository.listing(
            work.session,
            work.actor,
            states=states,
            search=search[:60].strip(),
            after=paged.after,
            limit=paged.fetch,
        )
        shown = paged.render(rows, lambda row: row, lambda row: row[0].id)
        return {
            "rows": shown["data"],
            "next": shown["next"],
            "state": state,
            "group": group,
            "search": search[:60],
            "paged": paged.after is not None,
        }

    return page(uow, "request/list.html", collect)


@router.get("/requests/{request_id}", openapi_extra=needs(Permission.REQUEST_READ))
def show_request(request_id: UUID, uow: Uow) -> Response:
    """申请详情。"""
    return request_page(uow, request_id)


@router.get("/requests/{request_id}/live", openapi_extra=needs(Permission.REQUEST_READ))
async def live_progress(request: Request, request_id: UUID, uow: Uow, seen: str = "") -> Response:
    """实时进度（服务器推送）。"""

    def part() -> tuple[str, str]:
        context = uow.look(lambda work: _live_context(work, request_id) | {"now": work.now})
        return render("request/_progress.html", context), str(context["mark"])

    first = await anyio.to_thread.run_sync(part)
    request.scope["state"]["stream"] = True

    async def stream() -> AsyncIterator[str]:
        if seen and first[1] != seen:
            yield live.event("moved", first[1])
        try:
            async for text in live.parts(
                request.app.state.hub, str(request_id), lambda: anyio.to_thread.run_sync(part)
            ):
                yield text
        except BrokerError as error:
            _log.info("console.stream_ended", code=error.code)

    return respond(stream())


@router.post("/requests/{request_id}/withdraw", openapi_extra=needs(Permission.REQUEST_WRITE))
def withdraw(request_id: UUID, form: Form, uow: Uow) -> Response:
    """撤回申请。"""
    version = text_of(form, "version")
    seen = int(version) if version.isdigit() else None
    return on_request(
        uow,
        request_id,
        lambda work: letting_go.withdraw(work, request_id, reason=text_of(form, "reason"), version=seen),
        done="withdrawn",
    )


def on_request(uow: UnitOfWork, request_id: UUID, use_case: Any, *, done: str) -> Response:
    """Act on a request and show its page: with what was done, or as it is now with why it was not."""
    return act(
        uow,
        use_case,
        then=lambda _: go(f"/requests/{request_id}", done=done),
        instead=lambda error: request_page(uow, request_id, error=error),
    )


def request_page(
    uow: UnitOfWork, request_id: UUID, *, error: BrokerError | None = None, secret: str = ""
) -> HTMLResponse:
    """The page of a request, with the problems of an action that was refused."""

    def collect(work: Work) -> Context:
        more: Context = {"problems": show.problems(error.problems) if error else [], "secret": secret}
        return _context(work, request_id) | more

    headers = {"Cache-Control": "no-store"} if secret else {}
    return page(uow, "request/show.html", collect, status=error.status if error else 200, headers=headers)


def _live_context(work: Work, request_id: UUID) -> Context:
    """What moves while the machine works: deliveries, releases, their steps, the resources."""
    request = repository.load(work.session, work.actor, request_id)
    deliveries = delivery.of_request(work, request_id)
    releases = reclamation.of_request(work, request_id)
    clouds = {cloud.id: cloud.name for cloud in catalog.in_service(work.session)}
    steps: dict[UUID, list[Any]] = {}
    for step in progress.of_request(work, request_id):
        steps.setdefault(step.subject_id, []).append(step)
    states = [d.state for d in deliveries] + [r.state for r in releases]
    return {
        "request": request,
        "deliveries": deliveries,
        "releases": releases,
        "clouds": clouds,
        "images": overview.image_names(work.session),
        "steps": steps,
        "resources": inventory.of_request(work, request_id),
        "mark": ".".join([str(request.version), *states]),
    }


def _context(work: Work, request_id: UUID) -> Context:
    moving = _live_context(work, request_id)
    request: ServiceRequest = moving["request"]
    revisions = pages.revisions(work.session, request_id)
    approvals = approval.history(work, request_id)
    assessed = assessments.history(work.session, request_id)
    confirmed = next((a for a in reversed(assessed) if a.outcome == "confirm"), None)
    cases = delivery.cases_of(work, request_id)
    handovers = delivery.handovers(work, request_id)
    events = audit.listing(work.session, request_id=request_id, limit=_AUDIT_ROWS)
    past = road.Past(
        revisions=revisions,
        approvals=approvals,
        assessments=assessed,
        clocks=[(row[0], row.stops) for row in clocks.of_request(work, request_id)],
        orders=[(d.queued_at, d.ordered_by) for d in moving["deliveries"]],
        handed_over=[h.handed_over_at for h in handovers],
        releases=moving["releases"],
    )
    named = people.named(
        work.session,
        [
            *road.accounts_in(past),
            request.applicant_id,
            *(c.decided_by for c in cases),
            *(e[0].actor_id for e in events),
        ],
    )
    around = pages.surroundings(work.session, request)
    deciders = approval.deciders(work, request_id)
    return moving | {
        "revisions": revisions,
        "revision": revisions[0] if revisions else None,
        "items": repository.items(work.session, request),
        "contact": people.person(work.session, request.contact_id),
        "renewed_until": terms.renewed_until(work, request.id),
        "unit_name": around.unit_name,
        "system": around[1],
        "cloud": around[2],
        "stops": road.stops(request, past, named, work.now),
        "confirmed": confirmed,
        "placements": assessments.placements(work.session, confirmed.id) if confirmed else [],
        "cases": cases,
        "handovers": handovers,
        "events": events,
        "named": named,
        "attached": attachments.of_request(work, request_id),
        "cost": chargeback.resource_cost_to_date(work.session, request_id, work.now) if handovers else None,
        "offers": offers(
            work.actor,
            request,
            deciders=deciders,
            deliveries=moving["deliveries"],
            cases=cases,
            releases=moving["releases"],
        ),
        "is_live": request.state in _LIVE_STATES,
    }

"""The assessor's page: the proposal with every candidate, changes tried on live, confirm or return.

Called by: browsers. Must not: place, size or cost anything (``assessment.service`` does).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import FormData

from api.console import show
from api.console.page import Context, Form, act, console_router, fragment, go, id_of, page, text_of
from api.permissions import Permission, needs
from api.texts import utilisation as words
from api.uow import UnitOfWork, Uow
from broker.assessment import service as assessment
from broker.assessment.service import NOTHING, Changes, Proposal
from broker.assessment.values import judgement_json
from broker.catalog import overview
from broker.errors import BrokerError, Invalid, Problem
from broker.request import pages, repository
from broker.request.models import RequestItem, ServiceRequest
from broker.request.values import Item, item_spec
from broker.scarcity import asked, waiting
from broker.tenancy.work import Work
from broker.utilisation import sizing

router = console_router("评估")

SIZES = {
    "server": ("count", "vcpu", "memory_gib", "system_disk_gib"),
    "volume": ("count", "size_gib"),
    "segment": ("count",),
}


@router.get("/requests/{request_id}/assessment", openapi_extra=needs(Permission.ASSESSMENT_DECIDE))
def assessment_page(request_id: UUID, uow: Uow) -> Response:
    """评估页：系统建议、候选平台与理由、费用。"""
    servers, now = uow.look(lambda work: (_running(work, request_id), work.now))
    proposals = sizing.proposals(uow.core.settings, servers, now)

    def collect(work: Work) -> Context:
        return _context(work, request_id, FormData()) | {"smaller": proposals, "running": len(servers), "texts": words}

    return page(uow, "assessment/assess.html", collect)


def _running(work: Work, request_id: UUID) -> list[sizing.Server]:
    """The servers in use of the information system that the request is for."""
    request = repository.load(work.session, work.actor, request_id)
    return sizing.servers_of(work, system_id=request.system_id) if request.system_id else []


@router.post("/requests/{request_id}/assessment/trial", openapi_extra=needs(Permission.ASSESSMENT_DECIDE))
def try_on(request_id: UUID, form: Form, uow: Uow) -> Response:
    """试算：调整平台或规格后的候选平台与费用。"""
    return fragment(uow, "assessment/_proposal.html", lambda work: _context(work, request_id, form))


@router.post("/requests/{request_id}/assessment", openapi_extra=needs(Permission.ASSESSMENT_DECIDE))
def decide(request_id: UUID, form: Form, uow: Uow) -> Response:
    """确认评估，或退回。"""
    confirming = text_of(form, "action") == "confirm"
    reason, revision_id = text_of(form, "reason"), id_of(form, "revision_id")

    def use_case(work: Work) -> ServiceRequest:
        if revision_id is None:
            raise Invalid([Problem("field.missing", "revision_id")])
        if not confirming:
            return assessment.send_back(work, request_id, revision_id=revision_id, reason=reason)
        request = repository.load(work.session, work.actor, request_id)
        return assessment.confirm(
            work,
            request_id,
            revision_id=revision_id,
            hold_days=uow.core.settings.hold_days,
            changes=_changes(form, repository.items(work.session, request)),
            reason=reason,
        )

    return act(
        uow,
        use_case,
        then=lambda _: go(f"/requests/{request_id}", done="assessed" if confirming else "sent_back"),
        instead=lambda error: _refused(uow, request_id, form, error),
    )


def _refused(uow: UnitOfWork, request_id: UUID, form: FormData, error: BrokerError) -> HTMLResponse:
    def collect(work: Work) -> Context:
        return _context(work, request_id, form) | {"problems": show.problems(error.problems)}

    return page(uow, "assessment/assess.html", collect, status=error.status)


def _changes(form: FormData, rows: list[RequestItem]) -> Changes:
    """What differs from what was asked for. Text that is no number counts as a size that nobody may have."""
    clouds, sizes = {}, {}
    for row in rows:
        if cloud := text_of(form, f"cloud.{row.ordinal}"):
            clouds[row.ordinal] = cloud
        asked = {"count": row.count, **row.spec}
        wanted = {}
        for name in SIZES[row.kind]:
            text = text_of(form, f"size.{row.ordinal}.{name}")
            value = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
            if text and value != asked[name]:
                wanted[name] = value
        if wanted:
            sizes[row.ordinal] = wanted
    return Changes(clouds, sizes)


def _context(work: Work, request_id: UUID, form: FormData) -> Context:
    request = repository.load(work.session, work.actor, request_id)
    revision = repository.revision(work.session, request)
    rows = repository.items(work.session, request)
    trial_problems: list[dict[str, str]] = []
    changes = _changes(form, rows)
    try:
        proposal = assessment.propose(work, request_id, changes)
    except Invalid as error:
        trial_problems = show.problems(error.problems)
        proposal = assessment.propose(work, request_id, NOTHING)
    around = pages.surroundings(work.session, request)
    return {
        "request": request,
        "revision": revision,
        "unit_name": around.unit_name,
        "system": around[1],
        "cloud": around[2],
        "images": overview.image_names(work.session),
        "items": [_item(proposal, row, changes) for row in rows],
        "complete": proposal.complete,
        "quote": proposal.quote.to_json(),
        "asked": asked.compare(work, request.unit_id, _cloud(proposal), asked.total(_wishes(proposal))),
        "competing": waiting.compete(work, request, items=_wishes(proposal), cloud_id=_cloud(proposal)),
        "trial_problems": trial_problems,
        "reason": text_of(form, "reason"),
    }


def _cloud(proposal: Proposal) -> UUID | None:
    """The cloud the proposal goes to when it is one; else the one that was asked for."""
    chosen = {cloud for cloud in proposal.chosen.values() if cloud is not None}
    return chosen.pop() if len(chosen) == 1 else proposal.request.target_cloud_id


def _wishes(proposal: Proposal) -> list[Item]:
    """What would be held, in the assessor's sizes."""
    return [wish.item for wish in proposal.wishes]


def _item(proposal: Proposal, row: RequestItem, changes: Changes) -> dict[str, Any]:
    """One item: as asked, as it would be delivered, and every candidate's verdicts."""
    wish = next(w for w in proposal.wishes if w.ordinal == row.ordinal)
    chosen = proposal.chosen[row.ordinal]
    judged = proposal.judgements[row.ordinal]
    now = {"count": wish.item.count, **item_spec(wish.item)}
    return {
        "ordinal": row.ordinal,
        "kind": row.kind,
        "asked": {"count": row.count, **row.spec},
        "now": now,
        "sizes": [(name, row.count if name == "count" else row.spec[name], now[name]) for name in SIZES[row.kind]],
        "cloud": changes.clouds.get(row.ordinal, ""),
        "options": [(j.code, j.name, j.passed) for j in judged],
        "chosen": next((j.name for j in judged if j.sub_cloud_id == chosen), "") if chosen else "",
        "candidates": [judgement_json(j, chosen=j.sub_cloud_id == chosen) for j in judged],
    }

"""The applicant's form: fill in with live checks, add and remove items, attach documents, save, submit, correct.

Called by: browsers. Must not: check anything itself (``request.service.check`` and ``submit`` do).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import FormData, UploadFile

from api.console import fields, show
from api.console.page import Context, Form, act, console_router, fragment, go, id_of, is_fragment, page, text_of
from api.permissions import Permission, needs
from api.uow import UnitOfWork, Uow
from broker.approval import service as approval
from broker.assessment import service as assessment
from broker.bootstrap import App
from broker.catalog import overview
from broker.catalog import repository as catalog
from broker.errors import BrokerError
from broker.inventory import systems
from broker.lifecycle import RequestEvent, RequestState, after
from broker.request import attachments, facts, repository
from broker.request import service as requests
from broker.request.models import ServiceRequest
from broker.scarcity import asked
from broker.tenancy import people
from broker.tenancy import repository as tenancy
from broker.tenancy.work import Work

router = console_router("申请")

_MOST_SYSTEMS = 500


@router.get("/requests/new", openapi_extra=needs(Permission.REQUEST_WRITE))
def new_request(uow: Uow) -> Response:
    """新建申请。"""
    return page(uow, "request/form.html", lambda work: _context(work, _fresh(work)))


@router.get("/requests/{request_id}/edit", openapi_extra=needs(Permission.REQUEST_WRITE))
def edit_request(request_id: UUID, uow: Uow) -> Response:
    """修改草稿，或补正被退回的申请。"""
    return page(uow, "request/form.html", lambda work: _of_request(work, request_id))


@router.post("/requests/form", openapi_extra=needs(Permission.REQUEST_WRITE))
def change_form(form: Form, request: Request, uow: Uow) -> Response:
    """增加或删除申请项，已填内容不丢失。"""
    raw = fields.read(form.multi_items())
    focus = fields.change(raw, text_of(form, "action"))

    def collect(work: Work) -> Context:
        return _context(work, raw, _current(work, form), version=text_of(form, "version")) | {"focus": focus}

    if is_fragment(request):
        return fragment(uow, "request/_form.html", collect)
    return page(uow, "request/form.html", collect)


@router.post("/requests/check", openapi_extra=needs(Permission.REQUEST_WRITE))
def check_form(form: Form, uow: Uow) -> Response:
    """填写过程中的检查：问题、报价、剩余配额。"""
    raw = fields.read(form.multi_items())

    def collect(work: Work) -> Context:
        checked = requests.check(work, raw)
        return {
            "found": show.problems(checked.problems),
            "quote": checked.quote.to_json() if checked.quote else None,
            "asked": asked.of_form(work, raw),
            "unit_code": raw.get("unit", "") if isinstance(raw.get("unit"), str) else "",
        }

    return fragment(uow, "request/_check.html", collect)


@router.post("/requests/attachments", openapi_extra=needs(Permission.REQUEST_WRITE))
def upload(form: Form, uow: Uow) -> Response:
    """上传附件（公文等）；返回附件列表。"""
    core: App = uow.core
    file = form.get("file")
    content = file.file.read() if isinstance(file, UploadFile) else b""
    file_name = (file.filename or "") if isinstance(file, UploadFile) else ""
    kept = [UUID(str(value)) for value in form.getlist("attachments") if _is_id(value)]
    url = attachments.url_of(core.settings, content)
    found: list[dict[str, str]] = []

    def attach(work: Work) -> UUID:
        unit_id = tenancy.unit_id_of(work.session, text_of(form, "unit"), actor=work.actor, now=work.now)
        return requests.attach(
            work,
            unit_id=unit_id,
            document_number=text_of(form, "document_number"),
            file_name=file_name,
            media_type=attachments.media_type_of(content),
            content=content,
            url=url,
        ).id

    try:
        made = uow.do(attach)
        attachments.store(url, content)
        kept.append(made)
    except BrokerError as error:
        found = show.problems(error.problems)
    return fragment(
        uow,
        "request/_attachments.html",
        lambda work: {"attached": [attachments.find(work, i) for i in kept], "upload_problems": found},
    )


@router.get("/attachments/{attachment_id}", openapi_extra=needs(Permission.REQUEST_READ))
def download(attachment_id: UUID, uow: Uow) -> Response:
    """下载附件。"""
    found = uow.look(lambda work: attachments.find(work, attachment_id))
    name = found.file_name.encode("ascii", "ignore").decode().replace('"', "") or "attachment"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(attachments.load(found.url), media_type=found.media_type, headers=headers)


@router.post("/requests", openapi_extra=needs(Permission.REQUEST_WRITE))
def send(form: Form, uow: Uow) -> Response:
    """保存草稿，或提交。"""
    raw = fields.read(form.multi_items())
    request_id = id_of(form, "request_id")
    version = text_of(form, "version")
    seen = int(version) if version.isdigit() and request_id else None
    submitting = text_of(form, "action") == "submit"
    use_case = requests.submit if submitting else requests.save_draft

    def then(request: ServiceRequest) -> Response:
        done = "submitted" if submitting else "saved"
        return go(f"/requests/{request.id}" if submitting else f"/requests/{request.id}/edit", done=done)

    return act(
        uow,
        lambda work: use_case(work, raw, request_id=request_id, version=seen),
        then=then,
        instead=lambda error: _again(uow, form, raw, error),
    )


def _again(uow: UnitOfWork, form: FormData, raw: dict[str, Any], error: BrokerError) -> HTMLResponse:
    """The form as it was sent, with every problem."""
    return page(
        uow,
        "request/form.html",
        lambda work: (
            _context(work, raw, _current(work, form), version=text_of(form, "version"))
            | {"problems": show.problems(error.problems), "refused": error.code}
        ),
        status=error.status,
    )


def _is_id(value: object) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True


def _fresh(work: Work) -> dict[str, Any]:
    """A form to begin with: a segment and a server on it."""
    today = facts.today(work)
    raw: dict[str, Any] = {
        "start_date": today.isoformat(),
        "nature": "new",
        "classified": False,
        "dedicated_network": False,
        "items": [],
    }
    fields.change(raw, "add:segment")
    fields.change(raw, "add:server")
    return raw


def _current(work: Work, form: FormData) -> ServiceRequest | None:
    request_id = id_of(form, "request_id")
    return repository.load(work.session, work.actor, request_id) if request_id else None


def _of_request(work: Work, request_id: UUID) -> Context:
    """A draft, or what was submitted last. Raises Conflict ``state.refused`` when it cannot be edited now."""
    request = repository.load(work.session, work.actor, request_id)
    after(RequestState(request.state), RequestEvent.SAVE, work.actor.roles)
    stored = request.draft if request.draft is not None else repository.revision(work.session, request).form
    raw = dict(stored)
    contact = people.person(work.session, request.contact_id)
    if contact is not None:
        raw["contact"] = {"name": contact.name, "phone": contact.phone, "email": contact.email}
    return _context(work, raw, request, version=str(request.version))


def _context(work: Work, raw: dict[str, Any], current: ServiceRequest | None = None, *, version: str = "") -> Context:
    """What the form's template shows."""
    listed = raw.get("attachments")
    ids = [UUID(str(value)) for value in listed if _is_id(value)] if isinstance(listed, list) else []
    return {
        "raw": fields.for_page(raw),
        "request_id": current.id if current else "",
        "number": current.number if current and current.state == "returned" else "",
        "version": version,
        "returned": _returned(work, current),
        "units": tenancy.units(work.session, work.actor, work.now),
        "systems": systems.listing(work, state="in_use", limit=_MOST_SYSTEMS),
        "images": overview.images(work.session),
        "clouds": [c for c in catalog.in_service(work.session) if c.accredited_at is not None],
        "attached": [attachments.find(work, i) for i in ids],
        "upload_problems": [],
        "focus": "",
        "refused": "",
    }


def _returned(work: Work, request: ServiceRequest | None) -> dict[str, Any] | None:
    """Why a request was returned, by whom and when: the newest return of the authority or the assessor."""
    if request is None or request.state != "returned":
        return None
    returns: list[dict[str, Any]] = [
        {"reason": row.reason, "at": row.decided_at, "by": row.decided_by, "stage": "approval"}
        for row in approval.history(work, request.id)
        if row.decision == "return"
    ]
    last = assessment.latest(work, request.id)
    if last is not None and last.outcome == "return":
        returns.append({"reason": last.reason, "at": last.decided_at, "by": last.decided_by, "stage": "assessment"})
    newest = max(returns, key=lambda found: found["at"], default=None)
    if newest is not None:
        newest["who"] = people.named(work.session, [newest["by"]]).get(newest["by"])
    return newest

"""The register of information systems (Art. 26, 28, 29): the list, one system, registering, ending, the total's curve.

Called by: browsers. Must not: check what is registered (``inventory.register`` does).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import FormData

from api.console import curve, show
from api.console.page import Context, Form, act, console_router, go, page, text_of
from api.documents import files
from api.documents import register as documents
from api.paging import Paged
from api.permissions import Permission, needs
from api.texts import register as words
from api.uow import UnitOfWork, Uow
from broker.errors import BrokerError, Invalid
from broker.inventory import moves, register, systems
from broker.inventory.register import Ending, entry_of_row
from broker.inventory.system_entry import READ, SystemEntry, read
from broker.lifecycle import Role
from broker.reorganisation import systems as reorganised
from broker.tenancy import repository as tenancy
from broker.tenancy.work import Work

router = console_router("信息系统")
REGISTER: Context = {
    "at": "/systems",
    "of": "信息系统",
    "register": words,
    "headings": words.HEADINGS,
    "hints": words.HINTS,
}
"""What every page of the register is given."""
MONTHS = 36
PROPOSED = "/systems/proposals?done=proposed"


@router.get("/systems", openapi_extra=needs(Permission.SYSTEM_READ))
def listing(uow: Uow, paged: Paged, state: str = "", unit: str = "", q: str = "") -> Response:
    """信息系统台账。"""

    def collect(work: Work) -> Context:
        rows = systems.listing(work, state=state, unit=unit[:40], words=q[:100], after=paged.after, limit=paged.fetch)
        found = paged.render(rows, lambda row: row, lambda row: row[0].id)
        return REGISTER | {
            "rows": found["data"],
            "next": found["next"],
            "paged": paged.after is not None,
            "state": state,
            "unit": unit,
            "q": q,
            "waiting": systems.proposals(work, waiting=True),
        }

    return page(uow, "inventory/systems.html", collect)


@router.get("/systems/total", openapi_extra=needs(Permission.SYSTEM_READ))
def total(uow: Uow, unit: str = "") -> Response:
    """信息系统总量走势（《实施细则》第二十九条）。"""

    def collect(work: Work) -> Context:
        days = systems.month_ends(register.today(work.now), MONTHS)
        found = systems.totals(work, days, unit[:40])
        units = systems.units_with_systems(work)
        names = {row.code: row.name for row in units}
        return REGISTER | {
            "totals": found,
            "curve": curve.of(found),
            "unit": unit,
            "unit_name": names.get(unit, unit),
            "units": units,
            "rises": [t for n, t in enumerate(found) if n and t.total > found[n - 1].total],
            "waiting": systems.proposals(work, waiting=True),
        }

    return page(uow, "inventory/total.html", collect)


@router.get("/systems/moves", openapi_extra=needs(Permission.SYSTEM_READ))
def moved(uow: Uow, unit: str = "") -> Response:
    """转入、转出的信息系统。"""

    def collect(work: Work) -> Context:
        rows = moves.listing(work, unit=unit[:40])
        units = systems.units_with_systems(work)
        return REGISTER | {
            "rows": rows,
            "seen": {row.system_id for row in rows if systems.is_seen(work, row.system_id)},
            "unit": unit,
            "unit_name": {row.code: row.name for row in units}.get(unit, unit),
            "units": units,
            "waiting": systems.proposals(work, waiting=True),
        }

    return page(uow, "inventory/moves.html", collect)


@router.get("/systems/export/{form}", openapi_extra=needs(Permission.SYSTEM_READ))
def export(form: str, uow: Uow) -> Response:
    """台账文件。"""

    def make(work: Work, folder: Path) -> Path:
        return documents.export(folder, form, systems.everything(work))

    return files.send(uow, make, documents.FORMS.get(form, ""))


@router.get("/systems/template/{form}", openapi_extra=needs(Permission.SYSTEM_READ))
def template(form: str, uow: Uow) -> Response:
    """导入模板。"""
    return files.send(uow, lambda _, folder: documents.template(folder, form), documents.FORMS.get(form, ""))


@router.get("/systems/new", openapi_extra=needs(Permission.SYSTEM_WRITE))
def new_system(uow: Uow) -> Response:
    """登记信息系统。"""
    return _form_page(uow, FormData())


@router.post("/systems", openapi_extra=needs(Permission.SYSTEM_WRITE))
def create(form: Form, uow: Uow) -> Response:
    """登记信息系统；没有合并其他系统而写明理由的，报大数据发展局批准。"""

    def write(work: Work) -> str:
        entry = _entry(form)
        if _grows(entry):
            register.propose(work, entry)
            return PROPOSED
        made = reorganised.register(work, entry)
        return f"/systems/{made.id}?done=registered"

    return act(uow, write, then=go, instead=lambda error: _form_page(uow, form, error))


@router.get("/systems/proposals", openapi_extra=needs(Permission.SYSTEM_READ))
def proposals(uow: Uow) -> Response:
    """新增信息系统的报批（《实施细则》第二十九条）。"""
    return _proposals(uow)


@router.post("/systems/proposals/{proposal_id}", openapi_extra=needs(Permission.SYSTEM_APPROVE))
def decide(proposal_id: UUID, form: Form, uow: Uow) -> Response:
    """大数据发展局决定是否同意新增。"""
    approved = text_of(form, "decision") == "approved"
    return act(
        uow,
        lambda work: reorganised.decide(work, proposal_id, approved=approved, answer=text_of(form, "answer")),
        then=lambda _: go("/systems/proposals", done="proposal_approved" if approved else "proposal_refused"),
        instead=lambda error: _proposals(uow, error),
    )


def _proposals(uow: UnitOfWork, error: BrokerError | None = None) -> HTMLResponse:
    def collect(work: Work) -> Context:
        return REGISTER | {
            "rows": systems.proposals(work, waiting=True),
            "decided": [row for row in systems.proposals(work, waiting=False) if row[0].decision],
            "problems": show.problems(error.problems) if error else [],
        }

    return page(uow, "inventory/proposals.html", collect, status=error.status if error else 200)


@router.get("/systems/{system_id}", openapi_extra=needs(Permission.SYSTEM_READ))
def one(system_id: UUID, uow: Uow) -> Response:
    """一个信息系统。"""
    return system_page(uow, system_id)


def system_page(
    uow: UnitOfWork, system_id: UUID, error: BrokerError | None = None, form: FormData | None = None
) -> HTMLResponse:
    """One system with its revisions, what was wrong with an action on it, and what was typed."""

    def collect(work: Work) -> Context:
        row = systems.one(work, str(system_id))
        said = systems.revisions(work, system_id)
        return REGISTER | {
            "row": row,
            "s": row[0],
            "revisions": said,
            "owners": systems.owners(work, said),
            "destinations": moves.destinations(work) if Role.APPROVER in work.actor.roles else [],
            "typed": form or FormData(),
            "merged": systems.merged_into(work, system_id),
            "problems": show.problems(error.problems) if error else [],
        }

    return page(uow, "inventory/system.html", collect, status=error.status if error else 200)


@router.get("/systems/{system_id}/edit", openapi_extra=needs(Permission.SYSTEM_WRITE))
def edit(system_id: UUID, uow: Uow) -> Response:
    """修改登记内容。"""
    return _form_page(uow, None, system_id=system_id)


@router.post("/systems/{system_id}/edit", openapi_extra=needs(Permission.SYSTEM_WRITE))
def revise(system_id: UUID, form: Form, uow: Uow) -> Response:
    """修改登记内容；存量改为新增而没有合并、写明理由的，报大数据发展局批准。"""

    def write(work: Work) -> str:
        entry = _entry(form)
        if _grows(entry):
            register.propose(work, entry)
            return PROPOSED
        reorganised.revise(work, system_id, entry, version=_version(form))
        return f"/systems/{system_id}?done=revised"

    return act(uow, write, then=go, instead=lambda error: _form_page(uow, form, error, system_id=system_id))


@router.post("/systems/{system_id}/end", openapi_extra=needs(Permission.SYSTEM_WRITE))
def end(system_id: UUID, form: Form, uow: Uow) -> Response:
    """终止：合并、关停或移交。"""
    ending = Ending(*(text_of(form, name) for name in ("kind", "reason", "into", "handed_to")))
    return act(
        uow,
        lambda work: reorganised.end(work, system_id, ending, version=_version(form)),
        then=lambda _: go(f"/systems/{system_id}", done="ended"),
        instead=lambda error: system_page(uow, system_id, error),
    )


@router.post("/systems/{system_id}/move", openapi_extra=needs(Permission.SYSTEM_APPROVE))
def move(system_id: UUID, form: Form, uow: Uow) -> Response:
    """划转到另一单位，由大数据发展局办理。"""
    to, reason = text_of(form, "unit"), text_of(form, "reason")
    return act(
        uow,
        lambda work: reorganised.move(work, system_id, to=to, reason=reason, version=_version(form)),
        then=lambda _: go(f"/systems/{system_id}", done="moved"),
        instead=lambda error: system_page(uow, system_id, error, form),
    )


def _grows(entry: SystemEntry) -> bool:
    """Whether it is one more, for a reason: the Bureau decides about it then (Art. 29)."""
    return bool(entry.growth_reason) and not entry.merges and not entry.is_stock


def _version(form: FormData) -> int:
    text = text_of(form, "version")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0


def _entry(form: FormData) -> SystemEntry:
    """Raises Invalid with everything that cannot be read."""
    entry, problems = read({name: text_of(form, name) for name in READ})
    if entry is None:
        raise Invalid(problems)
    return entry


def _form_page(
    uow: UnitOfWork, form: FormData | None, error: BrokerError | None = None, system_id: UUID | None = None
) -> HTMLResponse:
    def collect(work: Work) -> Context:
        row = systems.one(work, str(system_id)) if system_id else None
        raw: Mapping[str, Any] = {name: text_of(form, name) for name in READ} if form is not None else {}
        if form is None and row is not None:
            raw = _texts(replace(entry_of_row(row), merges=()))
        return REGISTER | {
            "units": tenancy.units(work.session, work.actor, work.now),
            "row": row,
            "stock": row is not None and entry_of_row(row).is_stock,
            "raw": raw,
            "problems": show.problems(error.problems) if error else [],
            "focus": "",
        }

    return page(uow, "inventory/register.html", collect, status=error.status if error else 200)


def _texts(entry: SystemEntry) -> dict[str, str]:
    values = {name: getattr(entry, name) for name in READ}
    return {n: "" if v is None or v == () else str(v) for n, v in values.items()}

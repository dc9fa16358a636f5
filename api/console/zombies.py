"""Zombie systems: the list by score, one system with its five signs, the Bureau's decision.

Called by: browsers. Must not: score, or decide.
"""

from __future__ import annotations

from datetime import date
from uuid import UUID

from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import FormData

from api.console import show
from api.console.page import Context, Form, act, console_router, go, id_of, page, text_of
from api.permissions import Permission, needs
from api.routes.zombies import look
from api.texts import reclaim as reclaim_words
from api.texts import zombies as words
from api.uow import UnitOfWork, Uow
from api.views import zombies as views
from broker.errors import BrokerError
from broker.inventory import systems
from broker.tenancy.work import Work
from broker.zombies import service
from broker.zombies.rules_file import read_rules
from broker.zombies.service import Given

router = console_router("僵尸系统")


@router.get("/zombies", openapi_extra=needs(Permission.ZOMBIE_READ))
def listing(uow: Uow, decided: str = "") -> Response:
    """疑似僵尸系统（《实施细则》第二条第（五）项、第二十八条）。"""

    def collect(work: Work) -> Context:
        found = views.listing(work, decided=bool(decided))
        return {
            "zombie": words,
            "found": found,
            "decided": bool(decided),
            "waiting": systems.proposals(work, waiting=True),
        }

    return page(uow, "zombies/list.html", collect)


@router.post("/zombies/scans", openapi_extra=needs(Permission.ZOMBIE_SCAN))
def scan(form: Form, uow: Uow) -> Response:
    """检测全部信息系统。"""
    del form  # its token was checked
    known, measured = look(uow)
    uow.do(lambda work: service.record(work, known, measured, read_rules()))
    return go("/zombies", done="zombies_scanned")


@router.get("/zombies/{system_id}", openapi_extra=needs(Permission.ZOMBIE_READ))
def one(system_id: UUID, uow: Uow) -> Response:
    """一个信息系统的五项特征。"""
    return _page(uow, system_id)


@router.post("/zombies/{system_id}", openapi_extra=needs(Permission.ZOMBIE_DECIDE))
def decide(system_id: UUID, form: Form, uow: Uow) -> Response:
    """大数据发展局认定。"""
    given = Given(text_of(form, "decision"), text_of(form, "reason"), _day(text_of(form, "look_again_on")))
    finding_id = id_of(form, "finding_id") or system_id
    return act(
        uow,
        lambda work: service.decide(work, uow.core.settings, system_id, finding_id, given),
        then=lambda made: go(
            f"/zombies/{system_id}", done="zombie_confirmed" if made.decision == service.CONFIRMED else "zombie_not"
        ),
        instead=lambda error: _page(uow, system_id, form, error),
    )


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


def _page(
    uow: UnitOfWork, system_id: UUID, form: FormData | None = None, error: BrokerError | None = None
) -> HTMLResponse:
    def collect(work: Work) -> Context:
        return {
            "zombie": words,
            "cases": reclaim_words,
            "found": views.one(work, str(system_id)),
            "problems": show.problems(error.problems) if error else [],
            "raw": {name: text_of(form, name) if form else "" for name in ("reason", "look_again_on")},
        }

    return page(uow, "zombies/system.html", collect, status=error.status if error else 200)

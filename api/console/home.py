"""The first page: what waits for me, by role, what is due first on top.

Called by: browsers. Must not: decide who has which duty (the listings do).
"""

from __future__ import annotations

from typing import Any

from fastapi.responses import Response

from api.console.page import Context, console_router, go, page
from api.permissions import Permission, needs
from api.uow import Uow
from broker.audit import repository as audit
from broker.audit import seal
from broker.chargeback import service as chargeback
from broker.delivery import service as delivery
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.reclamation import board, missing, unpublished, watched
from broker.reclamation import service as reclamation
from broker.region import calendars
from broker.request import repository
from broker.tenancy.values import Actor
from broker.tenancy.work import Work

router = console_router("工作台")

_DESKS = {
    Role.APPROVER: (("approval", ("submitted",)),),
    Role.ASSESSOR: (("assessment", ("approved",)),),
    Role.OPERATOR: (("delivery", ("assessed",)), ("carrying", ("delivering", "needs_operator", "releasing"))),
}
_TO_THE_REGION = frozenset({Role.ADMINISTRATOR, Role.CLOUD_OPERATOR, Role.CLOUD_CHIEF})
_UNIT = frozenset({Role.APPLICANT, Role.UNIT_LEADER})
_ROWS = 50
_FEW = 10


@router.get("/", openapi_extra=needs(Permission.SELF))
def home(uow: Uow) -> Response:
    """工作台。"""

    def collect(work: Work) -> Context:
        roles = _roles(work.actor)
        return {
            "desks": [_desk(work, role, *desk) for role, desks in _DESKS.items() if role in roles for desk in desks],
            "cases": delivery.desk(work) if Role.OPERATOR in roles else None,
            "stalled": board.in_trouble(work) if Role.OPERATOR in roles else (),
            "lost": missing.listed(work) if Role.OPERATOR in roles else (),
            "watched": watched.desk(work) if roles & {Role.OPERATOR, Role.APPROVER} else (),
            **(_calendar(work) if roles & _DESKS.keys() else {"unpublished": {}, "disputed": False}),
            "releases": reclamation.waiting(work) if Role.OPERATOR in roles else None,
            **(_unit(work) if roles & _UNIT else {"mine": None, "under_way": None, "in_use": None}),
            "statements": _statements(work) if Role.FINANCE in roles else None,
            "chain": _chain(work) if Role.AUDIT in roles else None,
            "notices": notify.inbox(work, limit=5, unread_only=True),
        }

    shown = page(uow, "home/home.html", collect)
    assert uow.actor is not None
    return go("/region") if _roles(uow.actor) <= _TO_THE_REGION else shown


def _roles(actor: Actor) -> frozenset[Role]:
    return actor.roles | frozenset(actor.deputy_for)


def _desk(work: Work, role: Role, name: str, states: tuple[str, ...]) -> dict[str, Any]:
    rows = repository.listing(work.session, work.actor, states=list(states), duty=role, by_due=True, limit=_ROWS)
    return {"name": name, "rows": rows, "late": sum(1 for row in rows if row[0].due_at and row[0].due_at < work.now)}


def _unit(work: Work) -> Context:
    """The unit's own: what waits for it, and what is on its way at the authorities."""
    mine = repository.listing(work.session, work.actor, states=["draft", "returned"], limit=_FEW)
    on_its_way = ["submitted", "approved", "assessed", "delivering", "needs_operator", "releasing"]
    under_way = repository.listing(work.session, work.actor, states=on_its_way, by_due=True, limit=_ROWS)
    in_use = repository.listing(work.session, work.actor, states=["delivered", "partly_delivered"], limit=_FEW)
    return {"mine": mine, "under_way": under_way, "in_use": in_use}


def _calendar(work: Work) -> Context:
    """Years without a notice of days off that deadlines reach into, and whether several calendars are counted by."""
    years = unpublished.waiting(work.session, work.calendar)
    return {"unpublished": years, "disputed": calendars.disputed(work)}


def _statements(work: Work) -> Any:
    return chargeback.list_statements(work.session, work.actor, now=work.now, limit=_FEW)


def _chain(work: Work) -> dict[str, Any]:
    return {
        "head": seal.head(work.session),
        "unsealed": seal.unsealed(work.session),
        "events": audit.listing(work.session, limit=_FEW),
    }

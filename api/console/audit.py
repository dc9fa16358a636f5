"""The audit's page: events with their seals, and how the chain stands.

Called by: browsers of audit and the administrator. Must not: change anything.
"""

from __future__ import annotations

from fastapi.responses import Response

from api.console.page import Context, console_router, page
from api.paging import Paged
from api.permissions import Permission, needs
from api.texts.actions import AUDIT_ACTIONS
from api.uow import Uow
from broker.audit import repository, seal
from broker.tenancy import people
from broker.tenancy.work import Work

router = console_router("审计")


@router.get("/audit", openapi_extra=needs(Permission.AUDIT_READ))
def audit(uow: Uow, paged: Paged, action: str = "") -> Response:
    """审计记录与链状态。"""
    chosen = action if action in AUDIT_ACTIONS else ""

    def collect(work: Work) -> Context:
        rows = repository.listing(work.session, action=chosen, after=paged.after, limit=paged.fetch)
        shown = paged.render(rows, lambda row: row, lambda row: row[0].id)
        return {
            "rows": shown["data"],
            "next": shown["next"],
            "paged": paged.after is not None,
            "action": chosen,
            "actions": AUDIT_ACTIONS,
            "head": seal.head(work.session),
            "unsealed": seal.unsealed(work.session),
            "named": people.named(work.session, [row[0].actor_id for row in shown["data"]]),
        }

    return page(uow, "audit/audit.html", collect)

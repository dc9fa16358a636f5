"""The inbox of notices.

Called by: browsers. Must not: send anything.
"""

from __future__ import annotations

from fastapi.responses import Response

from api.console.page import Context, console_router, go, page
from api.paging import Paged
from api.permissions import Permission, needs
from api.uow import Uow
from broker.notify import service
from broker.tenancy.work import Work

router = console_router("通知")


@router.get("/notices", openapi_extra=needs(Permission.SELF))
def notices(uow: Uow, paged: Paged) -> Response:
    """通知。"""

    def collect(work: Work) -> Context:
        rows = service.inbox(work, limit=paged.fetch, before=paged.after)
        shown = paged.render(rows, lambda row: row, lambda row: row[0].id)
        return {"rows": shown["data"], "next": shown["next"], "paged": paged.after is not None}

    return page(uow, "notify/notices.html", collect)


@router.post("/notices/read", openapi_extra=needs(Permission.SELF))
def mark_read(uow: Uow) -> Response:
    """全部标为已读。"""
    uow.do(service.mark_all_read)
    return go("/notices", done="read")

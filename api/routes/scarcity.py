"""What is scarce, over HTTP: a unit's quota, what a request asks for beside it, who else waits.

Called by: units before they ask, the offices before they decide. Must not: count, or decide who may see what.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path
from fastapi.responses import Response

from api.paging import Page, Paged
from api.permissions import Permission, needs
from api.schemas import scarcity as schemas
from api.uow import Uow
from api.views import scarcity as views
from broker.request import repository
from broker.scarcity import asked, tree, waiting
from broker.scarcity.waiting import Other
from broker.tenancy.work import Work

router = APIRouter(prefix="/api/v1", tags=["配额与地址"])

UnitCode = Annotated[str, Path(max_length=40, description="单位代码")]


@router.get(
    "/units/{unit}/quota",
    response_model=schemas.QuotaUnit,
    summary="单位配额",
    openapi_extra=needs(Permission.QUOTA_READ),
)
def quota(unit: UnitCode, uow: Uow) -> Response:
    """限额、使用中、预留与还可申请的数量，用量含下级单位；`sub_cloud` 为空是全部云平台合计。"""

    def read(work: Work) -> schemas.QuotaUnit:
        found = tree.of_unit(work, unit, limit=0)
        return views.unit(found.unit, found.bars, found.names)

    return uow.read(read, render=lambda found: found)


@router.get(
    "/units/{unit}/quota/units",
    response_model=schemas.QuotaPage,
    summary="下级单位的配额",
    openapi_extra=needs(Permission.QUOTA_READ),
)
def quota_below(unit: UnitCode, uow: Uow, page: Paged) -> Response:
    """直接下级，各含其下属单位的用量。"""

    def read(work: Work) -> Any:
        found = tree.of_unit(work, unit, after=page.after, limit=page.fetch)
        return page.render(found.below, lambda b: views.unit(b.unit, b.bars, found.names), lambda b: b.unit.id)

    return uow.read(read, render=lambda found: found)


@router.get(
    "/requests/{request_id}/quota",
    response_model=schemas.AskedFor,
    summary="申请与配额对照",
    openapi_extra=needs(Permission.REQUEST_READ),
)
def asked_for(request_id: UUID, uow: Uow) -> Response:
    """现有、本次、批准后与剩余，按种类；不能预留时说明以谁的限额为准。评估确认后本次数量已计入现有。"""

    def read(work: Work) -> schemas.AskedFor:
        request = repository.load(work.session, work.actor, request_id)
        return views.asked(asked.of_request(work, request))

    return uow.read(read, render=lambda found: found)


@router.get(
    "/requests/{request_id}/competing",
    response_model=schemas.CompetingPage,
    summary="同时等待的申请",
    openapi_extra=needs(Permission.COMPETING_READ),
)
def competing(request_id: UUID, uow: Uow, page: Paged) -> Response:
    """与本申请涉及同一限额或同一云平台容量的其他待办申请，先到期的在前。"""

    def read(work: Work) -> Any:
        request = repository.load(work.session, work.actor, request_id)
        found = waiting.compete(work, request)
        shown = page.render(_from(found.others, page), views.competing, lambda other: other.id)
        return {"contested": [views.contested(c, found.names) for c in found.counters], **shown}

    return uow.read(read, render=lambda found: found)


def _from(others: tuple[Other, ...], page: Page) -> tuple[Other, ...]:
    """What comes after the last one shown; one that no longer waits is looked for in vain: from the start again."""
    at = next((place + 1 for place, other in enumerate(others) if other.id == page.after), 0)
    return others[at : at + page.fetch]

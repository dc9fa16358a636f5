"""What is scarce, over HTTP: quotas, what is asked for beside them, who else waits, the IPv6 plan, clouds' totals.

Called by: units before they ask, the offices before they decide. Must not: count, or decide who may see what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from api.paging import Page, Paged
from api.permissions import Permission, needs
from api.schemas import scarcity as schemas
from api.uow import Uow
from api.views import scarcity as views
from broker.delivery import capacity
from broker.request import repository
from broker.scarcity import addresses, asked, tree, waiting
from broker.scarcity.addresses import Block
from broker.scarcity.waiting import Other
from broker.tenancy.work import Work
from quotas.ipv6.values import Zone
from quotas.values import ResourceClass

router = APIRouter(prefix="/api/v1", tags=["配额与地址"])

T = TypeVar("T")

CloudCode = Annotated[str, Path(max_length=40, description="云平台代码")]
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
    "/units/{unit}/quota/systems",
    response_model=list[schemas.QuotaUnit],
    summary="信息系统的配额",
    openapi_extra=needs(Permission.QUOTA_READ),
)
def quota_of_systems(unit: UnitCode, uow: Uow) -> Response:
    """本单位之下单设节点的信息系统；其余信息系统按单位计数。"""

    def read(work: Work) -> list[schemas.QuotaUnit]:
        found = tree.of_unit(work, unit, limit=0)
        return [views.unit(b.unit, b.bars, found.names) for b in found.systems]

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
        shown = page.render(_from(found.others, page, _other_id), views.competing, _other_id)
        return {"contested": [views.contested(c, found.names) for c in found.counters], **shown}

    return uow.read(read, render=lambda found: found)


def _other_id(other: Other) -> UUID:
    return other.id


def _from(rows: Sequence[T], page: Page, id_of: Callable[[T], UUID]) -> Sequence[T]:
    """What comes after the last row shown; where that has gone meanwhile, from the start again."""
    at = next((place + 1 for place, row in enumerate(rows) if id_of(row) == page.after), 0)
    return rows[at : at + page.fetch]


@router.get(
    "/prefix-blocks",
    response_model=schemas.PrefixBlockPage,
    summary="IPv6 规划",
    openapi_extra=needs(Permission.PREFIX_READ),
)
def prefix_blocks(
    uow: Uow, page: Paged, *, zone: Annotated[Zone | None, Query(description="只列出一个区域")] = None
) -> Response:
    """本人可见的地址块及其使用情况，上级在前。"""

    def read(work: Work) -> Any:
        found = addresses.every_block(work, zone)
        return page.render(_from(found, page, _block_id), views.block, _block_id)

    return uow.read(read, render=lambda found: found)


def _block_id(block: Block) -> UUID:
    return block.node.id


@router.get(
    "/prefix-blocks/{block_id}/map",
    response_model=schemas.PrefixMap,
    summary="地址块的分布",
    openapi_extra=needs(Permission.PREFIX_READ),
)
def prefix_map(
    block_id: UUID,
    uow: Uow,
    *,
    within: Annotated[str, Query(max_length=60, description="只看其中一段，例如 3fff:122:30::/48")] = "",
) -> Response:
    """至多 256 个等分的格，空格不列；可分配网段的地址块还列出其中的网段、网关与反向域。"""

    def read(work: Work) -> schemas.PrefixMap:
        return views.prefix_map(addresses.look(work, block_id, addresses.network(within)))

    return uow.read(read, render=lambda found: found)


@router.get(
    "/sub-clouds/{code}/capacity",
    response_model=list[schemas.CapacityLine],
    summary="云平台容量核对",
    openapi_extra=needs(Permission.CAPACITY_READ),
)
def compare(code: CloudCode, uow: Uow) -> Response:
    """台账与云平台最近一次报告的总量、用量逐项对照；系统不自行改动。"""
    return uow.read(
        lambda work: capacity.compare(work, code), render=lambda lines: [views.capacity_line(line) for line in lines]
    )


@router.post(
    "/sub-clouds/{code}/capacity/{resource_class}",
    status_code=201,
    response_model=schemas.CapacityDecision,
    summary="处理容量差异",
    openapi_extra=needs(Permission.CAPACITY_DECIDE),
)
def decide(code: CloudCode, resource_class: ResourceClass, form: schemas.NewCapacityDecision, uow: Uow) -> Response:
    """采用云平台报告的总量（`accept`），或保留台账（`leave`）；`seen` 为所见的云平台总量，已有变化时为 409。"""

    def write(work: Work) -> Any:
        made = capacity.decide(work, code, resource_class, form.choice, seen=form.seen, reason=form.reason)
        work.session.flush()
        return made

    return uow.run(write, render=schemas.CapacityDecision.model_validate, status=201)

"""Registers over HTTP: units, sub-clouds, resources.

Called by: everybody who looks something up. Must not: hold rules.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.paging import Paged
from api.permissions import Permission, needs
from api.schemas.base import View
from api.schemas.registers import Resource, ResourceOwner, Stock, SubCloud, Unit
from api.uow import Uow
from broker.catalog import repository as catalog
from broker.db.base import AnyRow
from broker.inventory import owners
from broker.inventory import repository as inventory
from broker.lifecycle import ResourceState
from broker.request.values import ItemKind
from broker.tenancy import repository as tenancy
from broker.tenancy.work import Work
from quotas import availability

router = APIRouter(prefix="/api/v1", tags=["台账"])


class ResourcePage(View):
    """A page of resources."""

    data: list[Resource]
    next: str | None


@router.get("/units", response_model=list[Unit], summary="单位", openapi_extra=needs(Permission.CATALOG_READ))
def units(uow: Uow) -> Response:
    """本人可见的单位，上级在前。"""
    return uow.read(
        lambda work: tenancy.units(work.session, work.actor, work.now),
        render=lambda rows: [Unit.model_validate(row) for row in rows],
    )


@router.get("/sub-clouds", response_model=list[SubCloud], summary="子云", openapi_extra=needs(Permission.CATALOG_READ))
def sub_clouds(uow: Uow) -> Response:
    """1+N+14：等级、区域、容量与运行状况。"""

    def read(work: Work) -> list[SubCloud]:
        rows = catalog.with_status(work.session)
        stock = availability.pool_left(work.session, [row[0].id for row in rows])
        operators = catalog.operators(work.session, work.now)
        return [_sub_cloud(row, operators.get(row[0].id, ""), stock.get(row[0].id, {})) for row in rows]

    return uow.read(read, render=lambda found: found)


def _sub_cloud(row: AnyRow, operator: str, stock: Any) -> SubCloud:
    cloud, status = row
    return SubCloud(
        id=cloud.id,
        code=cloud.code,
        name=cloud.name,
        tier=cloud.tier,
        operator=operator,
        mlps_level=cloud.mlps_level,
        zones=cloud.zones,
        unified_management=cloud.unified_management,
        division_code=cloud.division_code,
        accredited_at=cloud.accredited_at,
        healthy=status.healthy if status else None,
        health_detail=status.detail if status else "",
        checked_at=status.checked_at if status else None,
        stock=[Stock(resource_class=kind.value, capacity=s.capacity, used=s.used) for kind, s in sorted(stock.items())],
    )


@router.get("/resources", response_model=ResourcePage, summary="资源", openapi_extra=needs(Permission.RESOURCE_READ))
def resources(
    uow: Uow,
    page: Paged,
    *,
    state: Annotated[list[ResourceState], Query(description="状态，可多选")] = [],  # noqa: B006 - FastAPI copies it
    kind: Annotated[ItemKind | None, Query(description="种类")] = None,
    sub_cloud: Annotated[str, Query(max_length=40, description="云平台代码")] = "",
    request: Annotated[UUID | None, Query(description="申请")] = None,
) -> Response:
    """新的在前；一次查询。"""

    def read(work: Work) -> Any:
        rows = inventory.resources(
            work.session,
            work.actor,
            now=work.now,
            states=[s.value for s in state],
            kind=kind.value if kind else "",
            sub_cloud=sub_cloud,
            request_id=request,
            after=page.after,
            limit=page.fetch,
        )
        return page.render(rows, _resource, lambda row: row[0].id)

    return uow.read(read, render=lambda found: found)


@router.get(
    "/resources/{resource_id}",
    response_model=Resource,
    summary="一个资源",
    openapi_extra=needs(Permission.RESOURCE_READ),
)
def resource(resource_id: UUID, uow: Uow) -> Response:
    """服务器、硬盘或网段。"""
    return uow.read(
        lambda work: inventory.resource(work.session, work.actor, resource_id, now=work.now), render=_resource
    )


@router.get(
    "/resources/{resource_id}/owners",
    response_model=list[ResourceOwner],
    summary="资源的归属沿革",
    openapi_extra=needs(Permission.RESOURCE_READ),
)
def resource_owners(resource_id: UUID, uow: Uow) -> Response:
    """随信息系统或单位转移过的资源，先后属于哪些单位，新的在前；没有转移过的为空。用量按当时的归属单位计费。"""
    return uow.read(
        lambda work: (
            inventory.resource(work.session, work.actor, resource_id, now=work.now)
            and owners.history(work.session, resource_id, now=work.now)
        ),
        render=lambda found: [ResourceOwner.model_validate(each) for each in found],
    )


_SAME = ("id", "number", "kind", "origin", "name", "state", "spec", "unit_id", "request_id", "ref", "error_code")


def _resource(row: AnyRow) -> Resource:
    found = row[0]
    return Resource(
        **{name: getattr(found, name) for name in _SAME},
        created_at=found.created_at,
        unit_name=row.unit_name,
        system_name=row.system_name,
        sub_cloud=row.sub_cloud,
        sub_cloud_name=row.sub_cloud_name,
        prefix=str(found.prefix) if found.prefix else None,
        addresses=[str(address).split("/")[0] for address in found.addresses],
    )

"""The region: 1 + N + 14 with capacity and health, cities that use the main cloud, a cloud's totals beside ours.

Called by: browsers. Must not: ask a cloud; it shows what the worker wrote down.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from fastapi import Path
from fastapi.responses import HTMLResponse, JSONResponse, Response
from sqlalchemy.orm import Session

from api.console import show
from api.console.page import Context, Form, act, console_router, go, page, text_of
from api.permissions import Permission, allowed, needs
from api.uow import UnitOfWork, Uow
from broker.catalog import overview, repository
from broker.chargeback import overviews
from broker.delivery import capacity
from broker.delivery.capacity import Choice
from broker.errors import BrokerError, Invalid, Problem
from broker.tenancy.work import Work
from quotas import availability
from quotas.values import ResourceClass, Stock

router = console_router("云平台")

CLASSES = (
    ResourceClass.VCPU_X86_64,
    ResourceClass.VCPU_AARCH64,
    ResourceClass.MEMORY_GIB_X86_64,
    ResourceClass.MEMORY_GIB_AARCH64,
    ResourceClass.BLOCK_GIB_SSD,
    ResourceClass.BLOCK_GIB_HDD,
)


@router.get("/region", openapi_extra=needs(Permission.CATALOG_READ))
def region(uow: Uow) -> Response:
    """云平台总览（1+N+14）。"""
    return page(uow, "region/region.html", _context)


@router.get("/region/chart", openapi_extra=needs(Permission.CATALOG_READ))
def chart(uow: Uow) -> Response:
    """各云平台处理器分配情况（图表数据）。"""

    def collect(work: Work) -> dict[str, Any]:
        clouds = _clouds(work.session)
        return {
            "names": [cloud.name for cloud, _, _ in clouds],
            "used": [_vcpu(stock, "used") for _, _, stock in clouds],
            "left": [_vcpu(stock, "left") for _, _, stock in clouds],
        }

    return JSONResponse(uow.look(collect))


@router.get("/region/{code}/capacity", openapi_extra=needs(Permission.CAPACITY_READ))
def capacity_page(code: Annotated[str, Path(max_length=40)], uow: Uow) -> Response:
    """云平台容量核对。"""
    return _capacity(uow, code)


@router.post("/region/{code}/capacity", openapi_extra=needs(Permission.CAPACITY_DECIDE))
def decide_capacity(code: Annotated[str, Path(max_length=40)], form: Form, uow: Uow) -> Response:
    """采用云平台报告的总量，或保留台账的总量。"""
    kind, choice, seen = (text_of(form, name) for name in ("resource_class", "choice", "seen"))

    def use_case(work: Work) -> object:
        if kind not in set(ResourceClass) or choice not in set(Choice):
            raise Invalid([Problem("field.missing", "choice")])
        return capacity.decide(
            work,
            code,
            ResourceClass(kind),
            Choice(choice),
            seen=int(seen) if seen.isdigit() else None,
            reason=text_of(form, "reason"),
        )

    return act(
        uow,
        use_case,
        then=lambda _: go(f"/region/{code}/capacity", done=f"capacity_{choice}"),
        instead=lambda error: _capacity(uow, code, error),
    )


def _capacity(uow: UnitOfWork, code: str, error: BrokerError | None = None) -> HTMLResponse:
    def collect(work: Work) -> Context:
        lines = capacity.compare(work, code)
        return {
            "code": code,
            "name": _name(work, code),
            "lines": lines,
            "reported_at": lines[0].reported_at if lines else None,
            "may_decide": bool(lines) and capacity.may_decide(work, lines[0].sub_cloud_id),
            "problems": show.problems(error.problems) if error else [],
        }

    return page(uow, "region/capacity.html", collect, status=error.status if error else 200)


def _name(work: Work, code: str) -> str:
    return next(cloud.name for cloud in repository.in_service(work.session) if cloud.code == code)


def _clouds(session: Session) -> list[tuple[Any, Any, dict[ResourceClass, Stock]]]:
    rows = repository.with_status(session)
    stock = availability.pool_left(session, [row[0].id for row in rows])
    return [(row[0], row[1], stock[row[0].id]) for row in rows]


def _vcpu(stock: dict[ResourceClass, Stock], what: str) -> int:
    wanted = (ResourceClass.VCPU_X86_64, ResourceClass.VCPU_AARCH64)
    return sum(getattr(stock[kind], what) or 0 for kind in wanted if kind in stock)


def _context(work: Work) -> Context:
    clouds = _clouds(work.session)
    cities = overview.cities(work.session, work.now)
    # Only for those whom it concerns, and for whom the page leads on.
    concerned = allowed(work.actor, Permission.CAPACITY_READ)
    wanting = Counter(line.sub_cloud_id for line in capacity.compare(work) if line.wanting) if concerned else Counter()
    answered = [status for _, status, _ in clouds if status is not None]
    return {
        "bureau": overviews.may_see_bureau(work),
        "tiers": [
            (
                tier,
                [
                    _card(cloud, status, stock, wanting[cloud.id])
                    for cloud, status, stock in clouds
                    if cloud.tier == tier
                ],
            )
            for tier in ("main", "industry", "city")
        ],
        "authorities": overview.authorities(work.session, work.now),
        "operators": repository.operators(work.session, work.now),
        "cities": cities,
        "without": [city for city in cities if city.tier == "main"],
        "valid_for": repository.STATUS_VALID,
        "healthy": sum(1 for s in answered if s.healthy and work.now - s.checked_at < repository.STATUS_VALID),
        "count": len(clouds),
        "totals": _totals(clouds),
    }


def _card(cloud: Any, status: Any, stock: dict[ResourceClass, Stock], wanting: int) -> dict[str, Any]:
    bars = [
        {"class": kind.value, "used": stock[kind].used, "capacity": stock[kind].capacity}
        for kind in CLASSES
        if kind in stock
    ]
    return {"cloud": cloud, "status": status, "bars": bars, "wanting": wanting}


def _totals(clouds: list[tuple[Any, Any, dict[ResourceClass, Stock]]]) -> list[dict[str, Any]]:
    """The whole region's sums, class by class."""
    out = []
    for kind in CLASSES:
        found = [stock[kind] for _, _, stock in clouds if kind in stock]
        used, capacity = sum(s.used for s in found), sum(s.capacity or 0 for s in found)
        out.append({"class": show.word(kind.value, "class"), "used": used, "capacity": capacity})
    return out

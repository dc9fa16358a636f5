"""Zombie systems over HTTP (Art. 2(5), 28): scan, list, one system's five signs, the Bureau's decision.

Called by: the Bureau, the Center, units (their own). Must not: hold rules.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.permissions import Permission, needs
from api.schemas import zombies as schemas
from api.uow import UnitOfWork, Uow
from api.views import zombies as views
from broker.tenancy.work import Work
from broker.zombies import facts, service
from broker.zombies.facts import Known, Measured
from broker.zombies.rules_file import read_rules
from broker.zombies.service import Given

router = APIRouter(prefix="/api/v1", tags=["僵尸系统"])


@router.get(
    "/zombies", response_model=schemas.Zombies, summary="疑似僵尸系统", openapi_extra=needs(Permission.ZOMBIE_READ)
)
def listing(uow: Uow, *, decided: Annotated[bool, Query(description="包括已有决定的")] = False) -> Response:
    """最近一次检测的结果，得分高的在前，至多 200 个。得分只用于排序，由人决定。"""
    return uow.read(lambda work: views.listing(work, decided=decided), render=lambda found: found)


@router.post(
    "/zombies/scans",
    status_code=201,
    response_model=schemas.ZombieScan,
    summary="检测",
    openapi_extra=needs(Permission.ZOMBIE_SCAN),
)
def scan(uow: Uow) -> Response:
    """按五项特征检测全部信息系统，记录当时的事实与依据。"""
    known, measured = look(uow)
    return uow.run(
        lambda work: service.record(work, known, measured, read_rules()),
        render=schemas.ZombieScan.model_validate,
        status=201,
    )


def look(uow: UnitOfWork) -> tuple[Known, Measured]:
    """What is known, rows first; samples are read when no transaction is open."""
    known = uow.look(facts.gather)
    return known, facts.measure(uow.core.settings, known)


@router.get(
    "/zombies/{system}",
    response_model=schemas.Zombie,
    summary="一个信息系统的五项特征",
    openapi_extra=needs(Permission.ZOMBIE_READ),
)
def one(system: str, uow: Uow) -> Response:
    """按标识或编号；每项特征附依据、来源与可信度，不掌握的写明不掌握。"""
    return uow.read(lambda work: views.one(work, system), render=lambda found: found)


@router.post(
    "/zombies/{system_id}/decisions",
    status_code=201,
    response_model=schemas.ZombieDecision,
    summary="认定",
    openapi_extra=needs(Permission.ZOMBIE_DECIDE),
)
def decide(system_id: UUID, form: schemas.DecideZombie, uow: Uow) -> Response:
    """由大数据发展局办理。`confirmed` 为其资源立案回收；`not_zombie` 写明何时再看。"""

    def write(work: Work) -> Any:
        given = Given(form.decision, form.reason, form.look_again_on)
        made = service.decide(work, uow.core.settings, system_id, form.finding_id, given)
        work.session.flush()
        return views.decisions(work, [made])[0]

    return uow.run(write, render=lambda found: found, status=201)

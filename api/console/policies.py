"""Policies of reclaiming: what each asks, what it would do, who switched it on and when; switching on and off.

Called by: browsers. Must not: decide (the services do). While the file of policies cannot be read, what is on can be
switched off here all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path
from fastapi.responses import HTMLResponse, Response

from api.console import charts, show
from api.console.page import Context, Form, act, console_router, go, id_of, page
from api.permissions import Permission, needs
from api.uow import UnitOfWork, Uow
from api.views import reclaim as views
from broker.errors import BrokerError, Conflict, Invalid, NotFound
from broker.reclamation import dry_runs, policies
from broker.reclamation.models import ReclaimPolicy
from broker.tenancy import people
from broker.tenancy.work import Work

router = console_router("回收规则")
Name = Annotated[str, Path(max_length=80)]


@router.get("/reclaim/policies", openapi_extra=needs(Permission.RECLAIM_POLICY_READ))
def listing(uow: Uow) -> Response:
    """检测规则。"""
    return _listing(uow)


@router.get("/reclaim/policies/{name}", openapi_extra=needs(Permission.RECLAIM_POLICY_READ))
def policy(name: Name, uow: Uow) -> Response:
    """一项检测规则：条件、试运行、历次内容。"""
    return _show(uow, name)


@router.post("/reclaim/policies/{name}/dry-run", openapi_extra=needs(Permission.RECLAIM_POLICY))
def dry_run(name: Name, uow: Uow) -> Response:
    """试运行。"""
    settings = uow.core.settings
    try:
        asked = uow.look(lambda work: dry_runs.ask(work, settings, name))
        looked = dry_runs.look(settings, asked)
    except BrokerError as error:
        return _show(uow, name, error)
    return _acted(uow, name, lambda work: dry_runs.run(work, settings, asked, looked), "policy_tried")


@router.post("/reclaim/policies/{name}/on", openapi_extra=needs(Permission.RECLAIM_POLICY))
def switch_on(name: Name, form: Form, uow: Uow) -> Response:
    """启用：须已看过现有内容的试运行。"""
    run_id = id_of(form, "dry_run")

    def use_case(work: Work) -> ReclaimPolicy:
        if run_id is None:
            raise Conflict("reclaim.dry_run_stale")
        return policies.switch_on(work, uow.core.settings, name, run_id)

    return _acted(uow, name, use_case, "policy_on")


@router.post("/reclaim/policies/{name}/off", openapi_extra=needs(Permission.RECLAIM_POLICY))
def switch_off(name: Name, uow: Uow) -> Response:
    """停用：立即生效。"""
    return act(
        uow,
        lambda work: policies.switch_off(work, name),
        then=lambda _: go("/reclaim/policies", done="policy_off"),
        instead=lambda error: _listing(uow, error),
    )


def _acted(uow: UnitOfWork, name: str, use_case: Any, done: str) -> Response:
    return act(
        uow,
        use_case,
        then=lambda _: go(f"/reclaim/policies/{name}", done=done),
        instead=lambda error: _show(uow, name, error),
    )


def _listing(uow: UnitOfWork, error: BrokerError | None = None) -> HTMLResponse:
    def collect(work: Work) -> Context:
        on = policies.acting(work)
        broken: BrokerError | None = None
        rows: list[Any] = []
        try:
            rows = [views.policy(each) for each in policies.standings(work, uow.core.settings)]
        except Invalid as found:
            broken = found
        names = {row.name for row in rows}
        return {
            "rows": rows,
            "left": [each for each in on if each.name not in names],
            "broken": show.problems(broken.problems) if broken else [],
            "may_switch": policies.may_switch(work),
            "named": people.named(work.session, [each.switched_on_by for each in on]),
            "problems": show.problems(error.problems) if error else [],
        }

    return page(uow, "reclaim/policies.html", collect, status=error.status if error else 200)


def _show(uow: UnitOfWork, name: str, error: BrokerError | None = None) -> HTMLResponse:
    def collect(work: Work) -> Context:
        standing = next(
            (each for each in policies.standings(work, uow.core.settings) if each.policy.name == name), None
        )
        if standing is None:
            raise NotFound("policy.not_found")
        shown = views.policy(standing)
        versions = [views.version(each) for each in policies.versions(work, name)]
        result: Mapping[str, Any] = shown.dry_run.result if shown.dry_run else {}
        fresh = shown.dry_run is not None and shown.dry_run.run_at >= work.now - policies.SEEN_WITHIN
        return {
            "p": shown,
            "versions": versions,
            "named": people.named(work.session, _people(versions, shown.dry_run.run_by if shown.dry_run else None)),
            "result": result,
            "picture": charts.share_chart(result.get("shares", ())),
            "fresh": fresh,
            "seen_days": policies.SEEN_WITHIN.days,
            "may_switch": policies.may_switch(work),
            "problems": show.problems(error.problems) if error else [],
        }

    return page(uow, "reclaim/policy.html", collect, status=error.status if error else 200)


def _people(versions: Iterable[Any], run_by: UUID | None) -> list[UUID | None]:
    return [run_by, *(who for v in versions for who in (v.created_by, v.switched_on_by, v.switched_off_by))]

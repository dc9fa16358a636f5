"""What is idle: findings, how busy units are on clouds, and a resource with its days.

Called by: browsers. Must not: find anything, or read samples while a transaction is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Query
from fastapi.responses import Response

from api.console import charts
from api.console.page import Context, console_router, page
from api.paging import Paged
from api.permissions import Permission, allowed, needs
from api.texts import sentence
from api.texts import utilisation as words
from api.uow import UnitOfWork, Uow
from broker.catalog import overview
from broker.catalog import repository as catalog
from broker.errors import BrokerError, Invalid
from broker.inventory import owners
from broker.inventory import repository as inventory
from broker.reclamation import board as reclaim
from broker.reclamation import opening
from broker.reclamation.models import ReclaimCase
from broker.tenancy.work import Work
from broker.utilisation import board, detection, looking, pictures, service, sizing
from broker.utilisation.findings import FindingKind
from broker.utilisation.values import OURS

router = console_router("闲置检测")

SHOWN_DAYS = 90


@router.get("/idle", openapi_extra=needs(Permission.RESOURCE_READ))
def findings(
    uow: Uow, paged: Paged, kind: FindingKind | None = None, cloud: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    """闲置检测结果。"""
    titles = _titles(uow)

    def collect(work: Work) -> Context:
        kinds = [kind] if kind else []
        rows = board.listed(work, kinds=kinds, sub_cloud=cloud, after=paged.after, limit=paged.fetch)
        shown = paged.render(rows, lambda row: row, lambda row: row.finding.id)
        return {
            "rows": shown["data"],
            "held": _held(work, [row.finding.resource_id for row in rows]),
            "openable": reclaim.clouds_to_open_in(work),
            "next": shown["next"],
            "paged": paged.after is not None,
            "sums": board.sums(work),
            "scan": detection.newest(work.session),
            "clouds": [(each.code, each.name) for each in catalog.in_service(work.session)],
            "kind": kind.value if kind else "",
            "cloud": cloud,
            "titles": titles,
            "texts": words,
        }

    return page(uow, "idle/findings.html", collect)


@router.get("/idle/heat", openapi_extra=needs(Permission.DESK_READ))
def heat(uow: Uow, of: Annotated[str, Query(pattern="^(cpu|memory)$")] = "cpu") -> Response:
    """各单位在各云平台的利用率。"""

    def collect(work: Work) -> Context:
        day, found = board.warmth(work)
        clouds = {each.code: each.name for each in catalog.in_service(work.session)}
        picture = charts.heat_map(found, clouds, memory=of == "memory") if found else None
        rows = sorted(found, key=lambda each: (each.unit_name, each.sub_cloud))
        return {"day": day, "picture": picture, "found": rows, "clouds": clouds, "of": of, "days": pictures.HEAT_DAYS}

    return page(uow, "idle/heat.html", collect)


@router.get("/resources/{resource_id}", openapi_extra=needs(Permission.RESOURCE_READ))
def resource(resource_id: UUID, uow: Uow) -> Response:
    """一个资源：规格、利用率与检测结果。"""
    titles = _titles(uow)
    row, owned, found, servers, now, images, cases, openable = uow.look(
        lambda work: (
            inventory.resource(work.session, work.actor, resource_id, now=work.now),
            owners.history(work.session, resource_id, now=work.now),
            board.listed(work, resource_id=resource_id, limit=50),
            sizing.servers_of(work, resource_id=resource_id),
            work.now,
            overview.image_names(work.session),
            _cases(work, resource_id),
            reclaim.clouds_to_open_in(work),
        )
    )
    last = now.astimezone(looking.ZONE).date()
    first = last - timedelta(days=SHOWN_DAYS - 1)
    names = [name for name in (str(row[0].id), row[0].number, row[0].ref) if name]
    settings = uow.core.settings
    figures: Mapping[date, pictures.DayFigures] = {}
    proposals: Sequence[sizing.Proposal] = ()
    missing = ""
    try:
        if row[0].kind == "server":
            figures = pictures.days(settings, names, first, last, looking.ZONE)
        proposals = sizing.proposals(settings, servers, now)
    except BrokerError as error:  # the rest of the page needs no samples
        missing = sentence(error.code)
    runs = [
        (f.first_day, f.last_day, f"{words.FINDINGS[f.kind.value]}：{f.first_day} 至 {f.last_day}，{f.days} 天")
        for f in (each.finding for each in found)
        if f.whole_resource
    ]
    context: Context = {
        "row": row,
        "owned": owned,
        "found": found,
        "cases": cases,
        "held": next((case for case in cases if case.closed_at is None), None),
        "may_open": row.sub_cloud in openable and opening.can_be_taken_up(row[0]),
        "picture": charts.line_chart(figures, first, last, runs) if figures else None,
        "missing": missing,
        "figures": [figures[day] for day in sorted(figures, reverse=True)],
        "first": first,
        "last": last,
        "proposal": proposals[0] if proposals else None,
        "titles": titles,
        "texts": words,
        "images": images,
    }
    return page(uow, "idle/resource.html", lambda _: context)


def _held(work: Work, resource_ids: list[UUID]) -> Mapping[UUID, ReclaimCase]:
    """Resource -> its open case, for whoever may look at cases at all."""
    if not allowed(work.actor, Permission.RECLAIM_READ):
        return {}
    return reclaim.open_cases(work, resource_ids)


def _cases(work: Work, resource_id: UUID) -> list[ReclaimCase]:
    """A resource's cases, the newest first."""
    if not allowed(work.actor, Permission.RECLAIM_READ):
        return []
    return [row[0] for row in reclaim.listing(work, resource_id=resource_id, limit=50)]


def _titles(uow: UnitOfWork) -> Mapping[str, tuple[str, str]]:
    """Each policy's title and basis; a file that cannot be read just now leaves the names."""
    try:
        policies = service.policies_of(uow.core.settings).policies
    except Invalid:
        return {}
    return {each.name: (each.title, "" if each.basis == OURS else each.basis) for each in policies}

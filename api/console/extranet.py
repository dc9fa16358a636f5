"""The extranet as a map: routers, sessions, zones, and every segment with its state; the same as tables below.

Called by: browsers. Must not: call a router, or decide which segments an actor may see (``delivery.segments``).
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import Query
from fastapi.responses import Response

from api.console.page import Context, console_router, page
from api.console.topology import draw, heard
from api.permissions import Permission, needs
from api.uow import Uow
from broker.delivery.segments import ORDER, ExtranetMap, extranet_map
from broker.errors import NotFound
from broker.extranet.fabric import vrfs_of
from broker.tenancy.work import Work

router = console_router("政务外网")

MOST_ROWS = 300
"""Of the whole extranet's table; a router's own has all of its segments."""

MOST_GAPS = 50


@router.get("/extranet", openapi_extra=needs(Permission.PREFIX_READ))
def extranet(uow: Uow, router: Annotated[str, Query(max_length=40)] = "") -> Response:
    """政务外网分布图。"""

    def collect(work: Work) -> Context:
        found = extranet_map(work)
        return {"found": None} if found is None else _context(found, router)

    return page(uow, "extranet/map.html", collect)


def _context(found: ExtranetMap, router: str) -> Context:
    chosen = next((r for r in found.topology.routers if r.name == router), None)
    if router and chosen is None:
        raise NotFound("extranet.no_router")
    here = [s for s in found.segments if chosen is None or s.router == chosen.name]
    shown = here if chosen is not None else here[:MOST_ROWS]
    seen = {v.name for v in found.vrfs}
    return {
        "found": found,
        "picture": draw(found),
        "chosen": chosen,
        "segments": shown,
        "more": len(here) - len(shown),
        "sums": [(s.value, n) for s in ORDER if (n := sum(x.standing is s for x in found.segments))],
        "titles": {r.name: r.title for r in found.topology.routers},
        "above": {s.lower: s.upper for s in found.topology.sessions},
        "tables": {r.name: [v for v in vrfs_of(found.topology, r.name) if v in seen] for r in found.topology.routers},
        "on_router": Counter(s.router for s in found.segments),
        "gaps": Counter(name for name, look in found.looks.items() for gap in look.gaps if gap[1] in seen),
        "open_gaps": [g for g in found.gaps if chosen is None or g.router == chosen.name],
        "most_gaps": MOST_GAPS,
        "in_vrf": Counter(s.vrf for s in found.segments if s.vni is not None),
        "sessions": {s.lower: heard(found, s, seen) for s in found.topology.sessions},
        "silent": {name for name, look in found.looks.items() if look.silent},
        "looked_at": max((look.looked_at for look in found.looks.values()), default=None),
        "access": {a.router: found.clouds.get(a.sub_cloud, a.sub_cloud) for a in found.topology.access},
    }

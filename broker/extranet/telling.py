"""Tells operators what routers do beside the plan: one notice for what belongs together, and an audit event.

Called by: ``extranet.drift``, the worker's hourly comparison. Must not: call a router.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select

from broker.catalog import repository as catalog
from broker.catalog.models import SubCloud
from broker.extranet.checks import sessions_of
from broker.extranet.differences import Gap, Group, Place, RouterDrift, fingerprint
from broker.extranet.schema import Topology
from broker.extranet.service import Loaded, current
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.tenancy.work import Work

_MAIN = "main"
_FIRST = 3
"""So many subjects are named in a notice about many; all of them are in the answer of ``guiyun reconcile``."""
_RECORDED = 200


def tell(work: Work, loaded: Loaded, found: Sequence[RouterDrift]) -> None:
    """A notice to those who deliver, and an audit event.

    A repair is told each time: what was opened by hand, shut and opened again is three things. What lies open is told
    once a day.
    """
    groups: dict[Group, list[RouterDrift]] = {}
    lost = lost_with_their_router(loaded.topology, found)
    for drift in (d for d in found if d.place not in lost):
        groups.setdefault(drift.group, []).append(drift)
    units = _units(work, loaded, {d.router for d in found})
    new: list[RouterDrift] = []
    for group, drifts in groups.items():
        unit = units.get(drifts[0].router)
        row = None if unit is None else _notice(work, loaded, unit, group, drifts)
        if (row is not None and notify.remind(work, [row])) or drifts[0].repaired:
            new += drifts
    if new:
        named = [{"gap": d.gap.value, "router": d.router, "vrf": d.vrf, "subject": d.subject} for d in new[:_RECORDED]]
        work.record("extranet.drifted", "extranet", loaded.id, data={"count": len(new), "drifts": named})


def lost_with_their_router(topology: Topology, found: Sequence[RouterDrift]) -> set[Place]:
    """Sessions of a router that does not answer, where a neighbour has lost all of them: one thing, told once. Pure."""
    silent = {d.router for d in found if d.gap is Gap.SILENT}
    down: dict[tuple[str, str], set[Place]] = {}
    for drift in found:
        if drift.gap is Gap.SESSION and drift.subject in silent:
            down.setdefault((drift.router, drift.subject), set()).add(drift.place)
    lost: set[Place] = set()
    for session in topology.sessions:
        for pair in ((session.upper, session.lower), (session.lower, session.upper)):
            places = down.get(pair, set())
            lost |= places if len(places) >= len(sessions_of(topology, session)) else set()
    return lost


def tell_unchecked(work: Work, code: str) -> None:
    """Nobody compares the routers with the plan, and why: told once a day."""
    loaded = current(work.session)
    if loaded is None:
        return
    for unit in set(_units(work, loaded, {""}).values()):
        dedupe = f"extranet/unchecked/{code}/{work.now.date()}"
        notify.remind(work, [_row(loaded, unit, "extranet.unchecked", dedupe, {"trouble": code})])


def _notice(work: Work, loaded: Loaded, unit: UUID, group: Group, drifts: Sequence[RouterDrift]) -> dict[str, Any]:
    first = drifts[0]
    when = work.now.isoformat() if first.repaired else work.now.date()
    dedupe = f"extranet/{fingerprint(group, drifts)}/{when}"
    params: dict[str, object] = {"router": first.router, "vrf": first.vrf, "subject": first.subject}
    if len(drifts) == 1:
        params["facts"] = [each.plain() for each in first.facts]
        return _row(loaded, unit, f"extranet.{first.gap.value}", dedupe, params)
    params |= {"subject": ", ".join(d.subject for d in drifts[:_FIRST]), "count": len(drifts), "neighbour": group[3]}
    return _row(loaded, unit, f"extranet.{first.gap.value}_many", dedupe, params)


def _row(loaded: Loaded, unit: UUID, code: str, dedupe: str, params: Mapping[str, object]) -> dict[str, Any]:
    return {
        "code": code,
        "params": params,
        "subject_type": "extranet",
        "subject_id": loaded.id,
        "account_id": None,
        "unit_id": unit,
        "role": Role.OPERATOR.value,
        "dedupe": dedupe,
    }


def _units(work: Work, loaded: Loaded, routers: set[str]) -> dict[str, UUID]:
    """By router: the authority that delivers for the cloud that is attached there; elsewhere for the main cloud."""
    at = {a.router: a.sub_cloud for a in loaded.topology.access}
    wanted = {at.get(router, _MAIN) for router in routers} | {_MAIN}
    rows = work.session.execute(select(SubCloud.code, SubCloud.id).where(SubCloud.code.in_(wanted)))
    clouds = {row.code: row.id for row in rows}
    found: dict[str, UUID] = {}
    for router in routers:
        cloud = clouds.get(at.get(router, _MAIN), clouds.get(_MAIN))
        unit = catalog.delivering_unit(work.session, cloud, work.now) if cloud is not None else None
        if unit is not None:
            found[router] = unit
    return found

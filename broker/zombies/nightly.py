"""The scan of each night, and what it tells the Bureau: systems that look like zombies and did not before.

Called by: the step after the day's detection (``workflows.measure_steps``). Must not: decide, or keep a transaction
open while samples are read. A night on which nothing changed leaves no scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select

from broker.catalog import repository as catalog
from broker.errors import BrokerError
from broker.inventory.models import InformationSystem
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.settings import Settings
from broker.tenancy.work import Work, WorkFactory
from broker.zombies import board, facts, service
from broker.zombies.facts import LOCAL
from broker.zombies.models import ZombieFinding, ZombieScan
from broker.zombies.rules_file import read_rules
from broker.zombies.values import Level

log = structlog.get_logger(__name__)

_RANK = {Level.NONE.value: 0, Level.SUSPECTED.value: 1, Level.LIKELY.value: 2}
_NAMED = 5
"""How many systems a notice names; all are counted."""


def carry(works: WorkFactory, settings: Settings) -> int:
    """Tonight's scan, once; returns how many systems are proposed anew. What is not readable waits for a night."""
    with works.begin() as work:
        night = work.now.astimezone(LOCAL).date()
        if _scanned(work, night):
            return 0
        known = facts.gather(work)
    try:
        measured, rules = facts.measure(settings, known), read_rules()
    except BrokerError as error:
        log.warning("no scan for zombies tonight", code=error.code)
        return 0
    with works.begin() as work:
        if _scanned(work, night):
            return 0
        last = board.last_scan(work)
        before = {} if last is None else _findings(work, last.id)
        with work.session.begin_nested() as attempt:
            scan = service.record(work, known, measured, rules, night=night)
            work.session.flush()
            now = _findings(work, scan.id)
            if _said(now) == _said(before):
                attempt.rollback()
                return 0
        return _propose(work, scan, _new(work, before, now))


def _scanned(work: Work, night: date) -> bool:
    return work.session.scalar(select(ZombieScan.id).where(ZombieScan.night == night)) is not None


def _findings(work: Work, scan_id: UUID) -> dict[UUID, ZombieFinding]:
    rows = work.session.scalars(select(ZombieFinding).where(ZombieFinding.scan_id == scan_id))
    return {row.system_id: row for row in rows}


def _said(found: dict[UUID, ZombieFinding]) -> dict[UUID, tuple[int, str, int]]:
    return {i: (each.score_hundredths, each.level, each.known) for i, each in found.items()}


def _new(work: Work, before: dict[UUID, ZombieFinding], now: dict[UUID, ZombieFinding]) -> list[ZombieFinding]:
    """What is worse than it was and nobody has decided on, the worst first."""
    out = [
        each
        for system_id, each in now.items()
        if _RANK[each.level] > (_RANK[before[system_id].level] if system_id in before else 0)
        and board.decision_on(work, system_id) is None
    ]
    return sorted(out, key=lambda each: (-each.score_hundredths, each.system_id))


def _propose(work: Work, scan: ZombieScan, found: Sequence[ZombieFinding]) -> int:
    bureau = catalog.main_authority(work.session, "decide", work.now)
    if not found or bureau is None:
        return 0
    first = [each.system_id for each in found[:_NAMED]]
    rows = work.session.execute(
        select(InformationSystem.id, InformationSystem.name).where(InformationSystem.id.in_(first))
    )
    names = {row.id: row.name for row in rows}
    notice: dict[str, Any] = {
        "code": "zombie.proposed",
        "params": {"count": len(found), "systems": "、".join(names[i] for i in first)},
        "subject_type": "zombie_scan",
        "subject_id": scan.id,
        "account_id": None,
        "unit_id": bureau,
        "role": Role.APPROVER.value,
        "dedupe": f"zombies/{scan.id}",
    }
    notify.remind(work, [notice])
    return len(found)

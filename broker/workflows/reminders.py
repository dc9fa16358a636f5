"""Reminders of the stages' clocks, before and after they run out: visible to everyone concerned.

Called by: dispatch. Must not: send anything; notices go to the outbox and inbox.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from broker.db.base import AnyRow
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.request import clocks
from broker.request.clocks import Stage
from broker.tenancy.work import Work

AHEAD = timedelta(hours=4)
"""How long before its deadline a step is reminded of (ours)."""

_ROLE = {Stage.APPROVAL: Role.APPROVER, Stage.ASSESSMENT: Role.ASSESSOR, Stage.DELIVERY: Role.OPERATOR}


def remind(work: Work) -> int:
    """Write the reminders that are due, each once; returns how many were new."""
    rows = [row for clock in clocks.due(work, until=work.now + AHEAD) for row in _notices(work, clock)]
    return notify.remind(work, rows)


def _notices(work: Work, row: AnyRow) -> list[dict[str, Any]]:
    """To the stage's authority when it is due soon; to it, the applicant and the unit's cloud chief when it is late."""
    clock = row[0]
    late = clock.due_at < work.now
    code = "clock.late" if late else "clock.due_soon"
    common = {
        "code": code,
        "params": {"number": row.number, "stage": clock.stage, "due_at": clock.due_at.isoformat()},
        "subject_type": "request",
        "subject_id": clock.request_id,
        "account_id": None,
        "unit_id": None,
        "role": None,
    }
    key = f"{code}/{clock.id}/{clock.due_at.isoformat()}"
    out = [common | {"unit_id": clock.unit_id, "role": _ROLE[Stage(clock.stage)].value, "dedupe": f"{key}/authority"}]
    if late:
        out.append(common | {"account_id": row.applicant_id, "dedupe": f"{key}/applicant"})
        out.append(common | {"unit_id": row.unit_id, "role": Role.CLOUD_CHIEF.value, "dedupe": f"{key}/chief"})
    return out

"""Terms that come to their end, on the rails of a case: told ahead, renewed by request, suspended after the grace.

Called by: dispatch (``come``), the API (``ask_to_renew``). Must not: act on a cloud.

The term is the request's last day of use. A renewal that was accepted moves it, and so does an objection, whatever case
it was raised against (``exempt_until`` of what was renewed or exempted): until then nothing is taken up. A case is
opened ``AHEAD`` of the end, so that its notice is the first reminder; its window begins with the end.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text

from broker.errors import BrokerError, Conflict, Invalid, Problem
from broker.inventory.models import Resource
from broker.lifecycle import CaseState, Role
from broker.notify import service as notify
from broker.reclamation import history, objections, opening
from broker.reclamation.models import CaseResource, ReclaimCase
from broker.reclamation.values import Cause, Opening
from broker.tenancy.work import Work

AHEAD = timedelta(days=30)
"""How long before its end a term is told of for the first time (ours)."""
AGAIN = timedelta(days=30)
"""A term whose case a person ended is taken up again after this: it is still over (ours)."""
REMIND_DAYS = (7, 1)
"""And again (ours)."""
MOST_YEARS = 3
_AT_ONCE = 100

_ENDING = text("""
SELECT q.number, r.sub_cloud_id, greatest(q.ends_at, max(later.until)) AS ends_at,
       array_agg(r.id ORDER BY r.id) AS resources,
       array_agg(r.id ORDER BY r.id) FILTER (WHERE r.kind <> 'segment') AS without_segments
FROM (
  SELECT s.id, s.number,
    CAST(CAST(v.form->>'end_date' AS date) + 1 AS timestamp) AT TIME ZONE CAST(:zone AS text) AS ends_at
  FROM broker.service_request s JOIN broker.request_revision v ON v.id = s.revision_id
  WHERE s.state IN ('delivered', 'partly_delivered')
) q
JOIN broker.resource r ON r.request_id = q.id AND r.state IN ('active', 'stopped')
LEFT JOIN LATERAL (
  SELECT max(c.exempt_until) AS until
  FROM broker.reclaim_case_resource cr JOIN broker.reclaim_case c ON c.id = cr.case_id
  WHERE cr.resource_id = r.id AND c.state IN ('renewed', 'exempted')
) AS later ON true
WHERE q.ends_at <= :ahead
  AND NOT EXISTS (SELECT FROM broker.reclaim_case_resource cr JOIN broker.reclaim_case c ON c.id = cr.case_id
    WHERE cr.resource_id = r.id AND (cr.closed_at IS NULL OR c.exempt_until > :ahead
      OR (c.cause = 'term' AND c.state = 'dropped' AND c.closed_at > :behind)))
GROUP BY q.id, q.number, q.ends_at, r.sub_cloud_id ORDER BY q.ends_at, q.id LIMIT :most
""")


_RENEWED = select(func.max(ReclaimCase.exempt_until)).where(
    ReclaimCase.cause == Cause.TERM.value, ReclaimCase.state == CaseState.RENEWED.value
)


def renewed_until(work: Work, request_id: UUID) -> datetime | None:
    """The instant up to which the term of what a request brought was renewed; None: it ends as it was asked for."""
    brought = (
        select(CaseResource.case_id)
        .join(Resource, Resource.id == CaseResource.resource_id)
        .where(Resource.request_id == request_id)
    )
    return work.session.scalar(_RENEWED.where(ReclaimCase.id.in_(brought)))


def come(work: Work) -> int:
    """Open cases for terms that end soon or have ended, and remind again; returns how many cases and reminders."""
    values = {"zone": str(work.calendar.zone), "ahead": work.now + AHEAD, "behind": work.now - AGAIN, "most": _AT_ONCE}
    opened = sum(_open(work, row) for row in work.session.execute(_ENDING, values).all())
    return opened + _remind(work)


def _open(work: Work, row: Any) -> int:
    """One case for what a request brought in one cloud; its segments stay while somebody else stands on them."""
    evidence = {"ends_at": row.ends_at.isoformat(), "request": row.number}
    for ids in (row.resources, row.without_segments):
        if not ids:
            continue
        try:
            with work.session.begin_nested():
                opening.open_case(
                    work, Opening(Cause.TERM, tuple(ids), f"{row.number} 的使用期限届满", evidence=evidence)
                )
        except BrokerError:
            continue
        return 1
    return 0


def ends_at(case: ReclaimCase) -> datetime | None:
    """When the term ends that a case is about."""
    found = case.evidence.get("ends_at") if case.cause == Cause.TERM.value else None
    return None if found is None else datetime.fromisoformat(found)


def _remind(work: Work) -> int:
    open_ones = select(ReclaimCase).where(
        ReclaimCase.cause == Cause.TERM.value, ReclaimCase.state == CaseState.NOTICED.value
    )
    rows = []
    for case in work.session.scalars(open_ones):
        end = ends_at(case)
        days = [d for d in REMIND_DAYS if end is not None and end - timedelta(days=d) <= work.now < end]
        if days and case.noticed_at is not None and case.noticed_at < work.now - timedelta(days=1):
            rows += [_reminder(case, audience, min(days)) for audience in history.owners(work, case.unit_id)]
    return notify.remind(work, rows)


def _reminder(case: ReclaimCase, audience: tuple[UUID, Role], days: int) -> dict[str, Any]:
    told = {"ends_at": case.evidence["ends_at"], "days": days}
    return history.reminder(case, audience, "reclaim.term_ends", f"term/{case.id}/{days}", **told)


def ask_to_renew(work: Work, case_id: UUID, *, until: datetime, reason: str) -> ReclaimCase:
    """The owner asks for a longer term, with a reason; the authority answers as it answers an objection.

    Raises NotFound, Forbidden ``duty.missing``, Conflict ``reclaim.no_term``, ``reclaim.state``, Invalid.
    """
    case = objections.of_its_unit(work, case_id)
    end = ends_at(case)
    if end is None:
        raise Conflict("reclaim.no_term")
    problems = [] if reason.strip() else [Problem("reason.missing", "reason")]
    if not max(end, work.now) < until <= work.now + timedelta(days=366 * MOST_YEARS):
        problems.append(Problem("date.too_far" if until > end else "date.order", "until", params={"years": MOST_YEARS}))
    if problems:
        raise Invalid(problems)
    objections.put(work, case, "reclaim.renewal_asked", reason=reason, renew_until=until)
    return case

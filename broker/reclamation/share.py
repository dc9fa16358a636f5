"""The share of a unit's and of a cloud's resources that may be suspended at once: a wrong policy takes no city down.

Called by: the step that admits a case to its suspension; the board. Must not: decide what a case is about.

Admissions take one lock, and count after they have it: two that run at the same time see each other; the database does
the same once more when the case's state changes, by the shares in its row. A unit counts with the tree below it, and so
does each unit above it but the region itself: fifty counties are one city.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from broker.reclamation import rules
from broker.reclamation.models import ReclaimCase
from broker.reclamation.values import Room
from broker.settings import Settings
from broker.tenancy.work import Work

_LOCK = 0x7265_636C

_ROOMS = text("SELECT scope, scope_id, live, held FROM broker.reclaim_rooms(:unit, :cloud, :case, :now)")


def rooms(work: Work, settings: Settings, unit_id: UUID, sub_cloud_id: UUID, *, but: UUID | None = None) -> list[Room]:
    """What is live and held in every scope that a unit's resources in a cloud count in, without the case ``but``."""
    values = {"unit": unit_id, "cloud": sub_cloud_id, "case": but, "now": work.now}
    percent = {"unit": settings.reclaim_unit_percent, "cloud": settings.reclaim_cloud_percent}
    rows = work.session.execute(_ROOMS, values)
    return [Room(row.scope, row.scope_id, row.live, row.held, percent[row.scope]) for row in rows]


def first_part(work: Work, settings: Settings, case: ReclaimCase, sizes: Sequence[int]) -> tuple[int, str]:
    """How many of a case's things may go on, and the scope (``unit``, ``cloud``) that has no room for the next one.

    Until the caller's transaction ends no other case is admitted.
    """
    work.session.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _LOCK})
    work.session.flush()
    return rules.first_part(sizes, rooms(work, settings, case.unit_id, case.sub_cloud_id, but=case.id))


def admit(work: Work, settings: Settings, case: ReclaimCase) -> None:
    """The row says by which shares it was admitted; the database counts once more by them."""
    case.admitted_at = work.now
    case.share_unit_percent, case.share_cloud_percent = settings.reclaim_unit_percent, settings.reclaim_cloud_percent

"""How far networks are: steps done, days that hold, permissions to stay; read for many at once.

Called by: ``steps``, ``dates``, ``stops``, ``board``. Must not: decide what follows from it (``rules`` does).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from broker.dedicated.models import NetworkDate, NetworkStay, NetworkStep
from broker.dedicated.values import STEPS, Progress


def of_many(session: Session, network_ids: Sequence[UUID]) -> Mapping[UUID, Progress]:
    """Two statements, however many there are."""
    done: dict[UUID, dict[object, date]] = defaultdict(dict)
    for row in session.execute(
        select(NetworkStep.network_id, NetworkStep.position, NetworkStep.done_on).where(
            NetworkStep.network_id.in_(network_ids)
        )
    ):
        done[row.network_id][STEPS[row.position - 1]] = row.done_on
    due: dict[UUID, dict[object, date]] = defaultdict(dict)
    for each in dates(session, network_ids):
        due[each.network_id][STEPS[each.position - 1]] = each.due_on
    return {i: Progress(done.get(i, {}), due.get(i, {})) for i in network_ids}  # type: ignore[arg-type]


def of(session: Session, network_id: UUID) -> Progress:
    """One network's."""
    return of_many(session, [network_id])[network_id]


def dates(session: Session, network_ids: Sequence[UUID]) -> Sequence[NetworkDate]:
    """The days that hold: of each step the last one given."""
    newest = (
        select(NetworkDate)
        .ext(distinct_on(NetworkDate.network_id, NetworkDate.position))
        .where(NetworkDate.network_id.in_(network_ids))
        .order_by(NetworkDate.network_id, NetworkDate.position, NetworkDate.version.desc())
    )
    return session.scalars(newest).all()


def stays(session: Session, network_ids: Sequence[UUID], today: date) -> Mapping[UUID, date]:
    """Until when networks may stay, of those that may today."""
    rows = session.execute(
        select(NetworkStay.network_id, func.max(NetworkStay.until).label("until"))
        .where(NetworkStay.network_id.in_(network_ids), NetworkStay.until >= today)
        .group_by(NetworkStay.network_id)
    )
    return {row.network_id: row.until for row in rows}

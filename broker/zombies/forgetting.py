"""Scans of idleness and of zombies are kept as long as the samples they were made of; older ones are forgotten nightly.

Called by: the step after the night's scan (``workflows.measure_steps``). Must not: forget what a case or a decision
rests on, or the newest scan: the database's function sees to that, and the runtime role can delete in no other way.
"""

from __future__ import annotations

from datetime import datetime

import structlog
from sqlalchemy import text

from broker.settings import Settings
from broker.tenancy.work import WorkFactory

log = structlog.get_logger(__name__)

_FORGET = text("SELECT what, gone FROM broker.forget_scans(:since)")


def forget(works: WorkFactory, settings: Settings) -> dict[str, int]:
    """Delete what is older than ``GUIYUN_UTILISATION_MONTHS``; returns how many rows of each table are gone."""
    with works.begin() as work:
        since = _months_before(work.now, settings.utilisation_months)
        found = {row.what: row.gone for row in work.session.execute(_FORGET, {"since": since}) if row.gone}
    if found:
        log.info("scans forgotten", since=since.date().isoformat(), **found)
    return found


def _months_before(at: datetime, months: int) -> datetime:
    """The first day of the month that many months ago: whole months are kept, as samples are."""
    years, month = divmod(at.month - 1 - months, 12)
    return at.replace(year=at.year + years, month=month + 1, day=1, hour=0, minute=0, second=0, microsecond=0)

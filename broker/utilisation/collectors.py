"""Collectors: a row a sub-cloud with the date of its next reading, and the short act that reads it into the store.

Called by: dispatch (``make``, ``due``), the workflow's step (``collect``), the command line. Must not: hold a
transaction while a cloud, a Prometheus or the store is busy.

An act may be killed anywhere and carried again: reading changes nothing outside, an import can be repeated, and the row
moves on by one statement that only one act can win. Hours that were read are read again a while later, for what arrived
late; what a source has kept while we were away is caught up day by day.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from broker.catalog import repository as catalog
from broker.catalog.models import SubCloud
from broker.db.base import AnyRow, new_id
from broker.errors import BrokerError, NotFound
from broker.settings import Settings
from broker.tenancy.work import Work, WorkFactory
from broker.utilisation import counters, service, store
from broker.utilisation.counters import Looks
from broker.utilisation.models import Collector
from broker.utilisation.sources import Named, Source
from broker.utilisation.store import Imported
from broker.utilisation.telemetry_file import read_telemetry
from broker.utilisation.values import COLUMNS
from providers.contract import Provider, Telemetry
from providers.errors import ProviderError

log = structlog.get_logger(__name__)

HOUR = timedelta(hours=1)
AFTER_THE_HOUR = timedelta(minutes=5)
"""What was measured until the hour's end has arrived by then, ordinarily."""
AGAIN = timedelta(hours=3)
"""How far back hours are read again, for what arrived late."""
FIRST = timedelta(days=14)
"""How far back a source is asked the first time, if it keeps a history."""
AT_ONCE = timedelta(days=2)
"""How much one act reads; the next one follows at once."""
NOTHING_TO_READ = timedelta(days=1)
_PAUSE, _LONGEST_PAUSE = timedelta(minutes=5), timedelta(hours=1)
_WAIT_S = 120.0
"""For other imports: they are short, and there is one store."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What an act works with."""

    works: WorkFactory
    settings: Settings
    providers: Callable[[str], Provider]


@dataclass(frozen=True, slots=True)
class Errand:
    """One act that wants carrying: the row, which act of it, where."""

    id: UUID
    run: int
    sub_cloud: str


def make(work: Work) -> int:
    """A collector for every sub-cloud in service that has none; first due after the hour. Returns how many are new."""
    known = set(work.session.scalars(select(Collector.sub_cloud_id)))
    missing = [cloud.id for cloud in catalog.in_service(work.session) if cloud.id not in known]
    if missing:
        due_at = _hour(work.now) + HOUR + AFTER_THE_HOUR
        rows = [{"id": new_id(), "sub_cloud_id": cloud, "due_at": due_at} for cloud in missing]
        work.session.execute(insert(Collector).values(rows).on_conflict_do_nothing(index_elements=["sub_cloud_id"]))
    return len(missing)


def due(session: Session, now: datetime) -> list[Errand]:
    """The acts whose date has come, of sub-clouds in service, longest overdue first."""
    statement = (
        select(Collector.id, Collector.run, SubCloud.code)
        .join(SubCloud, SubCloud.id == Collector.sub_cloud_id)
        .where(Collector.due_at <= now, SubCloud.retired_at.is_(None))
        .order_by(Collector.due_at)
        .limit(100)
    )
    return [Errand(row.id, row.run, row.code) for row in session.execute(statement)]


def of(session: Session, sub_cloud: str) -> Errand:
    """The next act of one sub-cloud's collector, due or not. Raises NotFound ``sub_cloud.unknown``."""
    statement = select(Collector.id, Collector.run).join(SubCloud, SubCloud.id == Collector.sub_cloud_id)
    row = session.execute(statement.where(SubCloud.code == sub_cloud)).first()
    if row is None:
        raise NotFound("sub_cloud.unknown")
    return Errand(row.id, row.run, sub_cloud)


def standing(session: Session) -> list[AnyRow]:
    """How every collector stands: rows of ``(Collector, SubCloud)`` in the region's order."""
    statement = (
        select(Collector, SubCloud)
        .join(SubCloud, SubCloud.id == Collector.sub_cloud_id)
        .where(SubCloud.retired_at.is_(None))
        .order_by(SubCloud.position)
    )
    return list(session.execute(statement).all())


def collect(bench: Bench, errand: Errand) -> bool:
    """Carry one act; whatever happens, the row gets its next date. False: it failed, and says why."""
    with bench.works.begin() as work:
        row = work.session.get_one(Collector, errand.id)
        if row.run != errand.run:
            return True
        read_until, read_from, failures, now = row.read_until, row.source, row.failures, work.now
        facts = service.facts_of(work, errand.sub_cloud)
    try:
        source = _source(bench, errand.sub_cloud)
        name, telemetry = source.name, source.telemetry
        source.look(now)
        # What another source has not told may stand in this one: it is read from its beginning.
        start, end = _window(read_until if read_from == name else None, now, telemetry)
        named = Named(facts)
        done = _take_in(bench.settings, source, named, (start, end), now) if telemetry is not Telemetry.NONE else None
    except (ProviderError, BrokerError) as error:
        log.warning("not collected", sub_cloud=errand.sub_cloud, code=error.code)
        pause = min(_PAUSE * 2**failures, _LONGEST_PAUSE)
        _end(bench, errand, due_at=now + pause, error_code=error.code, failures=failures + 1)
        return False
    outcome = _outcome(done, named, (start, end)) if done else None
    read = {"source": name, "outcome": outcome, "read_until": end if done else read_until}
    _end(bench, errand, due_at=_next(now, end, telemetry), error_code=None, failures=0, **read)
    return True


def catch_up(bench: Bench, sub_cloud: str) -> bool:
    """Act after act, as dispatch would start them, until nothing is left to read. Raises NotFound."""
    while True:
        with bench.works.begin() as work:
            errand = of(work.session, sub_cloud)
        if not collect(bench, errand):
            return False
        with bench.works.begin() as work:
            if work.session.get_one(Collector, errand.id).due_at > work.now:
                return True


def _source(bench: Bench, code: str) -> Source:
    known = read_telemetry(bench.settings.telemetry_file).get(code)
    looks = Looks(store.storage_of(bench.settings), code)
    return Source(known, lambda: bench.providers(code), looks)


def _window(read_until: datetime | None, now: datetime, telemetry: Telemetry) -> tuple[datetime, datetime]:
    """The whole hours to read, from those that are read again to the last that has passed, or as many as fit."""
    last = _hour(now - AFTER_THE_HOUR)
    first = last - (AGAIN if telemetry is Telemetry.COUNTERS else FIRST)
    start = first if read_until is None else max(first, min(read_until, last) - AGAIN)
    return start, min(last, start + AT_ONCE)


def _next(now: datetime, end: datetime, telemetry: Telemetry) -> datetime:
    if telemetry is Telemetry.NONE:
        return now + NOTHING_TO_READ
    if telemetry is Telemetry.COUNTERS:
        return now + counters.EVERY
    return now if end < _hour(now - AFTER_THE_HOUR) else _hour(now - AFTER_THE_HOUR) + HOUR + AFTER_THE_HOUR


def _take_in(
    settings: Settings, source: Source, named: Named, window: tuple[datetime, datetime], now: datetime
) -> Imported:
    """Through the same door as a file by hand, so that the same is left out for the same reasons."""
    with tempfile.TemporaryDirectory(prefix="guiyun-collected-") as folder:
        path = Path(folder) / "collected.csv"
        counters.write(path, named(source.rows(*window)), COLUMNS)
        return service.import_file(settings, path, now, wait_s=_WAIT_S)


def _outcome(done: Imported, named: Named, window: tuple[datetime, datetime]) -> dict[str, Any]:
    counts = asdict(done)
    intake = counts.pop("intake")
    if named.unknown:
        intake["left"] += ({"reason": "sample.unknown_server", "count": named.unknown, "first": tuple(named.first)},)
    intake["rows"] += named.unknown
    return {"from": window[0].isoformat(), "to": window[1].isoformat(), **intake, **counts}


def _end(bench: Bench, errand: Errand, **columns: Any) -> None:
    """One act, one move of the row: whoever comes second moves nothing."""
    with bench.works.begin() as work:
        work.session.execute(
            update(Collector)
            .where(Collector.id == errand.id, Collector.run == errand.run)
            .values(run=errand.run + 1, ended_at=work.now, **columns)
        )


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)

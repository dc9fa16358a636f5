"""The detection of each day: measured runs and what is seen, held against what is known, written down once.

Called by: dispatch (``make``, ``due``), the workflow's step (``detect``), ``guiyun idle detect``. Must not: take
anything back, or hold a transaction while samples are read and clouds are asked.

A cloud that does not answer ends no finding: what was seen there stands until somebody looks again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, astuple
from datetime import date, datetime, time, timedelta
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from broker.catalog import repository as catalog
from broker.db.base import new_id
from broker.errors import BrokerError
from broker.inventory import repository as inventory
from broker.lifecycle import ResourceState
from broker.pricing import rules as pricing
from broker.pricing import service as prices
from broker.pricing.values import PriceVersion
from broker.tenancy.repository import codes_above
from broker.tenancy.work import Work
from broker.utilisation import findings, looking, policy_words, service
from broker.utilisation.collectors import Bench, Errand
from broker.utilisation.findings import Day, Key, Recorded, Seen
from broker.utilisation.looking import CURRENT, ZONE, Known, Look
from broker.utilisation.models import IdleFinding, IdleScan
from broker.utilisation.sightings import Sighting, Thing
from broker.utilisation.values import PolicySet

log = structlog.get_logger(__name__)

AT = time(4, 0)
"""When a day's detection is due (Asia/Shanghai): the day before has been collected, and few people work."""
BROKEN = "detection.broken"
"""A detection that broke without an answer that would say why; the log has it."""
_AGAIN = timedelta(hours=1)


def make(work: Work) -> bool:
    """The row of today's detection, once its hour has come. True: it is new."""
    local = work.now.astimezone(ZONE)
    if local.time() < AT or _made(work.session, local.date()):
        return False
    _make(work, local.date())
    return True


def _made(session: Session, day: date) -> bool:
    return session.scalar(select(IdleScan.id).where(IdleScan.day == day)) is not None


def _make(work: Work, day: date) -> None:
    row = insert(IdleScan).values(id=new_id(), day=day, due_at=work.now)
    work.session.execute(row.on_conflict_do_nothing(index_elements=["day"]))


def due(session: Session, now: datetime) -> list[Errand]:
    """Detections that wait to be carried: the newest only, for an older day's says nothing that it does not."""
    statement = (
        select(IdleScan.id, IdleScan.run)
        .where(IdleScan.finished_at.is_(None), IdleScan.due_at <= now)
        .order_by(IdleScan.day.desc())
        .limit(1)
    )
    return [Errand(row.id, row.run, "") for row in session.execute(statement)]


def today(work: Work) -> Errand:
    """Today's detection, whatever the hour and whether it was carried already: for somebody who wants it now."""
    day = work.now.astimezone(ZONE).date()
    _make(work, day)
    row = work.session.scalars(select(IdleScan).where(IdleScan.day == day)).one()
    row.finished_at = None
    work.session.flush()
    return Errand(row.id, row.run, "")


def newest(session: Session) -> IdleScan | None:
    """The last detection that was carried to its end."""
    return session.scalar(
        select(IdleScan).where(IdleScan.finished_at.is_not(None)).order_by(IdleScan.day.desc()).limit(1)
    )


def detect(bench: Bench, errand: Errand) -> bool:
    """Carry one detection; whatever happens, its row says so. False: it failed, and is due again in an hour."""
    try:
        with bench.works.begin() as work:
            row = work.session.get_one(IdleScan, errand.id)
            if row.run != errand.run or row.finished_at is not None:
                return True
            known = known_now(work)
        policies = service.policies_of(bench.settings)
        found = looking.look(bench, known, policies)
        with bench.works.begin() as work:
            _finish(work, errand, known, found, policies)
    except BrokerError as error:
        log.warning("not detected", code=error.code)
        return _later(bench, errand, error.code)
    except Exception:
        # Whatever it is, it is told where people look, and the next hour may know better.
        log.exception("not detected")
        return _later(bench, errand, BROKEN)
    return True


def known_now(work: Work) -> Known:
    """What a scan has to know of the rows."""
    day = work.now.astimezone(ZONE).date()
    rows = findings.still_open(work.session)
    return Known(
        day=day,
        facts=service.named(work),
        things=things_of(work),
        clouds=[cloud.code for cloud in catalog.in_service(work.session)],
        open={key: row.last_day for key, row in rows.items()},
        kept=inventory.kept_snapshots(work.session),
        going_on={key: row.policy_digest for key, row in rows.items() if _goes_on(row, day)},
    )


def _finish(work: Work, errand: Errand, known: Known, found: Look, policies: PolicySet) -> None:
    row = work.session.get_one(IdleScan, errand.id, with_for_update=True)
    if row.run != errand.run or row.finished_at is not None:
        return
    done = write_down(work, found, policies, known.things)
    row.finished_at, row.policy_version, row.error_code = work.now, policies.version, None
    row.run = errand.run + 1
    silent = sorted(set(known.clouds) - found.answered)
    row.outcome = asdict(done) | {"silent": silent}
    row.heat = [list(astuple(each)) for each in found.heat]
    work.record("idle.scanned", "idle_scan", row.id, data=row.outcome | {"day": str(known.day)})


def _later(bench: Bench, errand: Errand, code: str) -> bool:
    with bench.works.begin() as work:
        row = work.session.get_one(IdleScan, errand.id, with_for_update=True)
        if row.run == errand.run:
            row.error_code, row.due_at, row.run = code, work.now + _AGAIN, errand.run + 1
    return False


def things_of(work: Work) -> dict[UUID, Thing]:
    """Everything in use, and whether servers use it."""
    used = inventory.used_by(work.session)
    above = codes_above(work.session, work.now)
    found = {}
    for row in inventory.in_use(work.session, now=work.now):
        resource = row[0]
        taken, left_at = used.get(resource.id, (False, None))
        suspended = resource.state == ResourceState.STOPPED.value
        found[resource.id] = Thing(
            resource.id, resource.sub_cloud_id, service.facts(row, above), row.since, taken, left_at, suspended
        )
    return found


def write_down(work: Work, found: Look, policies: PolicySet, things: Mapping[UUID, Thing]) -> Recorded:
    """Hold what was found against the open rows: continue them, add new ones, end the others and say why."""
    rows = findings.still_open(work.session)
    seen = valued(work, found.idle, rows, (found.day, things))
    keep = {each.key for each in seen}
    ended = {key: why for key in rows if key not in keep and (why := _why(key, found, policies, things))}
    day = Day(found.day, policies.version, policy_words.digests(policies))
    return findings.record(work, day, seen, ended, rows)


def valued(
    work: Work, idle: Collection[Sighting], rows: Mapping[Key, IdleFinding], on: tuple[date, Mapping[UUID, Thing]]
) -> list[Seen]:
    """What is idle as it goes into the table: since when by what was known before, and what a month of it costs.

    ``on``: the day, and everything in use.
    """
    day, things = on
    costs = _costs(work, {each.resource_id for each in idle}, things)
    return [_seen(each, rows.get(each.key), day, costs) for each in idle]


def _seen(each: Sighting, row: IdleFinding | None, day: date, costs: Mapping[UUID, int | None]) -> Seen:
    before = row if row is not None and _goes_on(row, day) else None
    first = each.first_day or (before.first_day if before is not None else day)
    days = each.days or (each.last_day - first).days + 1
    if each.cut and before is not None:
        first, days = before.first_day, before.days + (each.last_day - before.last_day).days
    # What was kept of a snapshot or an address is not charged for by itself.
    cost = costs.get(each.resource_id) if not each.object_ref else None
    ripe = days >= each.policy.days
    return Seen(
        each.resource_id,
        each.kind,
        each.policy.name,
        each.object_ref,
        first,
        each.last_day,
        days,
        each.evidence,
        cost,
        ripe,
    )


def _goes_on(row: IdleFinding, day: date) -> bool:
    return row.scanned_on >= day - CURRENT


def _why(key: Key, found: Look, policies: PolicySet, things: Mapping[UUID, Thing]) -> str:
    """Why a row that was not seen again ends; empty: nobody could look, so that it stands."""
    thing = things.get(key[0])
    policy = next((each for each in policies.policies if each.name == key[1]), None)
    if thing is None:
        return "gone"
    if policy is None:
        return "policy_gone"
    if key in found.exempted:
        return "exempted"
    if thing.suspended:
        return "suspended"
    if policy.seen:
        return "in_use" if thing.facts.sub_cloud in found.answered else ""
    return "in_use" if key in found.busy else "not_measured"


def _costs(work: Work, ids: Collection[UUID], things: Mapping[UUID, Thing]) -> Mapping[UUID, int | None]:
    """What a month of each costs by the list prices of now; None where something of it has no price."""
    metered = inventory.metered_now(work.session, ids)
    known = {
        cloud: prices.prices_at(work.session, sub_cloud_id=cloud, at=work.now)
        for cloud in {things[each].sub_cloud_id for each in ids}
    }
    return dict(_cost(ids, things, metered, known, work.now))


def _cost(
    ids: Collection[UUID],
    things: Mapping[UUID, Thing],
    metered: Mapping[UUID, tuple[str, dict[str, int]]],
    known: Mapping[UUID, tuple[PriceVersion, ...]],
    now: datetime,
) -> Iterator[tuple[UUID, int | None]]:
    for each in ids:
        state, quantities = metered.get(each, ("", {}))
        if state == "stopped":
            quantities = {meter: n for meter, n in quantities.items() if meter not in pricing.FREE_WHEN_STOPPED}
        quote = pricing.quote(quantities, known[things[each].sub_cloud_id], now)
        yield each, None if quote.missing or not quantities else quote.total_fen

"""The detection of each day: measured runs and what is seen, held against what is known, written down once.

Called by: dispatch (``make``, ``due``), the workflow's step (``detect``), ``guiyun idle detect``. Must not: take
anything back, or hold a transaction while samples are read and clouds are asked.

A cloud that does not answer ends no finding: what was seen there stands until somebody looks again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, astuple, dataclass
from datetime import date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

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
from broker.tenancy.work import Work
from broker.utilisation import findings, pictures, service, sightings, store
from broker.utilisation.collectors import Bench, Errand
from broker.utilisation.engine import engine, parquet
from broker.utilisation.findings import Day, Evidence, FindingKind, Key, Recorded, Seen
from broker.utilisation.models import IdleFinding, IdleScan
from broker.utilisation.pictures import Heat
from broker.utilisation.rules import exemption_of
from broker.utilisation.samples import Report
from broker.utilisation.sightings import Shown, Sighting, Sky, Thing
from broker.utilisation.values import HOUR, ID, Facts, Figures, MissingDay, Policy, PolicySet, Run, conditions
from providers.contract import Kind, Observed, Provider
from providers.errors import ProviderError

log = structlog.get_logger(__name__)

ZONE = ZoneInfo("Asia/Shanghai")
AT = time(4, 0)
"""When a day's detection is due (Asia/Shanghai): the day before has been collected, and few people work."""
CURRENT = timedelta(days=3)
"""A run is a finding while its last day, or the last scan that saw it, is no older: samples and scans may be late."""
MARGIN = timedelta(days=14)
"""How much further back than the longest policy's days samples are read: for days that were late or missing."""
_AGAIN = timedelta(hours=1)
_OFF_METRICS = frozenset({"vcpu", "n_off"})


@dataclass(frozen=True, slots=True)
class Known:
    """What the rows say before a scan. ``open``: resources that have a finding or are watched. ``kept``: snapshots.

    ``going_on``: findings that the last scans saw, with the version of the policies they went by.
    """

    day: date
    facts: Mapping[str, Facts]
    things: Mapping[UUID, Thing]
    clouds: Collection[str]
    open: frozenset[UUID]
    kept: frozenset[UUID]
    going_on: Mapping[Key, str]


@dataclass(frozen=True, slots=True)
class Look:
    """What a scan has found out: what is idle, whom a policy leaves alone, which clouds answered, what has samples."""

    day: date
    idle: tuple[Sighting, ...]
    exempted: frozenset[Key]
    answered: frozenset[str]
    measured: frozenset[UUID]
    heat: tuple[Heat, ...]


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
    with bench.works.begin() as work:
        row = work.session.get_one(IdleScan, errand.id)
        if row.run != errand.run or row.finished_at is not None:
            return True
        day = work.now.astimezone(ZONE).date()
        rows = findings.still_open(work.session)
        known = Known(
            day=day,
            facts=service.facts_of(work),
            things=things_of(work),
            clouds=[cloud.code for cloud in catalog.in_service(work.session)],
            open=frozenset(key[0] for key in rows),
            kept=inventory.kept_snapshots(work.session),
            going_on={key: row.policy_version for key, row in rows.items() if _goes_on(row, day)},
        )
    try:
        policies = service.policies_of(bench.settings)
        found = look(bench, known, policies)
    except BrokerError as error:
        log.warning("not detected", code=error.code)
        with bench.works.begin() as work:
            row = work.session.get_one(IdleScan, errand.id, with_for_update=True)
            if row.run == errand.run:
                row.error_code, row.due_at, row.run = error.code, work.now + _AGAIN, errand.run + 1
        return False
    with bench.works.begin() as work:
        row = work.session.get_one(IdleScan, errand.id, with_for_update=True)
        if row.run != errand.run or row.finished_at is not None:
            return True
        done = write_down(work, found, policies, known.things)
        row.finished_at, row.policy_version, row.error_code = work.now, policies.version, None
        row.run = errand.run + 1
        silent = sorted(set(known.clouds) - found.answered)
        row.outcome = asdict(done) | {"silent": silent}
        row.heat = [list(astuple(each)) for each in found.heat]
        work.record("idle.scanned", "idle_scan", row.id, data=row.outcome | {"day": str(known.day)})
    return True


def things_of(work: Work) -> dict[UUID, Thing]:
    """Everything in use, and whether servers use it."""
    used = inventory.used_by(work.session)
    found = {}
    for row in inventory.in_use(work.session, now=work.now):
        resource = row[0]
        taken, left_at = used.get(resource.id, (False, None))
        suspended = resource.state == ResourceState.STOPPED.value
        found[resource.id] = Thing(
            resource.id, resource.sub_cloud_id, service.facts(row), row.since, taken, left_at, suspended
        )
    return found


def look(bench: Bench, known: Known, policies: PolicySet) -> Look:
    """Scan the samples and ask the clouds; no transaction is open."""
    idle, exempted = _measured(bench, known, policies)
    ended = known.open - {each.resource_id for each in idle}
    shown: dict[str, Shown] = {}
    if any(policy.seen for policy in policies.policies):
        answers = {code: _ask(bench.providers, code) for code in known.clouds}
        shown = {code: answer for code, answer in answers.items() if answer is not None}
    off = {each.resource_id for each in idle if each.kind is FindingKind.OFF}
    sky = Sky(known.things, shown, known.day, ZONE, known.kept)
    for each in (each for policy in policies.policies if policy.seen for each in sightings.seen(policy, sky)):
        if each.kind is FindingKind.OFF and each.resource_id in off:
            continue  # samples say so already, and since when
        thing = known.things[each.resource_id]
        if exemption_of(_as_run(each, thing), thing.facts, each.policy, policies):
            exempted.add(each.key)
        else:
            idle.append(each)
    measured = _with_samples(bench, known) if ended else frozenset()
    warm = tuple(pictures.heat(bench.settings, known.facts, known.day, ZONE))
    return Look(known.day, tuple(idle), frozenset(exempted), frozenset(shown), measured, warm)


def _measured(bench: Bench, known: Known, policies: PolicySet) -> tuple[list[Sighting], set[Key]]:
    """Runs that go on, and those that a policy leaves alone; from as few days as tell.

    A run that begins where reading began is continued from what was found before. Where nothing was found before, or
    by other policies, all that is kept is read.
    """
    first = _first_day(known.day, policies)
    found, exempted = _since(bench, known, policies, first)
    if first is not None and any(each.cut and known.going_on.get(each.key) != policies.version for each in found):
        return _since(bench, known, policies, None)
    return found, exempted


def _first_day(day: date, policies: PolicySet) -> date | None:
    """The first day that has to be read; None: all of them. What a skipped day does to a run's days is only in them."""
    if any(policy.missing_day is MissingDay.SKIP for policy in policies.measured):
        return None
    return day - timedelta(days=max((policy.days for policy in policies.measured), default=0)) - MARGIN


def _since(bench: Bench, known: Known, policies: PolicySet, first: date | None) -> tuple[list[Sighting], set[Key]]:
    by_name = {policy.name: policy for policy in policies.policies}
    day = known.day
    idle: list[Sighting] = []
    exempted: set[Key] = set()
    end = datetime.combine(day + timedelta(days=1), time(), ZONE)
    for each in service.scan_store(bench.settings, known.facts, policies, (ZONE, end), Report(), first=first):
        run, policy = each.run, by_name[each.run.policy]
        if each.facts is None or each.facts.resource_id is None or run.last_day < day - CURRENT:
            continue
        if known.things[each.facts.resource_id].suspended:
            continue
        if each.exemption is not None:
            exempted.add((each.facts.resource_id, policy.name, ""))
            continue
        evidence = tuple(Evidence("measured", _figures(figures)) for figures in run.evidence)
        kind = FindingKind.OFF if _about_power(policy) else FindingKind.IDLE
        cut = first is not None and run.first_day <= first
        seen = Sighting(each.facts.resource_id, kind, policy, evidence, run.last_day, run.first_day, run.days, cut=cut)
        idle.append(seen)
    return idle, exempted


def _about_power(policy: Policy) -> bool:
    return all(leaf.metric in _OFF_METRICS for leaf in conditions(policy.when))


def _figures(figures: Figures) -> dict[str, object]:
    leaf = figures.condition
    limits = {"below": None if leaf.below is None else str(leaf.below)}
    limits |= {"above": None if leaf.above is None else str(leaf.above)}
    measured = {"least": figures.least, "greatest": figures.greatest, "mean": figures.mean}
    return {"metric": leaf.metric, "daily": leaf.daily.value, **limits, **measured}


def _ask(providers: service.Providers, code: str) -> Shown | None:
    """What one cloud shows of itself; None when it does not answer."""
    try:
        provider = providers(code)
        return Shown(
            servers={seen.key.id: seen for seen in _list(provider, Kind.SERVER)},
            attachments={seen.key.id: seen for seen in _list(provider, Kind.ATTACHMENT)},
            snapshots=_list(provider, Kind.SNAPSHOT),
            addresses=provider.loose_addresses(),
        )
    except ProviderError as error:
        log.warning("not seen", sub_cloud=code, code=error.code)
        return None


def _list(provider: Provider, kind: Kind) -> list[Observed]:
    return list(provider.list(kind)) if kind in provider.capabilities.kinds else []


def _as_run(each: Sighting, thing: Thing) -> Run:
    """A sighting as exemptions see runs."""
    first = each.first_day or each.last_day
    return Run(thing.facts.number, each.policy.name, first, each.last_day, (each.last_day - first).days + 1)


def _with_samples(bench: Bench, known: Known) -> frozenset[UUID]:
    """Who has been measured lately: where a run ended because of what was measured, and not for want of samples."""
    since = known.day - CURRENT
    files = store.hourly_files(bench.settings, since)
    if not files:
        return frozenset()
    start = datetime.combine(since, time(), ZONE)
    with engine(bench.settings.utilisation_memory_mib) as db:
        sql = f"SELECT DISTINCT {ID} FROM {parquet(files)} WHERE epoch({HOUR}) >= {start.timestamp():.0f}"
        names = [row[0] for row in db.rows(sql)]
    found = (known.facts[name].resource_id for name in names if name in known.facts)
    return frozenset(each for each in found if each is not None)


def write_down(work: Work, found: Look, policies: PolicySet, things: Mapping[UUID, Thing]) -> Recorded:
    """Hold what was found against the open rows: continue them, add new ones, end the others and say why."""
    rows = findings.still_open(work.session)
    costs = _costs(work, {each.resource_id for each in found.idle}, things)
    seen = [_seen(each, rows.get(each.key), found.day, costs) for each in found.idle]
    keep = {each.key for each in seen}
    ended = {key: why for key in rows if key not in keep and (why := _why(key, found, policies, things))}
    return findings.record(work, Day(found.day, policies.version), seen, ended, rows)


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
    return "in_use" if thing.id in found.measured else "not_measured"


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

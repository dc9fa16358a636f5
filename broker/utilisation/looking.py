"""What there is to see on one day: runs in the samples, what clouds show, and what is idle no more.

Called by: ``utilisation.detection`` (each night), reclamation's dry runs (by a policy that does not act yet). Must not:
write anything, or hold a transaction: samples are read and clouds are asked here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog

from broker.settings import Settings
from broker.utilisation import again, pictures, policy_words, service, sightings
from broker.utilisation.collectors import Bench
from broker.utilisation.findings import Evidence, FindingKind, Key
from broker.utilisation.pictures import Heat
from broker.utilisation.rules import exemption_of
from broker.utilisation.samples import Report
from broker.utilisation.sightings import Shown, Sighting, Sky, Thing
from broker.utilisation.values import Facts, Figures, MissingDay, Policy, PolicySet, Run, conditions
from providers.contract import Kind, Observed, Provider
from providers.errors import ProviderError

log = structlog.get_logger(__name__)

ZONE = ZoneInfo("Asia/Shanghai")
CURRENT = timedelta(days=3)
"""A run is a finding while its last day, or the last scan that saw it, is no older: samples and scans may be late."""
MARGIN = timedelta(days=14)
"""How much further back than the longest policy's days samples are read: for days that were late or missing."""
_OFF_METRICS = frozenset({"vcpu", "n_off"})


@dataclass(frozen=True, slots=True)
class Known:
    """What the rows say before a scan. ``open``: what has a finding or is watched, and its last day.

    ``kept``: snapshots that cases keep.
    ``going_on``: findings that the last scans saw, with the digest of the policy that they went by.
    """

    day: date
    facts: Mapping[str, Facts]
    things: Mapping[UUID, Thing]
    clouds: Collection[str]
    open: Mapping[Key, date]
    kept: frozenset[UUID]
    going_on: Mapping[Key, str]


@dataclass(frozen=True, slots=True)
class Look:
    """What a scan has found out: what is idle, whom a policy leaves alone, which clouds answered.

    ``busy``: of what was idle before, what a measured day shows not to match any more.
    """

    day: date
    idle: tuple[Sighting, ...]
    exempted: frozenset[Key]
    answered: frozenset[str]
    busy: frozenset[Key]
    heat: tuple[Heat, ...]


def look(bench: Bench, known: Known, policies: PolicySet) -> Look:
    """Scan the samples and ask the clouds; no transaction is open."""
    idle, exempted = measured(bench.settings, known, policies)
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
        if exempt(each, thing, policies):
            exempted.add(each.key)
        else:
            idle.append(each)
    found = once(idle)
    busy = _busy(bench, known, policies, exempted | found.keys())
    warm = tuple(pictures.heat(bench.settings, known.facts, known.day, ZONE))
    return Look(known.day, tuple(found.values()), frozenset(exempted), frozenset(shown), busy, warm)


def once(idle: Sequence[Sighting]) -> dict[Key, Sighting]:
    """One sighting for each key: of two runs of these days the later, of what a cloud shows twice the longer."""
    found: dict[Key, Sighting] = {}
    for each in idle:
        before = found.get(each.key)
        if before is None or (before.last_day, before.days or 0) < (each.last_day, each.days or 0):
            found[each.key] = each
    return found


def measured(settings: Settings, known: Known, policies: PolicySet) -> tuple[list[Sighting], set[Key]]:
    """Runs that go on, and those that a policy leaves alone; from as few days as tell.

    A run that begins where reading began is continued from what was found before. Where nothing was found before, or
    by another content of the policy, all that is kept is read.
    """
    first = _first_day(known.day, policies)
    found, exempted = _since(settings, known, policies, first)
    now = policy_words.digests(policies)
    if first is not None and any(each.cut and known.going_on.get(each.key) != now[each.policy.name] for each in found):
        return _since(settings, known, policies, None)
    return found, exempted


def _first_day(day: date, policies: PolicySet) -> date | None:
    """The first day that has to be read; None: all of them. What a skipped day does to a run's days is only in them."""
    if any(policy.missing_day is MissingDay.SKIP for policy in policies.measured):
        return None
    return day - timedelta(days=max((policy.days for policy in policies.measured), default=0)) - MARGIN


def _since(
    settings: Settings, known: Known, policies: PolicySet, first: date | None
) -> tuple[list[Sighting], set[Key]]:
    by_name = {policy.name: policy for policy in policies.policies}
    day = known.day
    idle: list[Sighting] = []
    exempted: set[Key] = set()
    end = datetime.combine(day + timedelta(days=1), time(), ZONE)
    for each in service.scan_store(settings, known.facts, policies, (ZONE, end), Report(), first=first):
        run, policy = each.run, by_name[each.run.policy]
        if each.facts is None or each.facts.resource_id is None or run.last_day < day - CURRENT:
            continue
        thing = known.things.get(each.facts.resource_id)
        if thing is None or thing.suspended:  # given back between two looks at the rows, or stopped by us
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
    except Exception:  # what one cloud says that nobody understands hides no other
        log.exception("not seen", sub_cloud=code)
    return None


def _list(provider: Provider, kind: Kind) -> list[Observed]:
    return list(provider.list(kind)) if kind in provider.capabilities.kinds else []


def exempt(each: Sighting, thing: Thing, policies: PolicySet) -> bool:
    """Whether its policy leaves it alone; a sighting as exemptions see runs."""
    first = each.first_day or each.last_day
    run = Run(thing.facts.number, each.policy.name, first, each.last_day, (each.last_day - first).days + 1)
    return exemption_of(run, thing.facts, each.policy, policies) is not None


def _busy(bench: Bench, known: Known, policies: PolicySet, still: Collection[Key]) -> frozenset[Key]:
    """Whose run ended because of what was measured, and not for want of samples or of one of their metrics."""
    end = datetime.combine(known.day, time(), ZONE)
    found: set[Key] = set()
    for policy in policies.measured:
        ended = {key[0]: day for key, day in known.open.items() if key[1] == policy.name and key not in still}
        names = {name: each.resource_id for name, each in known.facts.items() if each.resource_id in ended}
        last_days = {name: ended[of] for name, of in names.items() if of is not None}
        if last_days:
            busy = again.contradicted(bench.settings, last_days, policy, (ZONE, end))
            found |= {(of, policy.name, "") for name, of in names.items() if name in busy and of is not None}
    return frozenset(found)

"""What a run is, and whom a policy leaves alone. Pure.

Called by: ``utilisation.scan`` (runs), ``utilisation.service`` (exemptions), the policy file's reader (bounds).
Must not: read files or run SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache

from broker.utilisation.values import (
    AllOf,
    Condition,
    Daily,
    Exemption,
    Facts,
    MissingDay,
    Policy,
    PolicySet,
    Run,
    When,
)

MATCH, OTHER, MISSING = "1", "0", "-"
"""One letter a day: it matches; it has its samples and does not match; it has too few samples."""

_MORE = {MissingDay.BREAK: "1", MissingDay.SKIP: "-*1"}
"""What a run goes on with after its first day."""


def day_letters(matches: str, measured: str) -> str:
    """Two strings of 0 and 1 (the day matches; the day has enough samples) as one letter a day."""
    if "0" not in measured:
        return matches
    return "".join(m if p == "1" else MISSING for m, p in zip(matches, measured, strict=True))


def runs_of(letters: str, missing_day: MissingDay, least: int) -> Iterator[tuple[int, int, int]]:
    """Each maximal run of at least so many matching days as (first, last, days): positions in ``letters``."""
    for found in _run(missing_day, least).finditer(letters):
        yield found.start(), found.end() - 1, found.group().count(MATCH)


@lru_cache(1024)
def _run(missing_day: MissingDay, least: int) -> re.Pattern[str]:
    # Greedy from left to right, so maximal; looking back saves trying again within a run that is too short.
    return re.compile(f"(?<!1)1(?:{_MORE[missing_day]}){{{least - 1},}}")


def exemption_of(run: Run, facts: Facts | None, policy: Policy, known: PolicySet) -> Exemption | None:
    """The first exemption of the policy that covers the run, or None.

    Without facts (metrics from a file) only exemptions by resource and by month can be seen.
    """
    for name in policy.exempt:
        found = _covering(run, facts, known.exemptions[name], known.exemptions)
        if found is not None:
            return found
    return None


def _covering(run: Run, facts: Facts | None, exemption: Exemption, known: Mapping[str, Exemption]) -> Exemption | None:
    if _covers(run, facts, exemption):
        return exemption
    for name in exemption.includes:
        found = _covering(run, facts, known[name], known)
        if found is not None:
            return found
    return None


def _covers(run: Run, facts: Facts | None, exemption: Exemption) -> bool:
    if exemption.months and run.last_day.month not in exemption.months:
        return False
    named = exemption.resources or exemption.systems or exemption.units
    wanted = named or exemption.mlps_level_from is not None or exemption.newer_than_days is not None
    if not wanted:
        return bool(exemption.months)
    if run.resource_id in exemption.resources:
        return True
    if facts is None:
        return False
    young = (
        exemption.newer_than_days is not None
        and facts.since is not None
        and run.last_day < facts.since + timedelta(days=exemption.newer_than_days)
    )
    return (
        young
        or not facts.names.isdisjoint(exemption.resources)
        or facts.system in exemption.systems
        or not exemption.units.isdisjoint(facts.units | {facts.unit})
        or (exemption.mlps_level_from is not None and facts.mlps_level >= exemption.mlps_level_from)
    )


def rivals(policies: Sequence[Policy]) -> list[tuple[str, str]]:
    """Policies of one file that look for the very same and differ in what they make of it: the first, and the other.

    Both hold, each by its own days, missing days, exemptions and grace: whoever wrote them has to know which was meant.
    """
    first: dict[tuple[object, ...], Policy] = {}
    found = []
    for policy in policies:
        known = first.setdefault((policy.kind, policy.seen, policy.when, policy.min_samples_per_day), policy)
        if known is not policy and replace(known, name=policy.name, title=policy.title) != policy:
            found.append((known.name, policy.name))
    return found


Bounds = dict[tuple[str, Daily], tuple[Decimal | None, Decimal | None]]
"""Per metric and daily figure: it must lie above the first and below the second."""


def contradiction(when: When) -> Condition | None:
    """A condition that cannot hold together with the others it is joined to by ``all``; None when there is none.

    Seen: one figure with a lower limit that is not below its upper one, and limits outside what a metric can be
    (below 0). Not seen: what follows from two different figures (a mean above 10 with a maximum below 5).
    """
    return _contradiction(when, {})


def _contradiction(when: When, bounds: Bounds) -> Condition | None:
    if isinstance(when, Condition):
        return None if _tighten(when, bounds) else when
    if isinstance(when, AllOf):
        for part in sorted(when.parts, key=lambda p: not isinstance(p, Condition)):
            found = _contradiction(part, bounds)
            if found is not None:
                return found
        return None
    for part in when.parts:
        found = _contradiction(part, dict(bounds))
        if found is not None:
            return found
    return None


def _tighten(condition: Condition, bounds: Bounds) -> bool:
    key = (condition.metric, condition.daily)
    low, high = bounds.get(key, (None, None))
    if condition.above is not None:
        low = condition.above if low is None else max(low, condition.above)
    if condition.below is not None:
        high = condition.below if high is None else min(high, condition.below)
    bounds[key] = (low, high)
    return not (high is not None and (high <= 0 or (low is not None and low >= high)))

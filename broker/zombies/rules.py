"""What the five signs of Art. 2(5) say of a system, exactly: whole numbers over frozen facts. Pure.

Called by: ``zombies.service`` (scan), tests. Must not: read the database or a clock, decide that a system is a zombie
(a person does), or take "not known" for "not used".

Of a sign counts the strongest evidence (points × confidence); narrow and rare use are half of theirs each. So more
evidence never lowers a score, what is not known never raises one, and the order in which it was found does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

from broker.zombies.values import Assessment, Evidence, Level, Sign, SignFound, Steps, SystemFacts, ZombieRules


def assess(facts: SystemFacts, rules: ZombieRules) -> Assessment:
    """Score one system. Σ weight × points × confidence, in hundredths of 100 points, half-even."""
    by_sign = {
        Sign.OUT_OF_STEP: tuple(_out_of_step(facts, rules)),
        Sign.REPLACEABLE: tuple(_replaceable(facts, rules)),
        Sign.IDLE: tuple(_idle(facts, rules)),
        Sign.UNMAINTAINED: tuple(_unmaintained(facts, rules)),
    }
    signs = [SignFound(sign, _most(found), found) for sign, found in by_sign.items()]
    narrow, rare = tuple(_narrow(facts, rules)), tuple(_rare(facts, rules))
    signs.append(SignFound(Sign.RARE, (_most(narrow) + _most(rare)) // 2, (*narrow, *rare)))
    score = round_half_even(sum(rules.weights[found.sign] * found.mass for found in signs), 100)
    level = (
        Level.LIKELY
        if score >= 100 * rules.likely
        else Level.SUSPECTED
        if score >= 100 * rules.suspected
        else Level.NONE
    )
    return Assessment(tuple(signs), score, level, tuple(_cautions(facts, rules)))


def round_half_even(numerator: int, denominator: int) -> int:
    """The nearest whole number; of two the even one."""
    whole, rest = divmod(numerator, denominator)
    return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1))


def steps(value: int, given: Steps) -> int:
    """The points of the last step that ``value`` has reached."""
    return max((points for least, points in given if value >= least), default=0)


def _most(evidence: Iterable[Evidence]) -> int:
    return max((each.mass for each in evidence), default=0)


def _reported(facts: SystemFacts, rules: ZombieRules) -> int:
    """How far to trust what a unit reported: fresh, old, or without a day."""
    if facts.reported_on is None:
        return rules.confidence["undated"]
    fresh = (facts.today - facts.reported_on).days <= rules.fresh_days
    return rules.confidence["reported" if fresh else "reported_old"]


def _ago(facts: SystemFacts, day: date) -> int:
    return (facts.today - day).days


def _out_of_step(facts: SystemFacts, rules: ZombieRules) -> Iterator[Evidence]:
    sure = _reported(facts, rules)
    if facts.ended:
        yield Evidence("ended", "register", 100, rules.confidence["inventory"])
    if facts.business_stopped_on is not None:
        stopped = facts.business_stopped_on <= facts.today
        yield Evidence("business_stopped", "register", 100 * stopped, sure, {"day": facts.business_stopped_on})
    if facts.last_business_on is not None:
        # A request is a sign of life, whatever was reported before it.
        last = max(facts.last_business_on, facts.last_request_on or facts.last_business_on)
        of_request = last != facts.last_business_on
        code, source = ("request_since", "requests") if of_request else ("last_business", "register")
        days = _ago(facts, last)
        yield Evidence(code, source, steps(days, rules.business_age), sure, {"day": last, "days": days})


def _replaceable(facts: SystemFacts, rules: ZombieRules) -> Iterator[Evidence]:
    if facts.replaceable_by is not None:
        named = {"name": facts.replaceable_by}
        yield Evidence("replacement_named", "register", rules.named_replacement, _reported(facts, rules), named)
    if facts.similar is not None and facts.similar.percent >= rules.similar_percent:
        other = {"name": facts.similar.name, "code": facts.similar.code, "percent": facts.similar.percent}
        yield Evidence("function_alike", "register", rules.similar, rules.confidence["similar"], other)


def _idle(facts: SystemFacts, rules: ZombieRules) -> Iterator[Evidence]:
    """The mean over all servers: one that nobody measured counts as none that is idle."""
    known = [s for s in facts.servers if s.idle_days is not None or s.off_days is not None]
    if not known:
        return
    points = sum(max(steps(s.idle_days or 0, rules.idle_days), steps(s.off_days or 0, rules.idle_days)) for s in known)
    idle = [s for s in known if max(s.idle_days or 0, s.off_days or 0) >= rules.idle_days[0][0]]
    params = {
        "servers": len(facts.servers),
        "idle": len(idle),
        "unmeasured": len(facts.servers) - len(known),
        "days": min((max(s.idle_days or 0, s.off_days or 0) for s in idle), default=0),
    }
    yield Evidence("servers_idle", "utilisation", points // len(facts.servers), rules.confidence["measured"], params)


def _unmaintained(facts: SystemFacts, rules: ZombieRules) -> Iterator[Evidence]:
    sure = _reported(facts, rules)
    if facts.maintenance_until is not None:
        days = _ago(facts, facts.maintenance_until)
        until = {"day": facts.maintenance_until, "days": max(days, 0)}
        yield Evidence(
            "contract_ended" if days > 0 else "contract_runs", "register", steps(days, rules.contract_age), sure, until
        )
    if facts.last_maintained_on is not None:
        days = _ago(facts, facts.last_maintained_on)
        last = {"day": facts.last_maintained_on, "days": days}
        yield Evidence("last_maintained", "register", steps(days, rules.maintenance_age), sure, last)


def _narrow(facts: SystemFacts, rules: ZombieRules) -> Iterator[Evidence]:
    if facts.monthly_users is not None:
        points = max((p for most, p in rules.users if facts.monthly_users <= most), default=0)
        yield Evidence("users", "register", points, _reported(facts, rules), {"users": facts.monthly_users})
    if any(word in facts.scope for word in rules.narrow.words):
        yield Evidence("scope", "register", rules.narrow.points, rules.confidence["wording"], {"text": facts.scope})


def _rare(facts: SystemFacts, rules: ZombieRules) -> Iterator[Evidence]:
    for each in rules.frequency:
        if any(word in facts.frequency for word in each.words):
            yield Evidence("frequency", "register", each.points, rules.confidence["wording"], {"text": facts.frequency})
            return


def _cautions(facts: SystemFacts, rules: ZombieRules) -> Iterator[str]:
    if any(word in facts.frequency for word in rules.seasonal):
        yield "seasonal"
    if facts.mlps_level >= 3:
        yield "mlps"
    if any(s.idle_days is None and s.off_days is None for s in facts.servers):
        yield "unmeasured"


_EDGES = frozenset("，。、；：（）()的和与及等 ")


def alike(one: str, other: str) -> int:
    """How much two descriptions share, in percent: pairs of neighbouring characters in both, of all (Jaccard)."""
    pairs, others = _pairs(one), _pairs(other)
    every = pairs | others
    return 100 * len(pairs & others) // len(every) if every else 0


def _pairs(text: str) -> set[str]:
    plain = "".join(c for c in text if c not in _EDGES)
    return {plain[n : n + 2] for n in range(len(plain) - 1)}

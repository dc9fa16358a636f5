"""Taking over prefixes that exist already, a verdict on every line; and writing the plan out so that it reads back.

Called by: ``broker.region.addresses`` and tests, with a session whose transaction is theirs. Must not: commit, open
files.

The lines are the same both ways: blocks and pools first (parents before children), then every live prefix. Only
``prefix`` has to be given; the rest is found or has a default.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv6Network
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import select, text
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from quotas import models, order
from quotas.errors import BadPrefix, PrefixOverlap, UnknownPool
from quotas.ipv6.service import ensure_pool, network_of
from quotas.ipv6.values import LIVE, PrefixState, Zone

FIELDS = ("kind", "zone", "routing_domain", "prefix", "level", "state", "owner", "until", "label", "id")
"""The columns of a plan in CSV and the keys in JSON. kind: block (holds pools), pool (hands out), prefix."""

NAMESPACE = UUID("5f0e7d0a-6f0b-5a35-9f0c-3fff00000000")
"""For owners, and ids of pools, of lines that bring none: the same line twice is the same prefix."""

GOOD = frozenset({"ok", "same"})
TAKE_OVER = text("SELECT n, answer FROM quotas.take_over(CAST(:lines AS jsonb)) ORDER BY n")
CHUNK = 5000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one line. ``ok``: taken over; ``same``: was there already; else why not, and what is there.

    overlaps (``by``: prefixes there, or a line of this file), duplicate (of ``of_line``), outside (of every pool),
    hands_out_nothing (a pool that holds pools), wrong_zone, ambiguous (several routing domains have it),
    unknown_domain, has_another (the owner), not_ipv6, host_bits, too_long, too_short, bad_kind, bad_state, bad_until,
    bad_label, bad_text (what no database keeps: NUL, half a character), bad_id, id_taken, different (a pool of that
    id), busy (somebody is working there).
    """

    line: int
    prefix: str
    outcome: str
    by: tuple[str, ...] = ()
    of_line: int | None = None

    @property
    def good(self) -> bool:
        return self.outcome in GOOD


@dataclass(frozen=True, slots=True)
class Report:
    """A verdict for each line, in order. ``written``: what is ``ok`` is now in the plan."""

    verdicts: tuple[Verdict, ...]
    written: bool

    @property
    def conflicts(self) -> tuple[Verdict, ...]:
        return tuple(v for v in self.verdicts if not v.good)


class _Bad(Exception):
    """A line that cannot be taken as it stands."""

    def __init__(self, outcome: str, *by: str, of_line: int | None = None) -> None:
        super().__init__(outcome)
        self.outcome, self.by, self.of_line = outcome, by, of_line


@dataclass(slots=True)
class _Plan:
    """The pools that are there, and what earlier lines have claimed."""

    zones: dict[str, str] = field(default_factory=dict)  # routing domain -> zone
    pools: dict[str, dict[tuple[IPv6Network, bool], UUID]] = field(default_factory=dict)
    claimed: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def around(self, domain: str, prefix: IPv6Network) -> tuple[IPv6Network, bool, UUID] | None:
        """The deepest pool of the domain that contains the prefix."""
        known = self.pools.get(domain, {})
        for length in range(prefix.prefixlen, -1, -1):
            whole = prefix.supernet(new_prefix=length)
            for hands_out in (True, False):
                if (whole, hands_out) in known:
                    return whole, hands_out, known[whole, hands_out]
        return None

    def domain_of(self, row: Mapping[str, str], prefix: IPv6Network) -> str:
        """The line's routing domain: as it says, or the only one of its zone (or of all) that contains the prefix."""
        zone, domain = row.get("zone", ""), row.get("routing_domain", "")
        if zone and zone not in set(Zone):
            raise _Bad("wrong_zone")
        if domain:
            if zone and self.zones.get(domain, zone) != zone:
                raise _Bad("wrong_zone")
            if domain not in self.zones and row.get("kind", "prefix") == "prefix":
                raise _Bad("unknown_domain")
            return domain
        found = [name for name in self.zones if self.around(name, prefix)]
        if not found:
            raise _Bad("outside")
        if zone and not (found := [name for name in found if self.zones[name] == zone]):
            raise _Bad("wrong_zone")
        if len(found) > 1:
            raise _Bad("ambiguous", *found)
        return found[0]


def take_over(
    session: Session, rows: Sequence[Mapping[str, str]], *, partial: bool = False, dry_run: bool = False, first: int = 1
) -> Report:
    """Write the lines into the plan, all or none; ``partial``: those that can be. ``dry_run``: only say what would be.

    ``first`` is the number of the first row in the file it came from.
    """
    order.prefixes(session)
    plan, verdicts = _read(session), dict[int, Verdict]()
    savepoint = session.begin_nested()
    waiting: list[dict[str, Any]] = []
    for number, row in enumerate(rows, first):
        try:
            line = _line(plan, number, row)
            if line["kind"] == "prefix":
                waiting.append(line)
            else:
                verdicts[number] = Verdict(number, line["prefix"], _pool(session, plan, line))
        except _Bad as bad:
            verdicts[number] = Verdict(number, row.get("prefix", ""), bad.outcome, bad.by, bad.of_line)
    for start in range(0, len(waiting), CHUNK):
        lines = waiting[start : start + CHUNK]
        answers = session.execute(TAKE_OVER, {"lines": json.dumps(lines, default=str)})
        for line, (number, answer) in zip(lines, answers, strict=True):
            verdicts[number] = _verdict(plan, line, answer)
    report = Report(tuple(verdicts[number] for number in sorted(verdicts)), written=False)
    if dry_run or (report.conflicts and not partial):
        savepoint.rollback()
        return report
    savepoint.commit()
    return Report(report.verdicts, written=True)


def _read(session: Session) -> _Plan:
    d, p = models.routing_domain, models.prefix_pool
    plan = _Plan(zones={row.code: row.zone for row in session.execute(select(d))})
    for row in session.execute(select(p, d.c.code).join(d, d.c.id == p.c.domain_id)):
        plan.pools.setdefault(row.code, {})[row.prefix, row.hands_out] = row.id
    return plan


def _line(plan: _Plan, number: int, row: Mapping[str, str]) -> dict[str, Any]:
    """The line with everything found. Raises _Bad."""
    if any("\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value) for value in row.values()):
        raise _Bad("bad_text")
    try:
        prefix = network_of(row.get("prefix", ""))
    except BadPrefix as bad:
        raise _Bad(bad.reason) from bad
    kind = row.get("kind") or "prefix"
    if kind not in {"block", "pool", "prefix"}:
        raise _Bad("bad_kind")
    domain = plan.domain_of(row, prefix)
    line = {"n": number, "kind": kind, "domain": domain, "prefix": str(prefix)}
    if row.get("id"):
        line["id"] = _uuid(row["id"])
    else:  # a prefix is known again by its holder and place; one that was given back has its id for good
        line["id"] = uuid7() if kind == "prefix" else uuid5(NAMESPACE, f"{kind} {domain} {prefix}")
    if kind == "prefix":
        line |= _holder(row, domain, prefix)
    else:
        line |= {"zone": row.get("zone") or plan.zones.get(domain, ""), "level": row.get("level", "")}
    # Last: a line that is wrong in itself claims nothing from a right one after it.
    if (earlier := plan.claimed.setdefault((kind, domain, str(prefix)), number)) != number:
        raise _Bad("duplicate", f"line {earlier}", of_line=earlier)
    return line


def _holder(row: Mapping[str, str], domain: str, prefix: IPv6Network) -> dict[str, Any]:
    """Whose it is and in which state. An owner that is a name, not an id, is kept as the label."""
    state, owner, label = row.get("state") or "active", row.get("owner", ""), row.get("label", "")
    if state not in {s.value for s in LIVE}:
        raise _Bad("bad_state")
    try:
        holder = UUID(owner)
    except ValueError:
        holder = uuid5(NAMESPACE, f"{domain} {prefix} {owner}")
        label = label or owner
    if len(label) > 200 or (state == PrefixState.RESERVED and not label):
        raise _Bad("bad_label")
    try:
        until = datetime.fromisoformat(row["until"]) if row.get("until") else None
        if until is not None and until.tzinfo is None:
            raise _Bad("bad_until")
        until = until and until.astimezone(UTC)  # PostgreSQL knows fewer offsets
    except (ValueError, OverflowError) as error:
        raise _Bad("bad_until") from error
    if state == PrefixState.QUARANTINED and until is None:
        raise _Bad("bad_until")
    return {"owner": holder, "state": state, "until": until and until.isoformat(), "label": label}


def _uuid(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError as error:
        raise _Bad("bad_id") from error


def _pool(session: Session, plan: _Plan, line: Mapping[str, Any]) -> str:
    """Makes the pool unless it is there. Returns the outcome; raises _Bad."""
    prefix, domain, hands_out = IPv6Network(line["prefix"]), line["domain"], line["kind"] == "pool"
    known = plan.pools.setdefault(domain, {})
    if (prefix, hands_out) in known:
        return "same"
    if line["zone"] not in set(Zone):
        raise _Bad("wrong_zone")
    parent = plan.around(domain, prefix)
    try:
        ensure_pool(
            session,
            id=line["id"],
            zone=Zone(line["zone"]),
            routing_domain=domain,
            prefix=prefix,
            parent_id=None if parent is None else parent[2],
            level=line["level"] or "unit",
            hands_out=hands_out,
        )
    except PrefixOverlap as error:
        raise _Bad("overlaps") from error
    except BadPrefix as error:
        raise _Bad(error.reason) from error
    except UnknownPool as error:
        raise _Bad("outside") from error
    plan.zones.setdefault(domain, line["zone"])
    known[prefix, hands_out] = line["id"]
    return "ok"


def _verdict(plan: _Plan, line: Mapping[str, Any], answer: Mapping[str, Any]) -> Verdict:
    number, prefix, outcome = line["n"], line["prefix"], answer["outcome"]
    if outcome == "has_another":
        return Verdict(number, prefix, outcome, (answer["prefix"],))
    by = tuple(b["prefix"] for b in answer.get("by", ()))
    claims = (plan.claimed.get(("prefix", line["domain"], other)) for other in by)
    earlier = next((claim for claim in claims if claim is not None and claim < number), None)
    return Verdict(number, prefix, "unknown_domain" if outcome == "no_domain" else outcome, by, earlier)


def export(session: Session) -> Iterator[dict[str, str]]:
    """The plan, line by line: pools from the top down, then the live prefixes by routing domain and address."""
    d, p, a = models.routing_domain, models.prefix_pool, models.prefix_allocation
    pools = select(p, d.c.code, d.c.zone).join(d, d.c.id == p.c.domain_id).order_by(d.c.code, p.c.depth, p.c.prefix)
    for row in session.execute(pools):
        kind = "pool" if row.hands_out else "block"
        yield _exported(
            kind=kind, zone=row.zone, routing_domain=row.code, prefix=row.prefix, level=row.level, id=row.id
        )
    live = select(a, d.c.code, d.c.zone).join(d, d.c.id == a.c.domain_id).where(a.c.state.in_(LIVE))
    for row in session.execute(live.order_by(d.c.code, a.c.prefix), execution_options={"yield_per": CHUNK}):
        yield _exported(
            kind="prefix", zone=row.zone, routing_domain=row.code, prefix=row.prefix, state=row.state, owner=row.owner,
            until=row.until and row.until.isoformat(), label=row.label, id=row.id,
        )  # fmt: skip


def _exported(**given: object) -> dict[str, str]:
    return {name: "" if given.get(name) is None else str(given[name]) for name in FIELDS}


def as_json(report: Report) -> dict[str, Any]:
    """For programs."""
    counted: Callable[[str], int] = [v.outcome for v in report.verdicts].count
    outcomes = sorted({v.outcome for v in report.verdicts})
    return {
        "written": report.written,
        "counts": {outcome: counted(outcome) for outcome in outcomes},
        "lines": [asdict(v) for v in report.verdicts],
    }

"""What routers have beside the plan and the rows: missing, changed, extra, foreign, rogue, filters, neighbours. Pure.

Called by: ``extranet.drift``. Must not: call a router, or the database. What a segment of ours consists of is compared
word for word, so that nothing beside it stays unseen; of what is not ours only what leads packets elsewhere.
What is wrong is said in facts: a code, which has its sentence in ``api.texts``, and the router's own words.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from broker.extranet.checks import loopback, sessions_of
from broker.extranet.filters import Key, permitted, written
from broker.extranet.schema import Session, Topology
from broker.extranet.values import Fact, differing, fact
from providers.contract import Addressing, Encapsulation
from providers.networking import NO_PREFIX, RouterFacts, SegmentSpec

RA_INTERVAL_S = 10
"""How often a segment's router advertises: what the role for FRR writes."""

_MARK = re.compile(r"description guiyun ([0-9a-f-]{36})\b")
Place = tuple[str, str, str, str]
Group = tuple[str, str, str, str, bool]


class Gap(StrEnum):
    """How a router and the plan differ."""

    MISSING = "missing"
    """A segment that was handed over is not on its router (a router that was rebooted, say)."""
    CHANGED = "changed"
    """It is there, but not as it was made."""
    EXTRA = "extra"
    """It carries an id of ours, and no row says that it should be there."""
    FOREIGN = "foreign"
    """A router announces something, or has a segment, a route or a rule, that the plan does not contain: not ours."""
    ROGUE = "rogue"
    """A neighbour announced something that no filter let in."""
    FILTER = "filter"
    """A router lets in from a neighbour, or sends to it, other prefixes than the topology says."""
    NEIGHBOUR = "neighbour"
    """A router has a session with a neighbour that the topology does not name, or names otherwise."""
    SESSION = "session"
    """A session of the topology is not up, or not even configured."""
    SILENT = "silent"
    """The router does not answer."""


@dataclass(frozen=True, slots=True)
class RouterDrift:
    """One difference. ``subject``: a prefix, an interface or a neighbour. ``spec``: what a repair acts on.

    ``facts``: what exactly is otherwise there.
    """

    gap: Gap
    router: str
    vrf: str
    subject: str
    facts: tuple[Fact, ...] = ()
    spec: SegmentSpec | None = None
    repaired: bool = False

    @property
    def place(self) -> Place:
        """Where and what it is of, whatever exactly is wrong there."""
        return (self.gap.value, self.router, self.vrf, self.subject)

    @property
    def group(self) -> Group:
        """What is told in one notice: a router that was rebooted, or a neighbour gone wild, is one thing to see to."""
        of = ""
        if self.facts and self.gap is Gap.ROGUE:
            of = str(self.facts[0].params["name"])
        elif self.facts and self.gap is Gap.FOREIGN:
            of = self.facts[0].code
        return (self.gap.value, self.router, self.vrf, of, self.repaired)


def fingerprint(group: Group, drifts: Sequence[RouterDrift]) -> str:
    """The same for the same differences. Which state a session that is down is in changes all the time."""
    said = sorted(
        json.dumps([d.subject, [] if d.gap is Gap.SESSION else [f.plain() for f in d.facts]], sort_keys=True)
        for d in drifts
    )
    return hashlib.sha256(repr((group, said)).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Rows:
    """What the rows say: segments that were handed over, and the ids of those on their way."""

    settled: Mapping[UUID, SegmentSpec]
    busy: frozenset[UUID]
    coming: frozenset[tuple[str, str]] = frozenset()
    """Router and interface of every segment that has a place: one that is being made may carry no id yet."""


@dataclass(frozen=True, slots=True)
class _Table:
    """One routing table of one router: what the router says of it, and the plan."""

    topology: Topology
    router: str
    vrf: str
    about: Mapping[str, Any]
    filters: Mapping[Key, frozenset[IPv6Network]]
    tunnels: Mapping[str, Any]
    """The router's own firewall, before the tunnels of all its tables."""

    def drift(self, gap: Gap, subject: str, *facts: Fact, spec: SegmentSpec | None = None) -> RouterDrift:
        return RouterDrift(gap, self.router, self.vrf, subject, facts, spec)

    @property
    def loopbacks(self) -> set[str]:
        """The router's own address there."""
        named = (v for v in self.topology.vrfs if v.name == self.vrf)
        return {f"{loopback(self.topology, v, self.router)}/128" for v in named}

    @property
    def neighbours(self) -> dict[str, Session]:
        """By name: those that the topology gives the router in this table."""
        pairs = [s for s in self.topology.sessions if self.vrf in sessions_of(self.topology, s)]
        uppers = {s.upper: s for s in pairs if s.lower == self.router}
        return uppers | {s.lower: s for s in pairs if s.upper == self.router}


def compare(topology: Topology, rows: Rows, facts: Sequence[RouterFacts]) -> Iterator[RouterDrift]:
    """Every difference."""
    filters = written(topology)
    for router in facts:
        if router.error is not None:
            silence = fact("silent", trouble=router.error.code)
            yield RouterDrift(Gap.SILENT, router.router, "", router.router, (silence,))
            continue
        met: set[UUID] = set()
        for vrf, about in router.facts.get("vrfs", {}).items():
            table = _Table(topology, router.router, vrf, about, filters, router.facts["tunnels"])
            yield from _segments(rows, table, met)
            yield from _strangers(table)
            yield from _sessions(table)
            yield from _filters(table)
        yield from _left_open(router)
        for spec in rows.settled.values():
            if spec.router == router.router and spec.id not in met:
                yield RouterDrift(Gap.MISSING, router.router, spec.vrf, str(spec.prefix), spec=spec)


def _segments(rows: Rows, table: _Table, met: set[UUID]) -> Iterator[RouterDrift]:
    """The segments of one table, and what it announces."""
    planned = table.loopbacks
    ours = False
    for name, segment in table.about["segments"].items():
        lines: list[str] = segment["lines"]
        alias = f"description {(segment['link'] or {}).get('alias', '')}"  # since it was made, whatever is written
        marked = next((m for line in (*lines, alias) if (m := _MARK.match(line))), None)
        prefixes = [
            str(IPv6Network(line.split()[2], strict=False)) for line in lines if line.startswith("ipv6 address ")
        ]
        if marked is None:
            yield from _unmarked(rows, table, name, segment)
            continue
        ours = True
        planned |= set(prefixes)
        segment_id = UUID(marked.group(1))
        spec = rows.settled.get(segment_id)
        if segment_id in rows.busy:
            continue
        if spec is None or (spec.router, spec.vrf) != (table.router, table.vrf):
            yield table.drift(Gap.EXTRA, name, spec=_as_spec(segment_id, table, name, prefixes))
            continue
        met.add(segment_id)  # in another table it is not met, however much it is ours
        if wrong := _wrong(spec, name, segment, table):
            yield table.drift(Gap.CHANGED, str(spec.prefix), *wrong, spec=spec)
    yield from _around(table, ours=ours)
    for prefix in table.about["networks"]:
        if prefix not in planned:
            yield table.drift(Gap.FOREIGN, prefix, fact("announced"))


def _around(table: _Table, *, ours: bool) -> Iterator[RouterDrift]:
    """The firewall and forwarding of a table; with segments of ours in it, a repair of those puts them right."""
    firewall, there = table.about["firewall"], set(table.about["segments"])
    for name in sorted(set(firewall["elements"]) - there):
        yield table.drift(Gap.FOREIGN, name, fact("opened", extra=firewall["elements"][name]))
    for name in sorted(set(firewall["segments"]) - there):
        yield table.drift(Gap.FOREIGN, name, fact("guarded"))
    if not ours and not table.about["forwarding"]:
        yield table.drift(Gap.FOREIGN, "forwarding", fact("not_forwarding"))
    if not ours and firewall["there"] and firewall["differs"]:
        yield table.drift(Gap.FOREIGN, "firewall", _rules(firewall["differs"]))


def _left_open(router: RouterFacts) -> Iterator[RouterDrift]:
    """Whose packets the router would take for a tunnel that it has not."""
    there = {name for about in router.facts["vrfs"].values() for name in about["segments"]}
    for name, words in sorted(router.facts["tunnels"]["elements"].items()):
        if name not in there:
            yield RouterDrift(Gap.FOREIGN, router.router, "", name, (fact("opened", extra=words),))


def _unmarked(rows: Rows, table: _Table, name: str, segment: Mapping[str, Any]) -> Iterator[RouterDrift]:
    """An interface without an id of ours: somebody's, or one that a run made and was killed before it had named it.

    That has the address that only a segment's link has, and nothing else; the next run for its VNI goes on with it.
    """
    tag, link = name.removeprefix("seg"), segment["link"] or {}
    bare = not segment["lines"] and not link.get("alias")
    if not (bare and tag.isdecimal() and link.get("mac") == _mac(int(tag))):
        yield table.drift(Gap.FOREIGN, name, fact("interface"))
    elif (table.router, name) not in rows.coming:
        yield table.drift(Gap.EXTRA, name, fact("unfinished"), spec=_as_spec(_nobodys(table, name), table, name))


def _wrong(spec: SegmentSpec, name: str, segment: Mapping[str, Any], table: _Table) -> list[Fact]:
    """What of a segment is not as it was made."""
    gateway = {f"{spec.gateway}/{spec.prefix.prefixlen}"}
    written = {line for line in segment["lines"] if not _MARK.match(line)}
    configured = {line.split()[2] for line in written if line.startswith("ipv6 address ")}
    link, firewall = segment["link"], table.about["firewall"]
    live = set(segment["addresses"]) if link else configured
    told = {line for line in written if not line.startswith("ipv6 address ")}
    tunnel = table.tunnels if spec.encapsulation is Encapsulation.VXLAN else {"elements": {}, "differs": ()}
    differs = [*firewall["differs"], *tunnel["differs"]]
    found = [
        differing("link", *_link(spec, name, link, table.topology)) if link else fact("link_gone"),
        None if table.about["forwarding"] and (link or {}).get("forwards", True) else fact("not_forwarding"),
        differing("ends", _ends(spec, table.topology), tunnel["elements"].get(name, ())),
        differing("address", gateway, (gateway & configured & live) | ((configured | live) - gateway)),
        differing("advertisements", advertised(spec), told),
        differing("services", _opened(spec), firewall["elements"].get(name, ())),
        None if name in firewall["segments"] else fact("unguarded"),
        _rules(differs) if differs else None,
        None if str(spec.prefix) in table.about["networks"] else fact("unannounced"),
    ]
    return [each for each in found if each is not None]


def _rules(differs: Sequence[str]) -> Fact:
    """How a firewall's rules are not the role's: lines with a sign before them, as the router compares them."""
    signed = [(line[:1], line[1:]) for line in differs]
    missing, extra = ([line for sign, line in signed if sign == wanted] for wanted in "-+")
    return fact("rules", missing=missing, extra=extra)


def advertised(spec: SegmentSpec) -> set[str]:
    """What is written of a segment's interface on FRR, beside its description and its address."""
    managed = spec.addressing is Addressing.DHCPV6
    flags = {"ipv6 nd managed-config-flag", "ipv6 nd other-config-flag"} if managed else set()
    return flags | {
        f"ipv6 nd prefix {spec.prefix}{' no-autoconfig' if managed else ''}",
        f"ipv6 nd ra-interval {RA_INTERVAL_S}",
        "no ipv6 nd suppress-ra",
    }


def mac_of(spec: SegmentSpec) -> str:
    """A segment's address on its router, made of its VNI or VLAN: hosts keep it over a repair."""
    return _mac(spec.vni)


def _mac(tag: int) -> str:
    digits = f"{tag:06x}"
    return f"02:67:79:{digits[:2]}:{digits[2:4]}:{digits[4:]}"


def _link(spec: SegmentSpec, name: str, link: Mapping[str, Any], topology: Topology) -> tuple[set[str], set[str]]:
    """The link as it was made, and as it is: name, kind, tag, ends, address, no bridge. The kernel decides its MTU."""
    wanted = {f"seg{spec.vni}", f"{spec.encapsulation.value} {spec.vni}", mac_of(spec), "up"}
    found = {name, f"{link['kind']} {link['tag']}", link["mac"], "up" if link["up"] else "down"}
    access = next((a for a in topology.access if a.router == spec.router), None)
    if spec.encapsulation is Encapsulation.VXLAN and access is not None:
        wanted |= {f"local {access.local}", f"remote {access.remote}", f"to {access.remote}"}
        found |= {f"{end} {link[end]}" for end in ("local", "remote")} | {f"to {far}" for far in link["to"]}
        found |= {"learning"} if link["learns"] else set()
    found |= {f"master {link['master']}"} if link["master"] else set()
    return wanted, found


def _ends(spec: SegmentSpec, topology: Topology) -> set[str]:
    """Whose packets the router has to take for a segment, and from nobody else, as an audit says it."""
    access = next((a for a in topology.access if a.router == spec.router), None)
    if spec.encapsulation is not Encapsulation.VXLAN or access is None:
        return set()
    return {"segments", f"{access.remote} {access.device}"}


def _opened(spec: SegmentSpec) -> set[str]:
    """What the firewall has to let in for a segment, as an audit says it."""
    if spec.services is None:
        return {"open"}
    sources = [str(s.source or "::/0").removesuffix("/128") for s in spec.services]  # as the firewall writes it
    return {f"{source} {s.protocol} {s.port}" for source, s in zip(sources, spec.services, strict=True)}


def _strangers(table: _Table) -> Iterator[RouterDrift]:
    """What leads packets elsewhere and is of nobody's plan: routes, rules, addresses, another firewall."""
    about = table.about
    for route in about["routes"]:
        yield table.drift(Gap.FOREIGN, route["prefix"], fact("route", how=route["how"]))
    for policy in about["policies"]:
        yield table.drift(Gap.FOREIGN, policy, fact("rule"))
    for line in about["mixed"]:
        yield table.drift(Gap.FOREIGN, line, fact("bgp"))
    for other in about["firewall"]["tables"]:
        yield table.drift(Gap.FOREIGN, other, fact("table"))
    links = [session.prefix for session in table.neighbours.values()]
    own = table.loopbacks
    for name, addresses in about["addresses"].items():
        for address in addresses:
            if address not in own and not any(IPv6Interface(address).ip in link for link in links):
                yield table.drift(Gap.FOREIGN, address, fact("on", device=name))


def _sessions(table: _Table) -> Iterator[RouterDrift]:
    """Each neighbour of the topology, once, with its AS and an address of the link; and no other."""
    asns = {r.name: r.asn for r in table.topology.routers}
    wanted = table.neighbours
    for peer, session in table.about["sessions"].items():
        name = session["name"]
        if name not in wanted or session["asn"] != asns[name] or not _on(wanted[name], peer):
            yield table.drift(Gap.NEIGHBOUR, peer, fact("peer", asn=session["asn"], name=name))
            continue
        if session["state"] != "Established":
            yield table.drift(Gap.SESSION, name, fact("session", state=session["state"]))
        for prefix in session["refused"]:
            yield table.drift(Gap.ROGUE, prefix, fact("from", name=name))
    named = {session["name"] for session in table.about["sessions"].values()}
    for name in sorted(set(wanted) - named):
        yield table.drift(Gap.SESSION, name, fact("session", state="not configured"))


def _on(session: Session, peer: str) -> bool:
    """Whether a neighbour speaks from an address of the link; what is none is another kind of session."""
    try:
        return IPv6Address(peer) in session.prefix
    except ValueError:
        return False


def _filters(table: _Table) -> Iterator[RouterDrift]:
    """What is let in from each neighbour and sent to it; routers' own addresses may pass.

    Whoever sends all that he has, as the topology lets him, needs no filter for that.
    """
    (vrf,) = (v for v in table.topology.vrfs if v.name == table.vrf)
    own = {str(vrf.loopbacks), f"{vrf.loopbacks} ge 128"}
    for session in table.about["sessions"].values():
        pair = table.neighbours.get(session["name"])
        if pair is None:
            continue
        facts = []
        for way in ("in", "out"):
            entries = session["filters"][way]
            planned = {str(p) for p in permitted(table.filters, pair, table.router, vrf, way)}
            if entries is None and way == "out" and planned == {str(vrf.prefix)}:
                entries = [f"permit {vrf.prefix}"]
            found = {"any"} if entries is None else {_permitted(e, table.topology.segment_length) for e in entries}
            also = {line for line in session["also"] if line.endswith(f" {way}")}
            facts.append(differing(f"filter_{way}", planned, (found - own) | also))
        if wrong := [each for each in facts if each is not None]:
            yield table.drift(Gap.FILTER, session["name"], *wrong)


def _permitted(entry: str, length: int) -> str:
    """An entry as the topology would write it: the prefix alone where it means its segments, else all of it."""
    words = entry.split()
    usual = words[0] == "permit" and words[2:] in ([], ["le", str(length)], ["ge", str(length), "le", str(length)])
    return words[1] if usual else entry.removeprefix("permit ")


def _as_spec(segment_id: UUID, table: _Table, name: str, prefixes: Sequence[str] = ()) -> SegmentSpec | None:
    """What has to go, by its id and its interface; the router takes along whatever else is on it.

    None: somebody has given the interface another name than a segment's. It is only reported.
    """
    tag = name.removeprefix("seg")
    if not tag.isdecimal():
        return None
    link = table.about["segments"][name]["link"] or {}
    kind = Encapsulation.VLAN if link.get("kind") == Encapsulation.VLAN.value else Encapsulation.VXLAN
    prefix = IPv6Network(prefixes[0]) if prefixes else NO_PREFIX
    return SegmentSpec(segment_id, "", table.vrf, prefix, table.router, int(tag), encapsulation=kind)


def _nobodys(table: _Table, name: str) -> UUID:
    """An id for what has none, so that it can be spoken of: the same for the same interface, and never one of ours."""
    return uuid5(NAMESPACE_URL, f"{table.router}/{table.vrf}/{name}")

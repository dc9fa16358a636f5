"""Compares the routers with the plan and the rows: missing, changed, extra, rogue; repairs ours, reports the rest.

Called by: ``guiyun reconcile``, the worker every hour. Must not: touch what does not carry an id of ours, or a segment
whose delivery or release is on its way (that may put it right itself).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Network
from typing import Any
from uuid import UUID

from sqlalchemy import select

from broker.catalog import repository as catalog
from broker.catalog.models import SubCloud
from broker.extranet import looks, service
from broker.extranet.checks import loopback, sessions_of
from broker.extranet.models import SegmentAttachment
from broker.extranet.networks import Network, Networks
from broker.extranet.schema import Topology
from broker.inventory.models import Resource
from broker.lifecycle import ResourceState, Role
from broker.notify import service as notify
from broker.tenancy.work import Work, WorkFactory
from providers.contract import Addressing
from providers.networking import RouterFacts, SegmentSpec

_HANDED_OVER = {ResourceState.ACTIVE.value, ResourceState.STOPPED.value}
_MARK = re.compile(r"description guiyun ([0-9a-f-]{36})\b")


class Gap(StrEnum):
    """How a router and the plan differ."""

    MISSING = "missing"
    """A segment that was handed over is not on its router (a router that was rebooted, say)."""
    CHANGED = "changed"
    """It is there, but not as it was made."""
    EXTRA = "extra"
    """It carries an id of ours, and no row says that it should be there."""
    FOREIGN = "foreign"
    """A router announces something, or has a segment, that the plan does not contain and that is not ours."""
    ROGUE = "rogue"
    """A neighbour announced something that no filter let in."""
    FILTER = "filter"
    """A router lets in from a neighbour other prefixes than the topology says."""
    SESSION = "session"
    """A session of the topology is not up."""
    SILENT = "silent"
    """The router does not answer."""


_REPAIRED = {Gap.MISSING, Gap.CHANGED, Gap.EXTRA}


@dataclass(frozen=True, slots=True)
class RouterDrift:
    """One difference. ``subject``: a prefix, an interface or a neighbour. ``spec``: what a repair acts on."""

    gap: Gap
    router: str
    vrf: str
    subject: str
    detail: str = ""
    spec: SegmentSpec | None = None
    repaired: bool = False

    @property
    def fingerprint(self) -> str:
        """The same for the same difference, so that it is told once."""
        parts = (self.gap.value, self.router, self.vrf, self.subject, self.detail)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Rows:
    """What the rows say: segments that were handed over, and the ids of those on their way."""

    settled: Mapping[UUID, SegmentSpec]
    busy: frozenset[UUID]


def reconcile(networks: Networks, works: WorkFactory, *, repair: bool = True) -> list[RouterDrift] | None:
    """Compare, repair what is ours, tell operators of what is new. None: there is no extranet to compare."""
    network = networks()
    if network is None:
        return None
    with works.begin() as work:
        rows = _rows(work)
    heard = network.provider.audit()
    found = list(compare(network.loaded.topology, rows, heard))
    if repair:
        found = _repair(network, found)
    with works.begin() as work:
        looks.keep(work, heard)
        if found:
            _tell(work, network, found)
    return found


def compare(topology: Topology, rows: Rows, facts: Sequence[RouterFacts]) -> Iterator[RouterDrift]:
    """Every difference. Pure."""
    for router in facts:
        if router.error is not None:
            yield RouterDrift(Gap.SILENT, router.router, "", router.router, router.error.code)
            continue
        expected = {s.id: s for s in rows.settled.values() if s.router == router.router}
        met: set[UUID] = set()
        for vrf, about in router.facts.get("vrfs", {}).items():
            planned = {f"{loopback(topology, v, router.router)}/128" for v in topology.vrfs if v.name == vrf}
            yield from _segments(rows, (router.router, vrf), about, planned, met)
            yield from _sessions(router.router, vrf, about)
            yield from _filters(topology, (router.router, vrf), about)
        for spec in expected.values():
            if spec.id not in met:
                yield RouterDrift(Gap.MISSING, router.router, spec.vrf, str(spec.prefix), spec=spec)


def _segments(
    rows: Rows, where: tuple[str, str], about: Mapping[str, Any], planned: set[str], met: set[UUID]
) -> Iterator[RouterDrift]:
    """The segments of one router's table, and what it announces."""
    router, vrf = where
    for name, segment in about["segments"].items():
        lines: list[str] = segment["lines"]
        marked = next((m for line in lines if (m := _MARK.match(line))), None)
        prefixes = [
            str(IPv6Network(line.split()[2], strict=False)) for line in lines if line.startswith("ipv6 address ")
        ]
        if marked is None:
            yield RouterDrift(Gap.FOREIGN, router, vrf, name)
            continue
        planned |= set(prefixes)
        segment_id = UUID(marked.group(1))
        met.add(segment_id)
        spec = rows.settled.get(segment_id)
        if segment_id in rows.busy:
            continue
        if spec is None or (spec.router, spec.vrf) != (router, vrf):
            yield RouterDrift(Gap.EXTRA, router, vrf, name, spec=_as_spec(segment_id, router, vrf, name, prefixes))
        elif wrong := _wrong(spec, segment, about):
            yield RouterDrift(Gap.CHANGED, router, vrf, str(spec.prefix), wrong, spec)
    for name in set(about["firewall"]["elements"]) - set(about["segments"]):
        yield RouterDrift(Gap.FOREIGN, router, vrf, name, "firewall")
    for prefix in about["networks"]:
        if prefix not in planned:
            yield RouterDrift(Gap.FOREIGN, router, vrf, prefix)


def _wrong(spec: SegmentSpec, segment: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """What of a segment is not as it was made."""
    managed = spec.addressing is Addressing.DHCPV6
    autonomous = " no-autoconfig" if managed else ""
    wanted = {f"ipv6 address {spec.gateway}/{spec.prefix.prefixlen}", f"ipv6 nd prefix {spec.prefix}{autonomous}"}
    lines = [line for line in segment["lines"] if line.startswith(("ipv6 address ", "ipv6 nd prefix "))]
    wrong = [] if segment["link"] else ["link"]
    wrong += [] if set(lines) == wanted else ["address"]
    advertises = "no ipv6 nd suppress-ra" in segment["lines"]
    advertises &= ("ipv6 nd managed-config-flag" in segment["lines"]) == managed
    wrong += [] if advertises else ["advertisements"]
    firewall = about["firewall"]
    opened = firewall["elements"].get(f"seg{spec.vni}", [])
    wrong += [] if firewall["whole"] and sorted(opened) == _opened(spec) else ["firewall"]
    return " ".join(wrong + ([] if str(spec.prefix) in about["networks"] else ["route"]))


def _opened(spec: SegmentSpec) -> list[str]:
    """What the firewall has to let in for a segment, as an audit says it."""
    if spec.services is None:
        return ["open"]
    sources = [str(s.source or "::/0").removesuffix("/128") for s in spec.services]  # as the firewall writes it
    return sorted(f"{source} {s.protocol} {s.port}" for source, s in zip(sources, spec.services, strict=True))


def _filters(topology: Topology, where: tuple[str, str], about: Mapping[str, Any]) -> Iterator[RouterDrift]:
    """Filters towards the routers below; the routers' own addresses may pass each of them."""
    router, vrf = where
    own = {str(v.loopbacks) for v in topology.vrfs if v.name == vrf}
    lowers = {s.lower for s in topology.sessions if s.upper == router and vrf in sessions_of(topology, s)}
    for session in about["sessions"].values():
        if session["name"] not in lowers:
            continue
        key = (router, session["name"], vrf)
        rules = [r for r in topology.filters if (r.router, r.neighbour, r.vrf) == key]
        planned = {str(prefix) for rule in rules for prefix in rule.permit}
        entries = session["filter"]
        found = {"any"} if entries is None else {_permitted(e, topology.segment_length) for e in entries}
        different = sorted((found - own - {f"{p} ge 128" for p in own}) ^ planned)
        if different:
            yield RouterDrift(Gap.FILTER, router, vrf, session["name"], " ".join(different)[:300])


def _permitted(entry: str, length: int) -> str:
    """An entry as the topology would write it: the prefix alone where it means its segments, else all of it."""
    words = entry.split()
    usual = words[0] == "permit" and words[2:] in ([], ["le", str(length)], ["ge", str(length), "le", str(length)])
    return words[1] if usual else entry.removeprefix("permit ")


def _sessions(router: str, vrf: str, about: Mapping[str, Any]) -> Iterator[RouterDrift]:
    for session in about["sessions"].values():
        if session["state"] != "Established":
            yield RouterDrift(Gap.SESSION, router, vrf, session["name"], session["state"])
        for prefix in session["refused"]:
            yield RouterDrift(Gap.ROGUE, router, vrf, prefix, session["name"])


def _as_spec(segment_id: UUID, router: str, vrf: str, name: str, prefixes: Sequence[str]) -> SegmentSpec | None:
    """What has to go, from what the router has; without a prefix there is nothing that could be named."""
    if len(prefixes) != 1:
        return None
    return SegmentSpec(segment_id, "", vrf, IPv6Network(prefixes[0]), router, int(name.removeprefix("seg")))


def _repair(network: Network, found: Sequence[RouterDrift]) -> list[RouterDrift]:
    """Bring back what is missing or changed, take away what is ours and should not be there."""
    specs = {gap: [d.spec for d in found if d.gap is gap and d.spec is not None] for gap in _REPAIRED}
    back = [*specs[Gap.MISSING], *specs[Gap.CHANGED]]
    outcomes = {**(network.provider.update(back) if back else {})}
    outcomes |= network.provider.delete(specs[Gap.EXTRA]) if specs[Gap.EXTRA] else {}
    return [_repaired(d, outcomes) for d in found]


def _repaired(drift: RouterDrift, outcomes: Mapping[UUID, Any]) -> RouterDrift:
    if drift.spec is None or drift.spec.id not in outcomes:
        return drift
    error = outcomes[drift.spec.id]
    detail = drift.detail if error is None else f"{drift.detail} {error.code}".strip()
    return RouterDrift(drift.gap, drift.router, drift.vrf, drift.subject, detail, drift.spec, repaired=error is None)


def _rows(work: Work) -> Rows:
    statement = (
        select(SegmentAttachment, Resource.state)
        .join(Resource, Resource.id == SegmentAttachment.resource_id)
        .where(SegmentAttachment.withdrawn_at.is_(None))
    )
    found = work.session.execute(statement).all()
    settled = [a for a, state in found if state in _HANDED_OVER]
    busy = frozenset(a.resource_id for a, state in found if state not in _HANDED_OVER)
    return Rows({spec.id: spec for spec in service.specs(work.session, settled)}, busy)


def _tell(work: Work, network: Network, found: Sequence[RouterDrift]) -> None:
    """A notice to those who deliver, and an audit event, for what was not told before."""
    new = [d for d in found if notify.remind(work, list(_notices(work, network, d)))]
    if new:
        named = [{"gap": d.gap.value, "router": d.router, "vrf": d.vrf, "subject": d.subject} for d in new[:200]]
        work.record("extranet.drifted", "extranet", network.loaded.id, data={"count": len(new), "drifts": named})


def _notices(work: Work, network: Network, drift: RouterDrift) -> Iterator[dict[str, Any]]:
    """To the authority that delivers for the cloud that is attached there; elsewhere for the main cloud."""
    at = next((a.sub_cloud for a in network.loaded.topology.access if a.router == drift.router), "main")
    cloud = work.session.scalar(select(SubCloud.id).where(SubCloud.code.in_((at, "main"))).limit(1))
    unit = catalog.delivering_unit(work.session, cloud, work.now) if cloud is not None else None
    if unit is None:
        return
    yield {
        "code": f"extranet.{drift.gap.value}",
        "params": {"router": drift.router, "vrf": drift.vrf, "subject": drift.subject, "detail": drift.detail},
        "subject_type": "extranet",
        "subject_id": network.loaded.id,
        "account_id": None,
        "unit_id": unit,
        "role": Role.OPERATOR.value,
        "dedupe": f"extranet/{drift.fingerprint}/{'repaired' if drift.repaired else work.now.date()}",
    }

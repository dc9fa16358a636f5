"""What a topology must be beside well-formed: names that exist, spaces apart, filters that let through what is planned.

Called by: ``extranet.reading``. Must not: read files or the database. Pure; every problem at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv6Address, IPv6Network
from itertools import groupby

from broker.errors import Problem
from broker.extranet.schema import Access, Block, Session, Topology, Vrf

_UNIQUE_LOCAL = IPv6Network("fc00::/7")
_LINK_LENGTH = 64
"""A link's prefix has a /127 for each VRF, so it has to be this long at most."""


def problems_of(topology: Topology) -> Iterator[Problem]:
    """Everything that is wrong with a topology whose shape is right."""
    yield from _twice("vrfs", [v.name for v in topology.vrfs])
    yield from _twice("routers", [r.name for r in topology.routers])
    yield from _twice("routers", [f"AS{r.asn}" for r in topology.routers])
    yield from _twice("routers", [str(r.address) for r in topology.routers])
    yield from _twice("routers", [r.router_id for r in topology.routers])
    yield from _twice("routers", [f"number {number_of(topology, r.name)}" for r in topology.routers])
    yield from _unknown_names(topology)
    yield from _vrf_problems(topology)
    yield from _session_problems(topology)
    yield from _access_problems(topology)
    yield from _block_problems(topology)
    yield from _filter_problems(topology)
    yield from _probe_problems(topology)


def sessions_of(topology: Topology, session: Session) -> tuple[str, ...]:
    """The VRFs of a pair of neighbours."""
    return session.vrfs or tuple(v.name for v in topology.vrfs)


def loopback(topology: Topology, vrf: Vrf, router: str) -> IPv6Address:
    """A router's own address in a VRF, by its number."""
    return vrf.loopbacks.network_address + number_of(topology, router)


def number_of(topology: Topology, router: str) -> int:
    """The number that the file gives a router, or else its place in the file, from 1."""
    place, found = next((i, r) for i, r in enumerate(topology.routers, 1) if r.name == router)
    return found.number or place


def top_router(topology: Topology) -> str:
    """The router that has nobody above it."""
    lowers = {s.lower for s in topology.sessions}
    return next(r.name for r in topology.routers if r.name not in lowers)


def way_up(topology: Topology, router: str) -> list[Session]:
    """The sessions from a router to the top, nearest first; a loop ends it."""
    above = {session.lower: session for session in topology.sessions}
    way: list[Session] = []
    while router in above and above[router] not in way:
        way.append(above[router])
        router = above[router].upper
    return way


def _twice(section: str, names: Sequence[str]) -> Iterator[Problem]:
    for name in sorted({n for n in names if names.count(n) > 1}):
        yield Problem("extranet.twice", section, params={"code": name})


def _unknown_names(topology: Topology) -> Iterator[Problem]:
    vrfs, routers = {v.name for v in topology.vrfs}, {r.name for r in topology.routers}
    for section in ("sessions", "filters", "access", "blocks"):
        for index, entry in enumerate(getattr(topology, section)):
            here = f"{section}[{index}]"
            named = [(f, getattr(entry, f, None)) for f in ("upper", "lower", "router", "neighbour")]
            named += [("routers", name) for name in getattr(entry, "routers", ())]
            for field, name in named:
                if name is not None and name not in routers:
                    yield Problem("extranet.router_unknown", f"{here}.{field}", params={"code": name})
            for name in (*getattr(entry, "vrfs", ()), *([entry.vrf] if hasattr(entry, "vrf") else [])):
                if name not in vrfs:
                    yield Problem("extranet.vrf_unknown", f"{here}.vrf", params={"code": name})


def _vrf_problems(topology: Topology) -> Iterator[Problem]:
    for index, vrf in enumerate(topology.vrfs):
        here = f"vrfs[{index}]"
        if (vrf.zone == "private") != (vrf.unit is not None):
            yield Problem("extranet.private_needs_unit", here, "Art. 2(3)", {"code": vrf.name})
        if vrf.loopbacks.prefixlen != _LINK_LENGTH or not vrf.loopbacks.subnet_of(vrf.prefix):
            yield Problem("extranet.outside", f"{here}.loopbacks", params={"code": str(vrf.loopbacks), "by": vrf.name})
        for other in topology.vrfs[:index]:
            if vrf.zone == other.zone and vrf.unit == other.unit:
                yield Problem("extranet.zone_twice", here, params={"code": vrf.name, "by": other.name})
            # Unique local space may be used by several departments (RFC 4193); space that is routed to others may not.
            local = vrf.zone == other.zone == "private" and vrf.prefix.subnet_of(_UNIQUE_LOCAL)
            if not local and vrf.prefix.overlaps(other.prefix):
                yield Problem("extranet.overlap", f"{here}.prefix", params={"code": str(vrf.prefix), "by": other.name})


def _session_problems(topology: Topology) -> Iterator[Problem]:
    uppers: dict[str, int] = {}
    for index, session in enumerate(topology.sessions):
        here = f"sessions[{index}]"
        if session.upper == session.lower:
            yield Problem("extranet.session_with_itself", here, params={"code": session.upper})
        if session.lower in uppers:
            yield Problem("extranet.two_uppers", here, params={"code": session.lower})
        uppers[session.lower] = index
        if session.prefix.prefixlen > _LINK_LENGTH:
            yield Problem("extranet.link_too_small", f"{here}.prefix", params={"code": str(session.prefix)})
        others = [("sessions", other.prefix) for other in topology.sessions[:index]]
        for name, prefix in others + [(vrf.name, vrf.prefix) for vrf in topology.vrfs]:
            if session.prefix.overlaps(prefix):
                params = {"code": str(session.prefix), "by": name}
                yield Problem("extranet.overlap", f"{here}.prefix", params=params)
    tops = {r.name for r in topology.routers} - set(uppers)
    if len(tops) != 1:
        yield Problem("extranet.one_top", "sessions", params={"code": ", ".join(sorted(tops))})
    (top,) = tops if len(tops) == 1 else ("",)
    for name in sorted(uppers):
        way = way_up(topology, name)
        if top and (not way or way[-1].upper != top):
            yield Problem("extranet.not_connected", "sessions", params={"code": name})


def _access_problems(topology: Topology) -> Iterator[Problem]:
    for index, access in enumerate(topology.access):
        here = f"access[{index}]"
        field = "vlans" if access.vlans is not None else "vnis"
        vxlan = (access.local, access.remote, access.vnis)
        if (access.vlans is None and None in vxlan) or (access.vlans is not None and any(v is not None for v in vxlan)):
            yield Problem("extranet.one_attachment", here, params={"code": access.sub_cloud})
        first, last = access.tags
        if first > last:
            yield Problem("extranet.range", f"{here}.{field}", params={"code": f"{first}-{last}"})
        if access.local is not None and access.local == access.remote:
            yield Problem("extranet.tunnel_to_itself", f"{here}.remote", params={"code": str(access.remote)})
        for other in topology.access[:index]:
            yield from _access_beside(here, field, access, other)


def _access_beside(here: str, field: str, access: Access, other: Access) -> Iterator[Problem]:
    # A router's plan has one range and one far end: every delivery to a second sub-cloud would be refused by it.
    if access.router == other.router:
        yield Problem("extranet.one_cloud_a_router", f"{here}.router", params={"code": access.router})
    if access.sub_cloud == other.sub_cloud:
        yield Problem("extranet.twice", f"{here}.sub_cloud", params={"code": access.sub_cloud})
    for name in ("local", "remote"):
        end = getattr(access, name)
        if end is not None and end in (other.local, other.remote):
            yield Problem("extranet.twice", f"{here}.{name}", params={"code": str(end)})
    # A VNI is one in the whole extranet, a VLAN one on its router.
    same = access.vlans is None or access.router == other.router
    alike = same and access.encapsulation is other.encapsulation
    if alike and access.tags[0] <= other.tags[1] and other.tags[0] <= access.tags[1]:
        yield Problem("extranet.vnis_overlap", f"{here}.{field}", params={"code": other.router})


def _block_problems(topology: Topology) -> Iterator[Problem]:
    vrfs = {v.name: v for v in topology.vrfs}
    edges = {a.router for a in topology.access}
    for index, block in enumerate(topology.blocks):
        here = f"blocks[{index}]"
        vrf = vrfs.get(block.vrf)
        if vrf is not None and not block.prefix.subnet_of(vrf.prefix):
            yield Problem("extranet.outside", f"{here}.prefix", params={"code": str(block.prefix), "by": vrf.name})
        if block.prefix.prefixlen > topology.segment_length:
            yield Problem("extranet.no_room", f"{here}.prefix", params={"code": str(block.prefix)})
        for name in block.routers:
            if name not in edges:
                yield Problem("extranet.no_access", f"{here}.routers", params={"code": name})
    yield from _overlapping_blocks(topology)


def _overlapping_blocks(topology: Topology) -> Iterator[Problem]:
    """In order of their space; prefixes overlap only by one holding the other, so the last holder is enough."""
    placed = sorted(enumerate(topology.blocks), key=lambda each: (each[1].vrf, each[1].prefix, each[0]))
    for _, blocks in groupby(placed, key=lambda each: each[1].vrf):
        holder: tuple[int, Block] | None = None
        for index, block in blocks:
            if holder is not None and block.prefix.subnet_of(holder[1].prefix):
                (_, one), (last, other) = sorted((holder, (index, block)), key=lambda each: each[0])
                where = f"blocks[{last}].prefix"
                yield Problem("extranet.overlap", where, params={"code": str(other.prefix), "by": one.unit})
            else:
                holder = (index, block)


def _filter_problems(topology: Topology) -> Iterator[Problem]:
    """Each filter is on a session, and every block comes through from each of its routers to the top."""
    pairs = {
        (*ends, vrf)
        for s in topology.sessions
        for ends in ((s.upper, s.lower), (s.lower, s.upper))
        for vrf in sessions_of(topology, s)
    }
    permits: dict[tuple[str, str, str, str], list[IPv6Network]] = {}
    vrfs = {v.name: v for v in topology.vrfs}
    for index, rule in enumerate(topology.filters):
        here = f"filters[{index}]"
        ends = (rule.router, rule.neighbour, rule.vrf)
        key = (*ends, rule.direction)
        if key in permits:
            yield Problem("extranet.twice", here, params={"code": " ".join(key)})
        permits.setdefault(key, []).extend(rule.permit)
        if ends not in pairs and rule.vrf in vrfs:
            yield Problem("extranet.no_session", here, params={"code": f"{rule.router}-{rule.neighbour} {rule.vrf}"})
        for prefix in rule.permit:
            if rule.vrf in vrfs and not prefix.subnet_of(vrfs[rule.vrf].prefix):
                yield Problem("extranet.outside", f"{here}.permit", params={"code": str(prefix), "by": rule.vrf})
    for index, block in enumerate(topology.blocks):
        yield from _held_back(topology, f"blocks[{index}]", block, permits)
    yield from _kept_from(topology, permits)


def _probe_problems(topology: Topology) -> Iterator[Problem]:
    """Somebody has to look from every table that there are neighbours in: nothing is handed over unseen."""
    looking = {r.name for r in topology.routers if r.probes}
    pairs = {(name, vrf) for s in topology.sessions for name in (s.upper, s.lower) for vrf in sessions_of(topology, s)}
    for index, vrf in enumerate(topology.vrfs):
        routers = {name for name, table in pairs if table == vrf.name}
        if routers and not routers & looking:
            yield Problem("extranet.zone_without_probe", f"vrfs[{index}]", "Art. 2(3)", {"code": vrf.name})


def _held_back(
    topology: Topology, here: str, block: Block, permits: Mapping[tuple[str, str, str, str], Sequence[IPv6Network]]
) -> Iterator[Problem]:
    for router in block.routers:
        for session in way_up(topology, router):
            sent = permits.get((session.lower, session.upper, block.vrf, "out"))
            taken = permits.get((session.upper, session.lower, block.vrf, "in"), ())
            for at, allowed in ((session.lower, sent), (session.upper, taken)):
                if allowed is not None and not any(block.prefix.subnet_of(prefix) for prefix in allowed):
                    by = f"{at}-{session.upper if at == session.lower else session.lower} {block.vrf}"
                    yield Problem("extranet.held_back", here, params={"code": str(block.prefix), "by": by})


def _kept_from(
    topology: Topology, permits: Mapping[tuple[str, str, str, str], Sequence[IPv6Network]]
) -> Iterator[Problem]:
    """Downwards too: a router that does not hear of a block cannot reach it, nor say that it is where it should be."""
    above = {r.name: {(s.upper, s.lower) for s in way_up(topology, r.name)} for r in topology.routers}
    for session in topology.sessions:
        pair = (session.upper, session.lower)
        for vrf in sessions_of(topology, session):
            filters = (
                (session.upper, session.lower, permits.get((*pair, vrf, "out"))),
                (session.lower, session.upper, permits.get((*pair[::-1], vrf, "in"))),
            )
            for at, neighbour, allowed in filters:
                for index, block in enumerate(topology.blocks) if allowed is not None else ():
                    from_elsewhere = block.vrf == vrf and any(pair not in above.get(r, {pair}) for r in block.routers)
                    if from_elsewhere and not any(block.prefix.subnet_of(prefix) for prefix in allowed or ()):
                        params = {"code": str(block.prefix), "by": f"{at}-{neighbour} {vrf}"}
                        yield Problem("extranet.held_back", f"blocks[{index}]", params=params)

"""What each router lets in from each neighbour and sends to it, by the topology: for playbooks and for drift. Pure.

Called by: ``extranet.fabric``, ``extranet.differences``. Must not: read the database; names and numbers of filters are
the router's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv6Network
from typing import Any

from broker.extranet.checks import sessions_of
from broker.extranet.schema import Session, Topology, Vrf

Key = tuple[str, str, str, str]
"""Router, neighbour, VRF, direction."""


def written(topology: Topology) -> Mapping[Key, frozenset[IPv6Network]]:
    """The filters that the file has."""
    return {(f.router, f.neighbour, f.vrf, f.direction): frozenset(f.permit) for f in topology.filters}


def permitted(
    known: Mapping[Key, frozenset[IPv6Network]], session: Session, router: str, vrf: Vrf, direction: str
) -> frozenset[IPv6Network]:
    """What may pass at ``router``, at one end of a session, beside routers' own addresses."""
    upper = session.upper == router
    found = known.get((router, session.lower if upper else session.upper, vrf.name, direction))
    if found is not None:
        return found
    # From below comes only what somebody has planned; from above what all others of the zone have.
    return frozenset() if upper and direction == "in" else frozenset({vrf.prefix})


def of_router(topology: Topology, router: str) -> Iterator[dict[str, Any]]:
    """A router's filters as ``filter-neighbours.yml`` takes them, session by session."""
    known, asns = written(topology), {r.name: r.asn for r in topology.routers}
    vrfs = {v.name: v for v in topology.vrfs}
    for session in topology.sessions:
        if router not in (session.upper, session.lower):
            continue
        neighbour = session.lower if session.upper == router else session.upper
        for name in sessions_of(topology, session):
            ways = {way: permitted(known, session, router, vrfs[name], way) for way in ("in", "out")}
            own = f"permit {vrfs[name].loopbacks} ge 128"
            yield {
                "vrf": name,
                "neighbour": neighbour,
                "asn": asns[neighbour],
                "link": str(session.prefix),
                **{way: [*_entries(prefixes, topology), own] for way, prefixes in ways.items()},
            }


def _entries(prefixes: frozenset[IPv6Network], topology: Topology) -> list[str]:
    length = topology.segment_length
    return [f"permit {p}{f' le {length}' if p.prefixlen < length else ''}" for p in sorted(prefixes)]

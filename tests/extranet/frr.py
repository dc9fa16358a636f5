"""The base configuration of a laboratory router, from the topology: VRFs, links, sessions, filters. No segment.

Called by: ``tests.extranet.lab``. Must not: start anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

from broker.extranet.checks import loopback, sessions_of
from broker.extranet.schema import Router, Session, Topology, Vrf


def link_name(neighbour: str, vrf_index: int) -> str:
    """The interface towards a neighbour in one VRF (15 characters at most)."""
    return f"{neighbour}-{vrf_index}"


def link_address(session: Session, vrf_index: int, *, upper: bool) -> IPv6Address:
    """A /127 for each VRF."""
    return session.prefix.network_address + 2 * vrf_index + (0 if upper else 1)


def links_of(topology: Topology, router: str) -> Iterator[tuple[Session, str, bool]]:
    """A router's sessions, the neighbour's name and whether the router is the upper one."""
    for session in topology.sessions:
        if session.upper == router:
            yield session, session.lower, True
        elif session.lower == router:
            yield session, session.upper, False


def configuration(topology: Topology, router: Router) -> str:
    """``frr.conf`` as a network engineer would have left it."""
    lines = [
        "frr version 8.4.4",
        "frr defaults datacenter",
        f"hostname {router.name}",
        "service integrated-vtysh-config",
        "log file /var/log/frr/frr.log warnings",
        "ipv6 forwarding",
        *(line for vrf in topology.vrfs for line in (f"vrf {vrf.name}", "exit-vrf")),
    ]
    for index, vrf in enumerate(topology.vrfs):
        lines += _interfaces(topology, router, vrf, index)
        lines += _bgp(topology, router, vrf, index)
        lines += _filters(topology, router, vrf)
    return "\n".join(lines) + "\n"


def _interfaces(topology: Topology, router: Router, vrf: Vrf, index: int) -> list[str]:
    lines = [f"interface lo vrf {vrf.name}", f" ipv6 address {loopback(topology, vrf, router.name)}/128", "exit"]
    for session, neighbour, upper in links_of(topology, router.name):
        if vrf.name in sessions_of(topology, session):
            address = link_address(session, index, upper=upper)
            lines += [
                f"interface {link_name(neighbour, index)} vrf {vrf.name}",
                f" ipv6 address {address}/127",
                "exit",
            ]
    return lines


def _bgp(topology: Topology, router: Router, vrf: Vrf, index: int) -> list[str]:
    asns = {r.name: r.asn for r in topology.routers}
    lines = [f"router bgp {router.asn} vrf {vrf.name}", f" bgp router-id {router.router_id}"]
    lines += [" no bgp default ipv4-unicast", " timers bgp 3 9"]
    family = [" address-family ipv6 unicast"]
    said = {(f.neighbour, f.direction) for f in topology.filters if (f.router, f.vrf) == (router.name, vrf.name)}
    for session, neighbour, upper in links_of(topology, router.name):
        if vrf.name not in sessions_of(topology, session):
            continue
        peer = link_address(session, index, upper=not upper)
        taken = neighbour if upper or (neighbour, "in") in said else "any"
        lines += [
            f" neighbor {peer} remote-as {asns[neighbour]}",
            f" neighbor {peer} description {neighbour}",
            f" neighbor {peer} advertisement-interval 0",
            f" neighbor {peer} timers connect 2",
        ]
        family += [
            f"  neighbor {peer} activate",
            f"  neighbor {peer} soft-reconfiguration inbound",
            f"  neighbor {peer} prefix-list {vrf.name}-{taken}-in in",
            f"  neighbor {peer} prefix-list {vrf.name}-{neighbour if (neighbour, 'out') in said else 'any'}-out out",
        ]
    family.append(f"  network {loopback(topology, vrf, router.name)}/128")
    return [*lines, *family, " exit-address-family", "exit"]


def _filters(topology: Topology, router: Router, vrf: Vrf) -> list[str]:
    length, name = topology.segment_length, f"ipv6 prefix-list {vrf.name}"
    ways = {("any", "in"), ("any", "out")}
    lines = [f"{name}-any-{way} permit {vrf.prefix} ge {length} le {length}" for way in ("in", "out")]
    for rule in topology.filters:
        if (rule.router, rule.vrf) == (router.name, vrf.name):
            ways.add((rule.neighbour, rule.direction))
            lines += [f"{name}-{rule.neighbour}-{rule.direction} permit {p} le {length}" for p in rule.permit]
    # A prefix-list that is not there lets everything in: each session downwards has one.
    lowers = [n for s, n, upper in links_of(topology, router.name) if upper and vrf.name in sessions_of(topology, s)]
    ways |= {(neighbour, "in") for neighbour in lowers}
    return lines + [f"{name}-{n}-{way} permit {vrf.loopbacks} ge 128" for n, way in sorted(ways)]

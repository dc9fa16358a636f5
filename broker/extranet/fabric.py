"""From the topology to what a network provider works with: accounts of routers, and the plan as playbooks take it.

Called by: ``broker.bootstrap``, the laboratory's tests. Must not: read the database, or hold a key.
"""

from __future__ import annotations

from ipaddress import collapse_addresses
from typing import Any

from broker.extranet.checks import loopback, sessions_of
from broker.extranet.filters import of_router
from broker.extranet.schema import Access, Router, Topology, Vrf
from providers.networking import Fabric, RouterAccount


def fabric_of(topology: Topology) -> Fabric:
    """The routers with their variables, and the plan."""
    return Fabric(routers={r.name: _account(topology, r) for r in topology.routers}, plan=plan_of(topology))


def plan_of(topology: Topology) -> dict[str, Any]:
    """What may be announced, by whom and from where, as plain data."""
    vendors = {r.name: r.vendor for r in topology.routers}
    return {
        "segment_length": topology.segment_length,
        "vrfs": {
            v.name: {"prefix": str(v.prefix), "loopbacks": str(v.loopbacks), "zone": v.zone} for v in topology.vrfs
        },
        "routers": {
            a.router: {
                "vnis": list(a.tags),
                "remote": str(a.remote) if a.remote else "",
                "encapsulation": a.encapsulation.value,
                "vendor": vendors.get(a.router, ""),
                # Its own addresses: a probe that does not hear them cannot hear the router's segments either.
                "own": {v.name: str(loopback(topology, v, a.router)) for v in vrfs_on(topology, a.router)},
            }
            for a in topology.access
        },
        "blocks": [
            {"unit": b.unit, "vrf": b.vrf, "prefix": str(b.prefix), "routers": list(b.routers)} for b in topology.blocks
        ],
    }


def vrfs_of(topology: Topology, router: str) -> list[str]:
    """The routing tables that a router has: those of its sessions."""
    return [v.name for v in vrfs_on(topology, router)]


def vrfs_on(topology: Topology, router: str) -> list[Vrf]:
    """The same, with what the topology says of them."""
    has = {v for s in topology.sessions if router in (s.upper, s.lower) for v in sessions_of(topology, s)}
    return [v for v in topology.vrfs if v.name in has]


def _account(topology: Topology, router: Router) -> RouterAccount:
    access = next((a for a in topology.access if a.router == router.name), None)
    groups = ("routers", *(["access"] if access else []), *(["probes"] if router.probes else []))
    return RouterAccount(
        name=router.name,
        vendor=router.vendor,
        address=router.address,
        port=router.port,
        user=router.user,
        host_key=router.host_key,
        groups=groups,
        variables=_variables(topology, router, access),
    )


def _variables(topology: Topology, router: Router, access: Access | None) -> dict[str, Any]:
    near = [s.prefix for s in topology.sessions if router.name in (s.upper, s.lower)]
    everywhere = [*(s.prefix for s in topology.sessions), *(v.loopbacks for v in topology.vrfs)]
    variables: dict[str, Any] = {
        "extranet_vendor": router.vendor,
        "extranet_asn": router.asn,
        # Who may speak with its BGP, and what no host of a segment has business with.
        "extranet_neighbours": [str(prefix) for prefix in collapse_addresses(near)],
        "extranet_infrastructure": [str(prefix) for prefix in collapse_addresses(everywhere)],
        "extranet_filters": list(of_router(topology, router.name)),
    }
    if access is not None:
        variables["extranet_underlay"] = {
            "device": access.device,
            "local": str(access.local) if access.local else "",
        }
    if router.probes:
        variables["extranet_vantages"] = [*_vantages(topology, router.name), {"vrf": ""}]
    return variables


def _vantages(topology: Topology, router: str) -> list[dict[str, Any]]:
    """Where a probe looks from; its controls are the other routers' own addresses."""
    mine = set(vrfs_of(topology, router))
    others = [r.name for r in topology.routers if r.name != router]
    return [
        {
            "vrf": vrf.name,
            "source": str(loopback(topology, vrf, router)),
            "controls": [str(loopback(topology, vrf, o)) for o in others if vrf.name in vrfs_of(topology, o)],
        }
        for vrf in topology.vrfs
        if vrf.name in mine
    ]

"""What the plan allows a router: the assertion of the extranet's playbooks, and the same rule for the broker.

Called by: the playbooks (as a filter), ``broker.extranet``. Must not: need anything but the standard library.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Refusal = tuple[str, str]
"""A stable code, and what it is about."""

FILTERING = frozenset({"frr"})
"""Vendors whose role makes a firewall. On others nothing would keep undeclared services in: private segments only."""
_PROTOCOLS = frozenset({"tcp", "udp"})
_PORTS = range(1, 65_536)
_IPV4_INSIDE = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("::ffff:0:0/96"))
"""Addresses with an IPv4 address in them (RFC 4291, 2.5.5): nobody's on a network of IPv6, written in several ways."""


def refusal(segment: Mapping[str, Any], plan: Mapping[str, Any], router: str) -> Refusal | None:
    """Why the plan does not contain a segment, or None.

    ``segment``: ``id, router, unit, vrf, prefix, vni``. ``plan``: ``routers`` (name -> ``vnis: [first, last], vendor,
    remote, encapsulation``), ``vrfs`` (name -> ``prefix, loopbacks, zone``), ``blocks`` (``unit, vrf, prefix,
    routers``), ``segment_length``.
    """
    vrf, prefix = str(segment.get("vrf")), str(segment.get("prefix"))
    if segment.get("router") != router or router not in plan["routers"]:
        return "extranet.router_unknown", str(segment.get("router"))
    if vrf not in plan["vrfs"]:
        return "extranet.zone_unknown", vrf
    bad = prefix_refusal(prefix, int(plan["segment_length"]))
    if bad is not None:
        return bad
    narrow = plan["vrfs"][vrf]["zone"] != "private" or segment.get("services") is not None
    if narrow and plan["routers"][router]["vendor"] not in FILTERING:
        return "extranet.vendor_filters_nothing", f"{router} {plan['routers'][router]['vendor']} {vrf}"
    return _outside(segment, plan, router, ipaddress.IPv6Network(prefix)) or _vni(segment, plan["routers"][router])


def prefix_refusal(text: str, length: int) -> Refusal | None:
    """Whether a text is a segment's prefix as routers write it: IPv6, no host bits, the plan's length, canonical."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "extranet.prefix_malformed", text
    if network.version != 6:
        return "extranet.prefix_not_ipv6", text
    if network.prefixlen != length:
        return "extranet.prefix_length", text
    if int(ipaddress.IPv6Interface(text).ip) != int(network.network_address):
        return "extranet.prefix_host_bits", text
    return None if str(network) == text else ("extranet.prefix_not_canonical", text)


def _outside(
    segment: Mapping[str, Any], plan: Mapping[str, Any], router: str, network: ipaddress.IPv6Network
) -> Refusal | None:
    vrf = str(segment["vrf"])
    if network.overlaps(ipaddress.IPv6Network(plan["vrfs"][vrf]["loopbacks"])):
        return "extranet.prefix_reserved", str(network)
    in_vrf = [b for b in plan["blocks"] if b["vrf"] == vrf]
    own = [b for b in in_vrf if b["unit"] == segment.get("unit") and router in b["routers"]]
    if not own:
        return "extranet.unit_not_attached", f"{segment.get('unit')} {vrf} {router}"
    if any(network.subnet_of(ipaddress.IPv6Network(b["prefix"])) for b in own):
        return None
    others = [b["unit"] for b in in_vrf if network.overlaps(ipaddress.IPv6Network(b["prefix"]))]
    if others:
        return "extranet.prefix_of_another_unit", f"{network} {others[0]}"
    return "extranet.prefix_outside_plan", str(network)


def _vni(segment: Mapping[str, Any], router: Mapping[str, Any]) -> Refusal | None:
    vni = segment.get("vni")
    first, last = router["vnis"]
    if not isinstance(vni, int) or isinstance(vni, bool) or not first <= vni <= last:
        return "extranet.vni_out_of_range", str(vni)
    return None


def _attachment(segment: Mapping[str, Any], router: Mapping[str, Any]) -> Refusal | None:
    """Whether a segment meets its router as the plan says: by which means, with which far end."""
    for name in ("encapsulation", "remote"):
        if segment.get(name) != router[name]:
            return "extranet.attachment_differs", f"{name} {segment.get(name)}"
    if segment.get("addressing") not in {"slaac", "dhcpv6"}:
        return "extranet.attachment_differs", f"addressing {segment.get('addressing')}"
    return None


def _services(segment: Mapping[str, Any], zone: str) -> Refusal | None:
    """Whether services are such as a firewall can take, one beside the other; None is for the private zone alone."""
    services = segment.get("services")
    if services is None:
        return None if zone == "private" else ("extranet.services_malformed", "open outside the private zone")
    if not isinstance(services, (list, tuple)):
        return "extranet.services_malformed", str(services)
    sources: dict[tuple[str, int], list[ipaddress.IPv6Network]] = {}
    for service in services:
        source = _source(service)
        if source is None:
            return "extranet.services_malformed", str(service)
        same = sources.setdefault((service["protocol"], service["port"]), [])
        if any(source.overlaps(other) for other in same):
            return "extranet.services_malformed", f"{service} overlaps"
        same.append(source)
    return None


def _source(service: Any) -> ipaddress.IPv6Network | None:
    """Where a well-formed service may be reached from; None for one that is not."""
    if not isinstance(service, Mapping) or set(service) - {"source"} != {"protocol", "port"}:
        return None
    port, text = service["port"], service.get("source")
    if service["protocol"] not in _PROTOCOLS or not isinstance(port, int) or isinstance(port, bool):
        return None
    if port not in _PORTS:
        return None
    if text is None:
        return ipaddress.IPv6Network("::/0")
    return source_of(text) if isinstance(text, str) else None


def source_of(text: str) -> ipaddress.IPv6Network | None:
    """Where a service may be reached from, written as every router writes it; None for what is not.

    Without host bits, canonical, and not for addresses with an IPv4 address in them: nft writes ``::ffff:0.0.0.0``.
    """
    try:
        source = ipaddress.IPv6Network(text)
    except ValueError:
        return None
    inside = any(source.subnet_of(space) for space in _IPV4_INSIDE)
    return source if str(source) == text and not inside else None


def _id(segment: Mapping[str, Any]) -> Refusal | None:
    """The id is written into routers' configuration: it has to be one."""
    try:
        whole = str(uuid.UUID(segment["id"])) == segment["id"]
    except (KeyError, ValueError, TypeError, AttributeError):
        whole = False
    return None if whole else ("extranet.id_malformed", repr(segment.get("id")))


def refusals(
    segments: Iterable[Mapping[str, Any]], plan: Mapping[str, Any], router: str, hosts: Iterable[str]
) -> list[str]:
    """What of a run a router has to refuse: ``code: what`` each; empty when all is as the plan says.

    Its own segments are looked at whole. One for a router that is not of the run (``hosts``) or not of the plan is
    refused by all: nobody else would say so.
    """
    found, vnis, prefixes, known = [], set(), set(), set(hosts) & set(plan["routers"])
    for segment in segments:
        if segment.get("router") in known and segment.get("router") != router:
            continue
        bad = refusal(segment, plan, router)
        bad = bad or _attachment(segment, plan["routers"][router])
        bad = bad or _services(segment, plan["vrfs"][segment["vrf"]]["zone"]) or _id(segment)
        if bad is None and segment["vni"] in vnis:
            bad = "extranet.vni_in_use", str(segment["vni"])
        if bad is None and (segment["vrf"], segment["prefix"]) in prefixes:
            bad = "extranet.overlap_announced", str(segment["prefix"])
        vnis.add(segment.get("vni"))
        prefixes.add((segment.get("vrf"), segment.get("prefix")))
        if bad is not None:
            found.append(f"{bad[0]}: {segment.get('id')}: {bad[1]}")
    return found


def mine(
    segments: Iterable[Mapping[str, Any]], router: str, hosts: Iterable[str], plan: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """A router's own segments. Raises ValueError for one whose router is not of the run.

    With the plan each is told how long the block is that it is of (``block_length``): what covers it and is no longer
    may be a planned aggregate.
    """
    strangers = sorted({str(s.get("router")) for s in segments} - set(hosts))
    if strangers:
        raise ValueError(f"extranet.router_unknown: {', '.join(strangers)}")
    own = [dict(s) for s in segments if s["router"] == router]
    return own if plan is None else [{**s, "block_length": _block_length(s, plan)} for s in own]


def _block_length(segment: Mapping[str, Any], plan: Mapping[str, Any]) -> int:
    network = ipaddress.IPv6Network(segment["prefix"])
    blocks = [ipaddress.IPv6Network(b["prefix"]) for b in plan["blocks"] if b["vrf"] == segment["vrf"]]
    return max((b.prefixlen for b in blocks if network.subnet_of(b)), default=0)


def unproven(
    heard: Iterable[Mapping[str, Any]],
    targets: Iterable[Mapping[str, Any]],
    vantages: Iterable[Mapping[str, Any]],
) -> list[str]:
    """What of a look is not as it should be, or was not looked at: ``code: id: what`` each; empty when all is proven.

    ``heard``: the probes' answers. Somebody has to have seen into each target's own zone, into every zone that there
    are ``vantages`` for (those of one probe), and into the management network.
    """
    found, answers = [], list(heard)
    zones = {str(v["vrf"]) for v in vantages} | {str(row["seen_from"]) for a in answers for row in a["matrix"]} | {""}
    for target in targets:
        verdicts = [a["verdicts"].get(target["id"], {"code": ""}) for a in answers]
        found += [f"{v['code']}: {target['id']}: {v['detail']}" for v in verdicts if v["code"]]
        rows = [row for a in answers for row in a["matrix"] if row["id"] == target["id"]]
        seen = {row["seen_from"] for row in rows if row["seeing"]}
        blind = (zones - set(target.get("elsewhere", ())) | {target["vrf"]}) - seen
        if blind:
            places = ", ".join(vrf or "management" for vrf in sorted(blind))
            found.append(f"extranet.probe_blind: {target['id']}: {places}")
    return found


class FilterModule:
    """How Ansible finds the filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"extranet_refusals": refusals, "extranet_mine": mine, "extranet_unproven": unproven}

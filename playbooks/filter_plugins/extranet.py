"""What the plan allows a router: the assertion of the extranet's playbooks, and the same rule for the broker.

Called by: the playbooks (as a filter), ``broker.extranet``. Must not: need anything but the standard library.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Refusal = tuple[str, str]
"""A stable code, and what it is about."""


def refusal(segment: Mapping[str, Any], plan: Mapping[str, Any], router: str) -> Refusal | None:
    """Why the plan does not contain a segment, or None.

    ``segment``: ``id, router, unit, vrf, prefix, vni``. ``plan``: ``routers`` (name -> ``vnis: [first, last]``),
    ``vrfs`` (name -> ``prefix, loopbacks``), ``blocks`` (``unit, vrf, prefix, routers``), ``segment_length``.
    """
    vrf, prefix = str(segment.get("vrf")), str(segment.get("prefix"))
    if segment.get("router") != router or router not in plan["routers"]:
        return "extranet.router_unknown", str(segment.get("router"))
    if vrf not in plan["vrfs"]:
        return "extranet.zone_unknown", vrf
    bad = prefix_refusal(prefix, int(plan["segment_length"]))
    if bad is not None:
        return bad
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


def refusals(segments: Iterable[Mapping[str, Any]], plan: Mapping[str, Any], router: str) -> list[str]:
    """What of a list of segments the plan does not contain: ``code: what`` each; empty when it contains all."""
    found, vnis, prefixes = [], set(), set()
    for segment in segments:
        bad = refusal(segment, plan, router)
        if bad is None and segment["vni"] in vnis:
            bad = "extranet.vni_in_use", str(segment["vni"])
        if bad is None and (segment["vrf"], segment["prefix"]) in prefixes:
            bad = "extranet.overlap_announced", str(segment["prefix"])
        vnis.add(segment.get("vni"))
        prefixes.add((segment.get("vrf"), segment.get("prefix")))
        if bad is not None:
            found.append(f"{bad[0]}: {segment.get('id')}: {bad[1]}")
    return found


class FilterModule:
    """How Ansible finds the filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"extranet_refusals": refusals}

"""Segments are taken off an FRR router: what is there and ours goes, with all that was let in for it.

Used by: the module ``frr_segments`` of this role. Runs on the router with its own Python; only the standard library.

What goes is known by its id and its interface. Which prefixes it has is asked of the router wherever that is not simply
the segment's own: somebody may have given it a second address, or whoever asks may know of none.
"""

from __future__ import annotations

import ipaddress
import re
import time

from ansible.module_utils.frr_config import bgp_of, blocks
from ansible.module_utils.frr_firewall import table_of

_FORGETTING_TURNS = 20
_TURN_S = 0.05


def absent(router, segments, seen, check):
    """Take away what is there and ours; what is not ours stays and is named. Returns answers and the difference."""
    answers, lines, going, holes = {}, [], [], {}
    walls = {vrf: router.wall(vrf) for vrf in {"", *({s.vrf for s in segments} & router.vrfs)}}
    for s in segments:
        look = seen[s.id]
        if s.vrf not in router.vrfs:
            answers[s.id] = {"changed": False, "code": ""}
            continue
        if look.known and look.ours != s.id:
            answers[s.id] = {"changed": False, "code": "extranet.not_ours", "detail": look.mark or s.device}
            continue
        written = unwanted(s, look, router)
        found = let_in(s, look, router, walls)
        for vrf, shut in found.items():
            holes.setdefault(vrf, []).extend(shut)
        answers[s.id] = {"changed": bool(written or found), "code": ""}
        lines += written
        if look.known:
            going.append(s)
    if holes.get("") and not walls[""].elements:  # the last one takes it with it
        holes[""] = [f"delete table {table_of('')}"]
    if not check:
        _take(router, lines, going, holes, seen)
    return answers, lines + [hole for found in holes.values() for hole in found]


def let_in(segment, seen, router, walls):
    """What has to be shut again, by firewall: whatever was let in for it, by whom and when.

    The interface's name is another segment's one day. A VNI has one tunnel, in whichever VRF: that one's stays.
    """
    places = (segment.vrf, "") if seen.there or not router.held(segment.device) else (segment.vrf,)
    found = {vrf: walls[vrf].elements.pop(segment.device, ()) for vrf in places}
    return {
        vrf: [f"delete element {table_of(vrf)} {name} {{ {element} }}" for name, element in sorted(elements)]
        for vrf, elements in found.items()
        if elements
    }


def unwanted(segment, seen, router):
    """What has to go: first the routes, then a last router advertisement that ends itself, then the link."""
    told, written = prefixes(segment, seen, router)
    lines = [line for network in written for line in router.bgp(segment, f"no network {network}")]
    if seen.known:
        lines += [
            f"interface {segment.device} vrf {segment.vrf}",
            *(f" ipv6 nd prefix {network} 0 0" for network in told),
            " ipv6 nd ra-lifetime 0",
            " ipv6 nd suppress-ra",
            "exit",
        ]
    return lines


def _take(router, lines, going, holes, seen):
    """The firewalls are shut when the links are gone: a tunnel whose end is not guarded takes packets from anybody."""
    if lines:
        router.configure(lines)
    if going:
        time.sleep(0.1)  # the last advertisement leaves before its link does
        _unlink(router, going, seen)
    for vrf, shut in holes.items():
        router.filter(vrf, shut)
    if going:
        _forget(router, going)


def prefixes(segment, seen, router):
    """What hosts were told of, and what is written to be announced.

    Usually both are the segment's own. Where its interface has not just that, the configuration says what else: all of
    it goes along, but for what is another interface's.
    """
    own, live = {str(segment.network)}, {_network(a) for a in seen.addresses if not a.startswith("fe80:")}
    if not seen.known or live == own:
        return sorted(own), sorted(own) if seen.written else []
    config = blocks(router.configuration)
    mine = f"interface {segment.device} vrf {segment.vrf}"
    table = re.compile(rf"interface \S+ vrf {re.escape(segment.vrf)}")
    told = live | _prefixes_in(config.get(mine, ()))
    beside = (lines for head, lines in config.items() if head != mine and table.fullmatch(head))
    others = {prefix for lines in beside for prefix in _prefixes_in(lines)}
    written = {line.split()[1] for line in bgp_of(config, segment.vrf) if line.startswith("network ")}
    return sorted(told), sorted(((told | own) & written) - others)


def _prefixes_in(lines):
    """Of an interface's lines: what it is connected to, and what it tells its hosts of."""
    found = [line.split() for line in lines]
    addresses = {_network(words[2]) for words in found if words[:2] == ["ipv6", "address"]}
    return addresses | {_network(words[3]) for words in found if words[:3] == ["ipv6", "nd", "prefix"]}


def _network(address):
    return str(ipaddress.IPv6Interface(address).network)


def _unlink(router, going, seen):
    """One batch a namespace; what is not there is passed over."""
    for vrf in {s.vrf for s in going}:
        links = "".join(f"link del {s.device}\n" for s in going if s.vrf == vrf and seen[s.id].there)
        router.run("ip", "-n", vrf, "-force", "-batch", "-", stdin=links, check=False)


def _forget(router, going):
    """Only an interface that is gone can be forgotten, and the router learns a moment later that it is."""
    words = [w for s in going for w in ("-c", f"no interface {s.device} vrf {s.vrf}")]
    shown = [w for s in going for w in ("-c", f"show interface {s.device} vrf {s.vrf}")]
    for _ in range(_FORGETTING_TURNS):
        router.run("vtysh", "-c", "configure terminal", *words, check=False)
        if "Description: guiyun" not in router.run("vtysh", *shown):
            break
        time.sleep(_TURN_S)
    router.run("vtysh", "-c", "write memory")

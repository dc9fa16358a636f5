"""Segments are brought onto an FRR router: refused, or made so that nothing is missing and nothing is beside them.

Used by: the module ``frr_segments`` of this role. Runs on the router with its own Python; only the standard library.

A link is made with the address that its VNI is given, and carries our id a moment later (its alias), so that a run that
fails or is killed anywhere leaves nothing that nobody owns: the same run said again goes on with it, and taking the
segment away finds it.
"""

from __future__ import annotations

import ipaddress
import time

from ansible.module_utils.frr_firewall import differing, table_of
from ansible.module_utils.frr_segment import RA_INTERVAL_S, Refused

SETTLE_S, TURN_S = 5, 0.05


class Work:
    """What is to be done for one segment: kernel commands, router lines."""

    def __init__(self, segment, seen, links, lines):
        self.segment, self.seen, self.links, self.lines = segment, seen, links, lines


def present(router, segments, seen, check):
    """Make what is missing; returns answers by id and the difference as text. One that is refused holds up no other."""
    answers, works = {}, []
    for s in segments:
        try:
            refuse(s, seen[s.id], router)
        except Refused as error:
            answers[s.id] = {"changed": False, "code": error.code, "detail": error.detail}
            continue
        works.append(Work(s, seen[s.id], *wanted(s, seen[s.id], router)))
    if not check:
        failed = make_links(router, [w for w in works if w.links])
        answers.update({i: {"changed": False, **said} for i, said in failed.items()})
        works = [w for w in works if w.segment.id not in failed]
    made = [w.segment for w in works]
    walls = {v: walled(router, v, {s: s.elements() for s in made if s.vrf == v}) for v in _vrfs(works)}
    walls[""] = walled(router, "", {s: ends for s in made if (ends := s.ends(router.underlay))})
    still = {v: router.unforwarding(v, {s.device for s in made if s.vrf == v}) for v in _vrfs(works)}
    touched = {segment_id for ids, _ in walls.values() for segment_id in ids}
    touched |= {s.id for s in made if {"all", s.device} & {*still[s.vrf]}}
    lines = [line for w in works for line in w.lines]
    for w in works:
        answers[w.segment.id] = {"changed": bool(w.links or w.lines or w.segment.id in touched), "code": ""}
    if not check:
        write(router, works, lines, walls, still)
    difference = [line for w in works for line in w.links] + lines
    difference += [line for _, written in walls.values() for line in written]
    return answers, difference + [f"net.ipv6.conf.{name}.forwarding=1" for names in still.values() for name in names]


def refuse(segment, seen, router):
    """A live check against what this router has: nothing of others' may overlap."""
    if segment.vrf not in router.vrfs:
        raise Refused("extranet.zone_unknown", segment.vrf)
    if seen.known and seen.ours != segment.id:
        raise Refused("extranet.vni_in_use", f"{segment.device} in {segment.vrf}: {seen.mark or 'not ours'}")
    if seen.foreign:
        hops = ", ".join(p.get("aspath", {}).get("string", "?") for p in seen.foreign)
        raise Refused("extranet.overlap_announced", f"{segment.network} is announced by {hops}")
    for prefix, routes in seen.inside.items():
        if prefix != str(segment.network) or any(not _own(r, segment) for r in routes):
            raise Refused("extranet.overlap_announced", f"{prefix} in {segment.vrf}")
    for prefix in seen.covering:
        covering = ipaddress.IPv6Network(prefix)
        if covering != segment.network and covering.prefixlen > segment.block_length:
            raise Refused("extranet.overlap_announced", f"{prefix} in {segment.vrf}")


def _own(route, segment):
    hops = {hop.get("interfaceName") for hop in route.get("nexthops", ())}
    return route.get("protocol") == "connected" and hops <= {segment.device}


def wanted(segment, seen, router):
    """What is still to be done for a segment: kernel commands, router lines. Nothing when all is right."""
    links = []
    if not seen.there or (router.thorough and not router.linked(segment)):
        links = [segment.link(router.underlay)]
    stale = _stale(segment, seen)
    stray = [f"ipv6 address {a}" for a in stale]
    stray += [f"ipv6 nd prefix {ipaddress.IPv6Interface(a).network}" for a in stale]
    whole = seen.mark == segment.mark and segment.gateway_address in seen.addresses and seen.advertises and not stale
    if router.thorough:
        written, configured = router.written(segment), segment.configured()
        # There is one description, which is written over.
        stray = sorted(line for line in written - configured if not line.startswith("description "))
        whole = whole and written == configured
    lines = []
    if links or not (whole and seen.up):
        lines = [f"interface {segment.device} vrf {segment.vrf}", " no shutdown", *(f" {_undone(x)}" for x in stray)]
        lines += [
            f" ipv6 address {segment.gateway_address}",
            *segment.advertised(),
            f" ipv6 nd ra-interval {RA_INTERVAL_S}",
            " no ipv6 nd ra-lifetime",
            " no ipv6 nd suppress-ra",
            f" description {segment.mark}",
            "exit",
        ]
    return links, lines if seen.announced else lines + router.bgp(segment, f"network {segment.network}")


def _stale(segment, seen):
    return [a for a in seen.addresses if not a.startswith("fe80:") and a != segment.gateway_address]


def _undone(line):
    return line.removeprefix("no ") if line.startswith("no ") else f"no {line}"


def _vrfs(works):
    return sorted({w.segment.vrf for w in works})


def walled(router, vrf, given):
    """What makes a VRF's firewall the role's, also for segments that let nothing in, and the ids that it is for.

    The same for the one before the tunnels (no VRF). ``given``: what its sets have of each segment. Where only elements
    differ they alone are written; a table whose rules are not the role's, or that is not there, is made anew in one go,
    with others' elements as they are, and with the names of all our interfaces: it may be the first that lists them.
    """
    if not given:
        return set(), []
    table, wall, wanted = table_of(vrf), router.wall(vrf), {s.device: set(elements) for s, elements in given.items()}
    if not wall.there or differing(router.rules(vrf), wall.rules):
        kept = {e for device, found in wall.elements.items() if device not in wanted for e in found}
        names = {("segments", f'"{device}"') for device in router.ours(vrf)} if vrf else set()
        elements = sorted(kept.union(names, *wanted.values()))
        anew = [f"add table {table}", f"delete table {table}", *router.text(vrf).splitlines()]
        return {s.id for s in given}, anew + [said("add", table, *element) for element in elements]
    touched, lines = set(), []
    for s in given:
        found = wall.elements.get(s.device, set())
        lines += [said("delete", table, *element) for element in sorted(found - wanted[s.device])]
        lines += [said("add", table, *element) for element in sorted(wanted[s.device] - found)]
        if found != wanted[s.device]:
            touched.add(s.id)
    return touched, lines


def said(verb, table, name, element):
    """One element of one set, as nft reads it."""
    return f"{verb} element {table} {name} {{ {element} }}"


def write(router, works, lines, walls, still):
    """Firewalls before the links come up, and the router's lines when all is ready for them."""
    for vrf, (_, written) in walls.items():
        router.filter(vrf, written)
    for vrf, names in still.items():
        router.forward(vrf, names)
    for vrf in _vrfs(works):
        ups = "".join(f"link set {w.segment.device} up\n" for w in works if w.links and w.segment.vrf == vrf)
        if ups:
            router.run("ip", "-n", vrf, "-batch", "-", stdin=ups)
    if lines:
        router.configure(lines)
    if router.thorough:
        for w in works:
            take_strays(router, w)
        settle(router, [w.segment for w in works if w.links or w.lines])


def settle(router, segments):
    """Wait until the kernel has the gateways: the router's daemons hear of a link that was made anew a moment later.

    Who compares right after a repair would find what is not missing. After a while whoever looks next says what is.
    """
    until = time.monotonic() + SETTLE_S
    while segments and time.monotonic() < until:
        there = {pair for vrf in sorted({s.vrf for s in segments}) for pair in router.addressed(vrf)}
        segments = [s for s in segments if (s.device, s.gateway_address) not in there]
        if segments:
            time.sleep(TURN_S)


def take_strays(router, work):
    """Addresses that somebody gave an interface beside the router's daemons, which know nothing of them.

    One that was taken away the daemons have put back by now; given to the kernel again, they would forget its prefix.
    """
    stale = _stale(work.segment, work.seen)
    if stale:
        lines = "".join(f"addr del {a} dev {work.segment.device}\n" for a in stale)
        router.run("ip", "-n", work.segment.vrf, "-force", "-batch", "-", stdin=lines, check=False)


def make_links(router, works):
    """Make the links; returns by id why the kernel refused one. Only one can have a VNI, so one by one if need be."""
    failed = {}
    for w in works:
        if w.seen.there:  # not the one that was made
            router.run("ip", "-n", w.segment.vrf, "link", "del", w.segment.device, check=False)
    if not works:
        return failed
    batch = "".join(f"{line}\n" for w in works for line in w.links)
    code, _, _ = router.module.run_command(["ip", "-batch", "-"], data=batch)
    for w in works if code else ():
        if router.run("ip", "-n", w.segment.vrf, "link", "show", "dev", w.segment.device, check=False):
            continue
        code, _, err = router.module.run_command(["ip", "-batch", "-"], data="\n".join(w.links) + "\n")
        if code:
            name = "extranet.vni_in_use" if "exists" in err else "extranet.router_refused"
            failed[w.segment.id] = {"code": name, "detail": err.strip()[:200]}
    made = [w.segment for w in works if w.segment.id not in failed]
    for vrf in sorted({s.vrf for s in made}):
        marks = "".join(f'link set {s.device} alias "{s.named}"\n' for s in made if s.vrf == vrf)
        router.run("ip", "-n", vrf, "-batch", "-", stdin=marks)
    return failed

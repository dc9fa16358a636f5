#!/usr/bin/python3
"""Ansible module: IPv6 segments on an FRR router whose VRFs are network namespaces (``zebra -n``).

Called by: the role ``frr``. Runs on the router with its own Python; must not need anything but the standard library.

One connection, one run: it reads only what is about these segments (no configuration dump), refuses what overlaps with
something announced or connected that is not ours, writes all with one ``ip -batch`` a namespace and one ``vtysh``.
A segment carries our id in its interface's description, with a fingerprint of what it was made from. A thorough run (a
repair) goes further: lines, addresses and rules that nobody wants are taken away, a link that is another is made anew.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import re
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.frr_segment import RA_INTERVAL_S, Refused, Seen, Segment

LOCK = "/run/guiyun-segments.lock"
LOCK_S = 60
ELEMENTS = re.compile(r"elements = \{([^}]*)\}")
ELEMENT = re.compile(r'"([^"]+)"((?: \. [^\s,{}]+)*)')


class Router:
    """The router that this runs on."""

    def __init__(self, module):
        self.module, self.asn = module, module.params["asn"]
        self.underlay, self.thorough = module.params["underlay"], module.params["thorough"]
        self.firewall, self.written = module.params["firewall"], None
        self.vrfs = set(self.run("ip", "netns", "list").split("\n"))
        self.vrfs = {line.split()[0] for line in self.vrfs if line.strip()}

    def run(self, *command, stdin=None, check=True):
        code, out, err = self.module.run_command(list(command), data=stdin)
        if check and code:
            self.module.fail_json(msg=f"{command[0]}: {(err or out).strip()[:400]}")
        return out if not code else ""

    def look(self, segments):
        """Only what is about these segments, with one connection. Of one in a VRF that is not here, nothing."""
        here = [s for s in segments if s.vrf in self.vrfs]
        words = []
        for s in here:
            for command in (
                f"show interface {s.device} vrf {s.vrf}",
                f"show bgp vrf {s.vrf} ipv6 unicast {s.network} json",
                f"show ipv6 route vrf {s.vrf} {s.network} longer-prefixes json",
                f"show ipv6 route vrf {s.vrf} {s.network.network_address} json",
            ):
                words += ["-c", command]
        answers = _answers(self.run("vtysh", *words)) if here else iter(())
        seen = {s.id: Seen("", {}, {}, {}) for s in segments}
        for s in here:
            text, (bgp, inside, covering) = next(answers)
            seen[s.id] = Seen(text, bgp.get("paths", []), inside, covering)
        return seen

    def has_elements(self, segment):
        return all(
            self.run("ip", "netns", "exec", segment.vrf, "nft", "get", "element", "inet", "guiyun", name,
                     f"{{ {element} }}", check=False)
            for name, element in segment.elements()
        )  # fmt: skip

    def linked(self, segment):
        """Whether its link is the one that was made, whatever has its name."""
        shown = self.run("ip", "-n", segment.vrf, "-d", "link", "show", "dev", segment.device, check=False)
        return segment.is_linked(" ".join(shown.split()), self.underlay)

    def stray_lines(self, segment):
        """What is written of its interface and nobody wants. The whole configuration is read once a run."""
        if self.written is None:
            self.written = self.run("vtysh", "-c", "show running-config")
        head = f"interface {segment.device} vrf {segment.vrf}\n"
        stanza = self.written.partition(head)[2].partition("\nexit")[0] if head in self.written else ""
        lines = [line for text in stanza.splitlines() if (line := text.strip()) not in {"", *segment.configured()}]
        return [line for line in lines if not line.startswith("description ")]  # there is one, which is written over

    def walled(self, vrf, segments):
        """A VRF's whole firewall anew, in one go: the role's rules, these segments' elements, others' as they are."""
        out = self.run("ip", "netns", "exec", vrf, "nft", "list", "table", "inet", "guiyun", check=False)
        devices = {s.device for s in segments}
        listed = [e for found in ELEMENTS.findall(out) for e in ELEMENT.findall(found)]
        kept = [("services" if rest else "open", f'"{name}"{rest}') for name, rest in listed if name not in devices]
        wanted = [element for s in segments for element in s.elements()]
        lines = [f"add element inet guiyun {name} {{ {element} }}" for name, element in (*kept, *wanted)]
        return "\n".join(("add table inet guiyun", "delete table inet guiyun", self.firewall, *lines, ""))

    def configure(self, lines):
        """One batch for all, saved; a line that is refused fails the run and says which."""
        code, out, err = self.module.run_command(["vtysh", "-f", "/dev/stdin"], data="\n".join(lines) + "\n")
        text = out + err
        if code or re.search(r"^%", text, re.MULTILINE):
            self.module.fail_json(msg=f"extranet.router_refused: {text.strip()[:400]}")
        self.run("vtysh", "-c", "write memory")


def _answers(out):
    """One text and three JSON objects each, in turn: a text never has a brace at the beginning of a line."""
    decoder, position = json.JSONDecoder(), 0
    while True:
        found = re.compile(r"^\{", re.MULTILINE).search(out, position)
        if found is None:
            return
        text, objects = out[position : found.start()], []
        position = found.start()
        for _ in range(3):
            position = out.index("{", position)
            value, position = decoder.raw_decode(out, position)
            objects.append(value)
        yield text, objects


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
    """What is still to be done for a segment: kernel commands, router lines, firewall elements."""
    links, lines, elements = [], [], []
    gateway = f"{segment.gateway}/{segment.network.prefixlen}"
    if not seen.there or (router.thorough and not router.linked(segment)):
        links.append(segment.link(router.underlay))
    stale = [a for a in seen.addresses if not a.startswith("fe80:") and a != gateway]
    whole = seen.mark == segment.mark and gateway in seen.addresses and seen.advertises and not stale
    if router.thorough or not (whole and seen.up):
        lines += [f"interface {segment.device} vrf {segment.vrf}", " no shutdown"]
        if router.thorough:
            lines += [f" {_undone(line)}" for line in router.stray_lines(segment)]
        else:
            lines += [f" no ipv6 address {a}" for a in stale]
            lines += [f" no ipv6 nd prefix {ipaddress.IPv6Interface(a).network}" for a in stale]
        lines += [
            f" ipv6 address {gateway}",
            *segment.advertised(),
            f" ipv6 nd ra-interval {RA_INTERVAL_S}",
            " no ipv6 nd ra-lifetime",
            " no ipv6 nd suppress-ra",
            f" description {segment.mark}",
            "exit",
        ]
    if not seen.announced:
        lines += _bgp(segment, router, f"network {segment.network}")
    if router.thorough or not (whole and seen.there and router.has_elements(segment)):
        elements = [f"add element inet guiyun {name} {{ {element} }}" for name, element in segment.elements()]
    return links, lines, elements


def _undone(line):
    return line.removeprefix("no ") if line.startswith("no ") else f"no {line}"


def unwanted(segment, seen, router):
    """What has to go: first the route, then a last router advertisement that ends itself, then the link."""
    lines = []
    if seen.written:
        lines += _bgp(segment, router, f"no network {segment.network}")
    if seen.known:
        lines += [
            f"interface {segment.device} vrf {segment.vrf}",
            f" ipv6 nd prefix {segment.network} 0 0",
            " ipv6 nd ra-lifetime 0",
            " ipv6 nd suppress-ra",
            "exit",
        ]
    return lines


def _bgp(segment, router, line):
    head = [f"router bgp {router.asn} vrf {segment.vrf}", " address-family ipv6 unicast"]
    return [*head, f"  {line}", " exit-address-family", "exit"]


def present(router, segments, seen, check):
    """Make what is missing; returns answers by id and the difference as text."""
    answers, links, lines, firewall, todo = {}, [], [], {}, []
    for s in segments:
        try:
            refuse(s, seen[s.id], router)
        except Refused as error:
            answers[s.id] = {"changed": False, "code": error.code, "detail": error.detail}
            continue
        made, written, elements = wanted(s, seen[s.id], router)
        answers[s.id] = {"changed": bool(made or written or elements), "code": ""}
        if answers[s.id]["changed"]:
            todo.append(s)
        if made:
            links.append((s, made))
        lines += written
        if elements:
            firewall.setdefault(s.vrf, []).extend(elements)
    difference = [line for _, made in links for line in made] + lines + [e for v in firewall.values() for e in v]
    if todo and not check:
        failed = make_links(router, links, seen, answers)
        if failed:  # the others are as they were asked for; a segment without its link is not half-made
            kept = [s for s in segments if s.id not in failed and not answers[s.id]["code"]]
            return present(router, kept, router.look(kept), check)[0] | answers_of(answers, failed), difference
        write(router, todo, [s for s, _ in links], lines, firewall)
        if router.thorough:
            take_strays(router, todo, seen)
    return answers, difference


def write(router, segments, linked, lines, firewall):
    """The firewall before the links come up, and the router's lines when all is ready for them."""
    for vrf, elements in firewall.items():
        text = "\n".join((router.firewall, *elements, ""))
        if router.thorough:
            text = router.walled(vrf, [s for s in segments if s.vrf == vrf])
        router.run("ip", "netns", "exec", vrf, "nft", "-f", "-", stdin=text)
    for vrf in {s.vrf for s in linked}:
        ups = "".join(f"link set {s.device} up\n" for s in linked if s.vrf == vrf)
        router.run("ip", "-n", vrf, "-batch", "-", stdin=ups)
    router.configure(lines)


def take_strays(router, segments, seen):
    """Addresses that somebody gave these interfaces beside the router's daemons, which know nothing of them.

    One that was taken away the daemons have put back by now; given to the kernel again, they would forget its prefix.
    """
    for s in segments:
        gateway = f"{s.gateway}/{s.network.prefixlen}"
        stale = [a for a in seen[s.id].addresses if not a.startswith("fe80:") and a != gateway]
        if stale:
            lines = "".join(f"addr del {a} dev {s.device}\n" for a in stale)
            router.run("ip", "-n", s.vrf, "-force", "-batch", "-", stdin=lines, check=False)


def answers_of(answers, ids):
    return {i: answers[i] for i in ids} | {i: a for i, a in answers.items() if a["code"]}


def make_links(router, links, seen, answers):
    """Make the links; returns the ids of those that the kernel refused. Only one can have a VNI."""
    failed = set()
    if not links:
        return failed
    for s, _ in links:
        if seen[s.id].there:  # not the one that was made
            router.run("ip", "-n", s.vrf, "link", "del", s.device, check=False)
    batch = [line for s, made in links for line in (*made, f"link set {s.device} netns {s.vrf}")]
    code, _, _ = router.module.run_command(["ip", "-batch", "-"], data="\n".join(batch) + "\n")
    if not code:
        return failed
    for s, made in links:
        if router.run("ip", "-n", s.vrf, "link", "show", "dev", s.device, check=False):
            continue
        code, _, err = router.module.run_command(["ip", *made[0].split()])
        if code:
            failed.add(s.id)
            name = "extranet.vni_in_use" if "exists" in err else "extranet.router_refused"
            answers[s.id] = {"changed": False, "code": name, "detail": err.strip()[:200]}
        else:
            router.run("ip", "link", "set", s.device, "netns", s.vrf)
    return failed


def absent(router, segments, seen, check):
    """Take away what is there and ours; what is not ours stays and is named."""
    answers, lines, going = {}, [], []
    for s in segments:
        look = seen[s.id]
        if s.vrf not in router.vrfs:
            answers[s.id] = {"changed": False, "code": ""}
            continue
        if look.known and look.ours != s.id:
            answers[s.id] = {"changed": False, "code": "extranet.not_ours", "detail": look.mark or s.device}
            continue
        written = unwanted(s, look, router)
        answers[s.id] = {"changed": bool(written), "code": ""}
        lines += written
        if look.known:
            going.append(s)
    if lines and not check:
        router.configure(lines)
        if going:
            time.sleep(0.1)  # the last advertisement leaves before its link does
            _remove(router, going, seen)
            _forget(router, going)
    return answers, lines


def _remove(router, going, seen):
    """Links and firewall elements, one batch a namespace; what is not there is passed over."""
    by_vrf = {}
    for s in going:
        by_vrf.setdefault(s.vrf, []).append(s)
    for vrf, segments in by_vrf.items():
        for s in segments:
            for name, element in s.elements():
                router.run("ip", "netns", "exec", vrf, "nft", "delete", "element", "inet", "guiyun", name,
                           f"{{ {element} }}", check=False)  # fmt: skip
        links = "".join(f"link del {s.device}\n" for s in segments if seen[s.id].there)
        router.run("ip", "-n", vrf, "-force", "-batch", "-", stdin=links, check=False)


def _forget(router, going):
    """Only an interface that is gone can be forgotten, and the router learns a moment later that it is."""
    words = [w for s in going for w in ("-c", f"no interface {s.device} vrf {s.vrf}")]
    shown = [w for s in going for w in ("-c", f"show interface {s.device} vrf {s.vrf}")]
    for _ in range(20):
        router.run("vtysh", "-c", "configure terminal", *words, check=False)
        if "Description: guiyun" not in router.run("vtysh", *shown):
            break
        time.sleep(0.05)
    router.run("vtysh", "-c", "write memory")


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["present", "absent"], "default": "present"},
            "asn": {"type": "int", "required": True},
            "underlay": {"type": "dict", "required": True},
            "firewall": {"type": "str", "required": True},
            "thorough": {"type": "bool", "default": False},
            "segments": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    with Path(LOCK).open("w") as lock:
        until = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > until:
                    module.fail_json(msg="extranet.router_busy: another change has the lock")
                time.sleep(0.05)
        router = Router(module)
        segments = [Segment(s) for s in module.params["segments"]]
        for s, given in zip(segments, module.params["segments"]):
            s.block_length = int(given.get("block_length", 0))
        seen = router.look(segments)
        act = present if module.params["state"] == "present" else absent
        answers, difference = act(router, segments, seen, module.check_mode)
    changed = any(a["changed"] for a in answers.values())
    text = "\n".join(difference) + "\n" if difference else ""
    module.exit_json(changed=changed, guiyun={"segments": answers}, diff={"prepared": text})


if __name__ == "__main__":
    main()

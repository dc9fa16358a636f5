#!/usr/bin/python3
"""Ansible module: IPv6 segments on an FRR router whose VRFs are network namespaces (``zebra -n``).

Called by: the role ``frr``. Runs on the router with its own Python; must not need anything but the standard library.

One connection, one run: it reads only what is about these segments (no configuration dump), refuses what overlaps with
something announced or connected that is not ours, writes all with one ``ip -batch`` a namespace and one ``vtysh``.
A segment carries our id in its interface's description, with a fingerprint of what it was made from.
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import json
import re
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

LOCK = "/run/guiyun-segments.lock"
LOCK_S = 60
RA_INTERVAL_S = 10
MTU = 1500


class Refused(Exception):
    """A segment that must not be; ``code`` is stable."""

    def __init__(self, code, detail):
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


class Segment:
    """What is wanted."""

    def __init__(self, given):
        self.id, self.vrf, self.vni = given["id"], given["vrf"], int(given["vni"])
        self.network = ipaddress.IPv6Network(given["prefix"])
        self.remote = given.get("remote", "")
        self.services = given.get("services")  # None: open to everybody in its VRF
        self.vlan = given.get("encapsulation") == "vlan"
        self.managed = given.get("addressing") == "dhcpv6"
        self.device = f"seg{self.vni}"
        self.gateway = self.network.network_address + 1
        self.mac = "02:67:79:" + ":".join(f"{self.vni:06x}"[i : i + 2] for i in (0, 2, 4))
        # What is not as usual is added, so that segments made before there was a choice stay what they are.
        unusual = [name for name, there in (("vlan", self.vlan), ("dhcpv6", self.managed)) if there]
        wanted = [str(self.network), self.remote, self.services, RA_INTERVAL_S, *unusual]
        made_from = json.dumps(wanted, sort_keys=True)
        self.mark = f"guiyun {self.id} {hashlib.sha256(made_from.encode()).hexdigest()[:12]}"

    def link(self, underlay):
        """How the kernel makes its link: a VLAN of the trunk to the sub-cloud, or a VXLAN to its gateway."""
        named = f"address {self.mac} mtu {MTU} type"
        if self.vlan:
            return f"link add link {underlay['device']} name {self.device} {named} vlan id {self.vni}"
        return (
            f"link add {self.device} {named} vxlan id {self.vni} local {underlay['local']} remote {self.remote}"
            f" dev {underlay['device']} dstport 4789"
        )

    def advertised(self):
        """What the router tells hosts: their prefix, and whether they form addresses or ask for them by DHCPv6."""
        prefix, no = f" ipv6 nd prefix {self.network}", "" if self.managed else "no "
        flags = [f" {no}ipv6 nd managed-config-flag", f" {no}ipv6 nd other-config-flag"]
        return [f"{prefix} no-autoconfig" if self.managed else prefix, *flags]

    def elements(self):
        """What the firewall's sets have of it."""
        if self.services is None:
            return [("open", f'"{self.device}"')]
        sources = [(s.get("source") or "::/0").removesuffix("/128") for s in self.services]  # as nft writes them
        return [
            ("services", f'"{self.device}" . {source} . {s["protocol"]} . {s["port"]}')
            for source, s in zip(sources, self.services)
        ]


class Seen:
    """What the router shows of a segment."""

    def __init__(self, interface, paths, inside, covering):
        self.text = interface
        self.known = bool(re.search(r"^Interface \S+ is ", interface, re.MULTILINE))
        # After a reboot the saved configuration knows an interface that is not there.
        self.there = self.known and bool(re.search(r"interface type vx?lan", interface.lower()))
        found = re.search(r"^\s*Description: (.*)$", interface, re.MULTILINE)
        self.mark = found.group(1).strip() if found else ""
        self.addresses = re.findall(r"^\s*inet6 (\S+)", interface, re.MULTILINE)
        self.advertises = f"router advertisements are sent every {RA_INTERVAL_S} seconds" in interface
        self.up = bool(re.search(r"is up, line protocol is up", interface))
        self.written = any(p.get("local") and p.get("sourced") for p in paths)
        self.announced = any(p.get("local") and p.get("sourced") and p.get("valid") for p in paths)
        self.foreign = [p for p in paths if not (p.get("local") and p.get("sourced"))]
        self.inside, self.covering = inside, covering

    @property
    def ours(self):
        """The id of ours that the interface carries, if any."""
        words = self.mark.split()
        return words[1] if len(words) >= 2 and words[0] == "guiyun" else ""


class Router:
    """The router that this runs on."""

    def __init__(self, module):
        self.module, self.asn = module, module.params["asn"]
        self.underlay, self.thorough = module.params["underlay"], module.params["thorough"]
        self.firewall = module.params["firewall"]
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

    def strange_elements(self, segment):
        """What somebody else opened for a segment's interface: the firewall's elements that are not its own."""
        out = self.run("ip", "netns", "exec", segment.vrf, "nft", "list", "table", "inet", "guiyun", check=False)
        found = re.findall(rf'"{segment.device}"(?: \. [^\s,{{}}]+)*', out)
        listed = [("services" if " . " in element else "open", element) for element in found]
        return [entry for entry in listed if entry not in segment.elements()]

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
    if not seen.there:
        links.append(segment.link(router.underlay))
    stale = [a for a in seen.addresses if not a.startswith("fe80:") and a != gateway]
    whole = seen.mark == segment.mark and gateway in seen.addresses and seen.advertises and not stale
    if not (whole and seen.up):
        lines += [f"interface {segment.device} vrf {segment.vrf}", " no shutdown"]
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
    strange = router.strange_elements(segment) if router.thorough else []
    if router.thorough or not (whole and seen.there and router.has_elements(segment)):
        elements = [f"delete element inet guiyun {name} {{ {element} }}" for name, element in strange]
        elements += [f"add element inet guiyun {name} {{ {element} }}" for name, element in segment.elements()]
    return links, lines, elements


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
    answers, links, ups, lines, firewall = {}, [], {}, [], {}
    todo = []
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
            ups.setdefault(s.vrf, []).append(s.device)
        lines += written
        if elements:
            firewall.setdefault(s.vrf, []).extend(elements)
    difference = [line for _, made in links for line in made] + lines + [e for v in firewall.values() for e in v]
    if todo and not check:
        failed = make_links(router, links, answers)
        if failed:  # the others are as they were asked for; a segment without its link is not half-made
            kept = [s for s in segments if s.id not in failed and not answers[s.id]["code"]]
            return present(router, kept, router.look(kept), check)[0] | answers_of(answers, failed), difference
        for vrf, elements in firewall.items():
            router.run(
                "ip", "netns", "exec", vrf, "nft", "-f", "-", stdin=f"{router.firewall}\n" + "\n".join(elements) + "\n"
            )
        for vrf, devices in ups.items():
            router.run("ip", "-n", vrf, "-batch", "-", stdin="".join(f"link set {d} up\n" for d in devices))
        router.configure(lines)
    return answers, difference


def answers_of(answers, ids):
    return {i: answers[i] for i in ids} | {i: a for i, a in answers.items() if a["code"]}


def make_links(router, links, answers):
    """Make the VXLANs; returns the ids of those that the kernel refused. Only one can have a VNI."""
    failed = set()
    if not links:
        return failed
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

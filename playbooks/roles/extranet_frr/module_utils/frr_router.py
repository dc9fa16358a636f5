"""The FRR router that a module runs on: what it shows of segments, and how it is written to.

Used by: the use-cases of this role (``frr_present``, ``frr_absent``). Runs on the router with its own Python; only the
standard library. One connection of the router's shell reads all that is about the segments of a run.
"""

from __future__ import annotations

import json
import re

from ansible.module_utils.frr_firewall import TUNNELS, inside, standing, wanted_rules
from ansible.module_utils.frr_segment import Seen


class Router:
    """The router that this runs on. What is read of it as a whole is read once a run, and only when it is asked for."""

    def __init__(self, module):
        self.module, self.asn = module, module.params["asn"]
        self.underlay, self.thorough = module.params["underlay"], module.params["thorough"]
        self.firewall = module.params["firewall"]
        self._configuration, self._rules = None, {}
        self.vrfs = {line.split()[0] for line in self.run("ip", "netns", "list").split("\n") if line.strip()}

    def run(self, *command, stdin=None, check=True):
        code, out, err = self.module.run_command(list(command), data=stdin)
        if check and code:
            self.module.fail_json(msg=f"extranet.router_refused: {command[0]}: {(err or out).strip()[:400]}")
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
        seen = {s.id: Seen("", [], {}, {}) for s in segments}
        for s in here:
            text, (bgp, inside, covering) = next(answers)
            found = seen[s.id] = Seen(text, bgp.get("paths", []), inside, covering)
            if found.there and found.ours != s.id:  # a run that did not get as far as the description
                found.alias = self.alias(s, described=bool(found.mark))
        return seen

    def alias(self, segment, *, described):
        """What its link was marked with when it was made.

        A run may have been killed before it came to that: a link that nobody has named or described, with the VNI and
        the address that only a segment's link has, is that segment's.
        """
        shown = self.run("ip", "-n", segment.vrf, "-d", "link", "show", "dev", segment.device, check=False)
        alias = re.search(r"^\s+alias (.*)$", shown, re.MULTILINE)
        if alias is not None:
            return alias.group(1).strip()
        return segment.named if not described and segment.is_linked(" ".join(shown.split()), self.underlay) else ""

    def linked(self, segment):
        """Whether its link is the one that was made, whatever has its name, and sends to its far end alone."""
        shown = self.run("ip", "-n", segment.vrf, "-d", "link", "show", "dev", segment.device, check=False)
        if not segment.is_linked(" ".join(shown.split()), self.underlay):
            return False
        if segment.vlan:
            return True
        known = self.run("bridge", "-n", segment.vrf, "-j", "fdb", "show", "dev", segment.device, check=False)
        return {entry["dst"] for entry in json.loads(known or "[]") if "dst" in entry} == {segment.remote}

    def held(self, device):
        """Whether there is an interface of this name, in whichever VRF."""
        return any(self.run("ip", "-n", vrf, "link", "show", "dev", device, check=False) for vrf in self.vrfs)

    def ours(self, vrf):
        """The segments' interfaces that a VRF has: named with our id, or not yet and with the address of their VNI."""
        links = json.loads(self.run("ip", "-n", vrf, "-j", "link", "show") or "[]")
        return [link["ifname"] for link in links if link.get("ifalias", "").startswith("guiyun ") or _addressed(link)]

    def addressed(self, vrf):
        """Which interface of a VRF has which global address, as the kernel has it."""
        links = json.loads(self.run("ip", "-n", vrf, "-6", "-j", "addr", "show", "scope", "global") or "[]")
        return {(li["ifname"], f"{a['local']}/{a['prefixlen']}") for li in links for a in li.get("addr_info", ()) if a}

    def unforwarding(self, vrf, devices):
        """What of a VRF does not forward: ``all``, or the names of these interfaces."""
        known = json.loads(self.run("ip", "-n", vrf, "-6", "-j", "netconf", "show") or "[]")
        return [n["interface"] for n in known if n["interface"] in {"all", *devices} and not n.get("forwarding")]

    def written(self, segment):
        """The lines of its interface in the router's configuration; an older description of ours is none of them."""
        head = f"interface {segment.device} vrf {segment.vrf}\n"
        stanza = self.configuration.partition(head)[2].partition("\nexit")[0]
        return {line for text in stanza.splitlines() if (line := text.strip())}

    @property
    def configuration(self):
        """All that is written, read once a run."""
        if self._configuration is None:
            self._configuration = self.run("vtysh", "-c", "show running-config")
        return self._configuration

    def wall(self, vrf):
        """A VRF's firewall as it is; with no VRF the one before the tunnels."""
        return standing(self.module, vrf)

    def text(self, vrf):
        """How it has to be, as nft reads it."""
        return self.firewall if vrf else TUNNELS

    def rules(self, vrf):
        """The same, as this router prints it."""
        kind = bool(vrf)
        if kind not in self._rules:
            self._rules[kind] = wanted_rules(self.module, self.text(vrf), vrf)
        return self._rules[kind]

    def filter(self, vrf, lines):
        """Write to a VRF's firewall, or to the one before the tunnels, in one transaction."""
        if lines:
            self.run(*inside(vrf, "nft", "-f", "-"), stdin="\n".join(lines) + "\n")

    def forward(self, vrf, names):
        """Let a VRF forward, or an interface of it; ``all`` does so for each that is there, and for those to come."""
        if names:
            files = [f"/proc/sys/net/ipv6/conf/{name}/forwarding" for name in names]
            self.run(*inside(vrf, "tee", *files), stdin="1\n")

    def configure(self, lines):
        """One batch for all, saved; a line that is refused fails the run and says which."""
        code, out, err = self.module.run_command(["vtysh", "-f", "/dev/stdin"], data="\n".join(lines) + "\n")
        text = out + err
        if code or re.search(r"^%", text, re.MULTILINE):
            self.module.fail_json(msg=f"extranet.router_refused: {text.strip()[:400]}")
        self.run("vtysh", "-c", "write memory")

    def bgp(self, segment, line):
        """A line of a VRF's BGP, with what stands around it."""
        head = [f"router bgp {self.asn} vrf {segment.vrf}", " address-family ipv6 unicast"]
        return [*head, f"  {line}", " exit-address-family", "exit"]


def _addressed(link):
    name, digits = link["ifname"], link.get("address", "").removeprefix("02:67:79:").replace(":", "")
    return name == f"seg{int(digits, 16)}" if len(digits) == 6 else False


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

"""The FRR router that a module runs on: what it shows of segments, and how it is written to.

Used by: the use-cases of this role (``frr_present``, ``frr_absent``). Runs on the router with its own Python; only the
standard library. One connection of the router's shell reads all that is about the segments of a run.
"""

from __future__ import annotations

import json
import re

from ansible.module_utils.frr_firewall import standing, wanted_rules
from ansible.module_utils.frr_segment import Seen


class Router:
    """The router that this runs on. What is read of it as a whole is read once a run, and only when it is asked for."""

    def __init__(self, module):
        self.module, self.asn = module, module.params["asn"]
        self.underlay, self.thorough = module.params["underlay"], module.params["thorough"]
        self.firewall = module.params["firewall"]
        self._configuration = self._rules = None
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
        """Whether its link is the one that was made, whatever has its name."""
        shown = self.run("ip", "-n", segment.vrf, "-d", "link", "show", "dev", segment.device, check=False)
        return segment.is_linked(" ".join(shown.split()), self.underlay)

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
        """A VRF's firewall as it is."""
        return standing(self.module, vrf)

    @property
    def rules(self):
        """The role's firewall, as this router prints it."""
        if self._rules is None:
            self._rules = wanted_rules(self.module, self.firewall)
        return self._rules

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

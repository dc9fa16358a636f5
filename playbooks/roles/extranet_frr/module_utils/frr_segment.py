"""What a segment is on an FRR router: as it is wanted, and as the router's shell shows it.

Used by: the module ``frr_segments`` of this role. Runs on the router with its own Python; only the standard library.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re

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
        self.gateway_address = f"{self.network.network_address + 1}/{self.network.prefixlen}"
        self.block_length = int(given.get("block_length", 0))
        self.mac = "02:67:79:" + ":".join(f"{self.vni:06x}"[i : i + 2] for i in (0, 2, 4))
        # What is not as usual is added, so that segments made before there was a choice stay what they are.
        unusual = [name for name, there in (("vlan", self.vlan), ("dhcpv6", self.managed)) if there]
        wanted = [str(self.network), self.remote, self.services, RA_INTERVAL_S, *unusual]
        made_from = json.dumps(wanted, sort_keys=True)
        self.mark = f"guiyun {self.id} {hashlib.sha256(made_from.encode()).hexdigest()[:12]}"

    def link(self, underlay):
        """How the kernel makes its link: a VLAN of the trunk to the sub-cloud, or a VXLAN to its gateway.

        One message to the kernel: it is in its VRF, with the address made of its VNI, or it is not there at all. It
        sends to its far end and learns no other from who speaks to it.
        """
        named, trunk = f"{self.device} address {self.mac} mtu {MTU} netns {self.vrf} type", underlay["device"]
        if self.vlan:
            return f"link add link {trunk} name {named} vlan id {self.vni}"
        ends = f"local {underlay['local']} remote {self.remote} dev {trunk}"
        return f"link add {named} vxlan id {self.vni} {ends} dstport 4789 nolearning"

    @property
    def named(self):
        """What its link is marked with as soon as it is there."""
        return f"guiyun {self.id}"

    def is_linked(self, shown, underlay):
        """Whether a link, as ``ip -d link show`` has it, is the one that ``link`` makes. Not its MTU: the kernel's."""
        kind = (f"vlan protocol 802.1Q id {self.vni} ",) if self.vlan else (
            f"vxlan id {self.vni} ", f"remote {self.remote} ", f"local {underlay['local']} ", "dstport 4789 ",
            "nolearning ",
        )  # fmt: skip
        return " master " not in shown and all(words in f"{shown} " for words in (*kind, f"link/ether {self.mac} "))

    def configured(self):
        """All that is to be written of its interface, as the router's configuration shows it."""
        flags = ["ipv6 nd managed-config-flag", "ipv6 nd other-config-flag"] if self.managed else []
        prefix = f"ipv6 nd prefix {self.network}" + (" no-autoconfig" if self.managed else "")
        written = [f"description {self.mark}", f"ipv6 address {self.gateway_address}", prefix]
        return {*written, *flags, f"ipv6 nd ra-interval {RA_INTERVAL_S}", "no ipv6 nd suppress-ra"}

    def advertised(self):
        """What the router tells hosts: their prefix, and whether they form addresses or ask for them by DHCPv6."""
        prefix, no = f" ipv6 nd prefix {self.network}", "" if self.managed else "no "
        flags = [f" {no}ipv6 nd managed-config-flag", f" {no}ipv6 nd other-config-flag"]
        return [f"{prefix} no-autoconfig" if self.managed else prefix, *flags]

    def elements(self):
        """What the sets of its VRF's firewall have of it."""
        name = f'"{self.device}"'
        if self.services is None:
            return [("segments", name), ("open", name)]
        sources = [(s.get("source") or "::/0").removesuffix("/128") for s in self.services]  # as nft writes them
        return [("segments", name)] + [
            ("services", f"{name} . {source} . {s['protocol']} . {s['port']}")
            for source, s in zip(sources, self.services)
        ]

    def ends(self, underlay):
        """What the sets of the router's own firewall have of it: whose packets its tunnel takes. A VLAN has none."""
        if self.vlan:
            return []
        vni = f"{self.vni:#x}"
        far = f'{vni} . {ipaddress.IPv6Address(self.remote)} . "{underlay["device"]}"' if self.remote else ""
        return [("segments", vni), *([("ends", far)] if far else [])]


class Seen:
    """What the router shows of a segment."""

    def __init__(self, interface, paths, inside, covering):
        self.text = interface
        self.known = bool(re.search(r"^Interface \S+ is ", interface, re.MULTILINE))
        # After a reboot the saved configuration knows an interface that is not there.
        self.there = self.known and bool(re.search(r"interface type vx?lan", interface.lower()))
        found = re.search(r"^\s*Description: (.*)$", interface, re.MULTILINE)
        self.alias = ""
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
        """The id of ours that the interface carries, if any: written down, or on the link since it was made."""
        for words in (self.mark.split(), self.alias.split()):
            if len(words) >= 2 and words[0] == "guiyun":
                return words[1]
        return ""

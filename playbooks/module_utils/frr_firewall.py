"""A router's firewalls as nft prints them: their rules, and what is in their sets for which interface.

Used by: ``frr_segments`` (writes them) and ``frr_facts`` (compares them). Runs on the router with its own Python; only
the standard library. What one should be is its text, printed by the same nft out of a namespace that is gone at once.

There are two kinds. Each VRF has the role's (``templates/firewall.nft.j2``). The router's own namespace, where tunnels
end, has ``TUNNELS``: the kernel takes a VXLAN packet at every address of the router and from whoever sends it, so that
anybody who reaches the router, the management network too, would be in the segment whose VNI he knows.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path

TUNNELS = """\
add table ip6 guiyun_tunnels
add set ip6 guiyun_tunnels segments { typeof @th,96,24; }
add set ip6 guiyun_tunnels ends { typeof @th,96,24 . ip6 saddr . meta iifname; }
add chain ip6 guiyun_tunnels arriving { type filter hook input priority filter; }
add chain ip6 guiyun_tunnels vxlan
add rule ip6 guiyun_tunnels arriving udp dport 4789 jump vxlan
add rule ip6 guiyun_tunnels vxlan @th,96,24 . ip6 saddr . iifname @ends accept
add rule ip6 guiyun_tunnels vxlan @th,96,24 != @segments accept
add rule ip6 guiyun_tunnels vxlan drop
"""
"""A segment's VNI is taken from its far end alone, over the underlay's interface; without a far end from nobody.

VNIs that are not ours are others' business. The VNI is read out of the packet: a first fragment that is too short to
have one is dropped, or it would be put together behind the firewall's back.
"""
_TABLES = {"": "ip6 guiyun_tunnels"}
_KNOWN = {"segments", "open", "services", "ends"}
"""Our sets. What is in another one goes with it when the table is made anew."""
_SETS = re.compile(r"elements = \{([^}]*)\}")
_SET = re.compile(r"set (\S+) \{[^{}]*elements = \{([^}]*)\}")
_ELEMENT = re.compile(r'(?:^|,)\s*(?:"([^"]+)"|(0x[0-9a-f]+|\d+))((?: \. [^\s,{}]+)*)')


def table_of(vrf):
    """The table's name: a VRF's, or with no VRF the one of the router's own namespace."""
    return _TABLES.get(vrf, "inet guiyun")


def inside(vrf, *command):
    """A command in a VRF's namespace, or in the router's own."""
    return ["ip", "netns", "exec", vrf, *command] if vrf else list(command)


def device_of(vni):
    """The interface of the segment that has a VNI or a VLAN."""
    return f"seg{vni}"


class Wall:
    """One table. ``elements``: by interface, each with the set that it is in, written as nft takes it."""

    def __init__(self, listed):
        self.there, self.rules = bool(listed.strip()), rules(listed)
        self.elements = {}
        for name, text in (found for found in _SET.findall(listed) if found[0] in _KNOWN):
            for device, vni, rest in _ELEMENT.findall(text):
                first = f'"{device}"' if device else f"{int(vni, 0):#x}"
                key = device or device_of(int(vni, 0))
                self.elements.setdefault(key, set()).add((name, f"{first}{rest}"))


def standing(module, vrf):
    """The firewall that a VRF has, or the router's own namespace."""
    return Wall(module.run_command(inside(vrf, "nft", "-s", "list", "table", *table_of(vrf).split()))[1])


def wanted_rules(module, text, vrf):
    """The rules of a firewall's text, as this router's nft prints them; printed once for a text and a boot.

    Kept in memory: a router that was updated has been booted since. Who may write there may write the firewall as well.
    """
    printed = Path(f"/run/guiyun-{'firewall' if vrf else 'tunnels'}.json")
    digest = hashlib.sha256(text.encode()).hexdigest()
    with suppress(OSError, ValueError):
        known = json.loads(printed.read_text())
        if known["digest"] == digest:
            return list(known["rules"])
    listing = f"nft -f - && nft -s list table {table_of(vrf)}"
    shown = module.run_command(["unshare", "-n", "sh", "-c", listing], data=text, check_rc=True)
    found = rules(shown[1])
    written = printed.with_suffix(f".{os.getpid()}")
    written.write_text(json.dumps({"digest": digest, "rules": found}))
    written.rename(printed)
    return found


def rules(listed):
    """A table's sets and chains as lines that say where they stand; what is in a set is not one of them."""
    found, head = [], ""
    for line in (text.strip() for text in _SETS.sub("", listed).splitlines()):
        if line.endswith("{"):
            head = line.rstrip(" {")
        elif line not in {"", "}"}:
            found.append(f"{head}: {line}")
    return found


def differing(wanted, found):
    """Lines that are missing (-) and that nobody wants (+), in their order."""
    matcher = difflib.SequenceMatcher(None, wanted, found, autojunk=False)
    changes = [change for change in matcher.get_opcodes() if change[0] != "equal"]
    return [
        word
        for _, a, b, c, d in changes
        for word in (*(f"-{line}" for line in wanted[a:b]), *(f"+{line}" for line in found[c:d]))
    ]

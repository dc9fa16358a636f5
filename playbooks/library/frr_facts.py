#!/usr/bin/python3
"""Ansible module: what an FRR router is really doing, for comparison with the plan.

Called by: ``audit-routers.yml``. Runs on the router with its own Python; only the standard library. Changes nothing.
Reads the whole configuration once (an audit is not a change), what it heard from its neighbours and did not let in, and
what the kernel has of each VRF: links, addresses, routes, forwarding, the firewall, and of the one before the tunnels.
Firewalls are compared with the role's own, line by line: the router's nft prints both, the role's out of a namespace
that is gone with its process.
"""

from __future__ import annotations

import json
import re

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.frr_config import UNWRITTEN, bgp_of, blocks, neighbours
from ansible.module_utils.frr_firewall import TUNNELS, differing, standing, wanted_rules

DOCUMENTATION = r"""
module: frr_facts
short_description: What an FRR router is really doing
options:
  vrfs: {type: list, elements: str, required: true, description: The VRFs to look at}
  firewall: {type: str, required: true, description: The firewall that the role writes, as nft reads it}
"""


SEGMENT = re.compile(r"seg\d+")


def segments(module, vrf, config, links, addresses):
    """Interfaces named as segments' are, in a VRF: as written, the link that is there (or none), its addresses."""
    found, far, forwarding = {}, ends(module, vrf), forwards(module, vrf)
    for header, lines in config.items():
        matched = re.fullmatch(rf"interface (seg\d+) vrf {re.escape(vrf)}", header)
        if matched:
            found[matched.group(1)] = {"lines": sorted(lines), "link": None, "addresses": []}
    for name, link in links.items():
        if SEGMENT.fullmatch(name):
            made = found.setdefault(name, {"lines": []})
            about = {"to": sorted(far.get(name, ())), "forwards": name in forwarding}
            made |= {"link": shape(link) | about, "addresses": addresses.get(name, [])}
    return found, "all" in forwarding


def ends(module, vrf):
    """By interface: where a tunnel sends what it has to send, to whichever address of a host."""
    found = {}
    listed = module.run_command(["bridge", "-n", vrf, "-j", "fdb", "show"], check_rc=True)[1]
    for entry in json.loads(listed or "[]"):
        if "dst" in entry:
            found.setdefault(entry["ifname"], set()).add(entry["dst"])
    return found


def forwards(module, vrf):
    """The interfaces that forward; ``all`` is the VRF as a whole."""
    return {one["interface"] for one in kernel(module, vrf, "-6", "-j", "netconf", "show") if one.get("forwarding")}


def shape(link):
    """What a link is, of all that the kernel says of it."""
    info = link.get("linkinfo", {})
    data = info.get("info_data", {})
    local, remote = (data.get(f"{end}6") or data.get(end, "") for end in ("local", "remote"))
    said = {"kind": info.get("info_kind", ""), "tag": data.get("id"), "local": local, "remote": remote}
    return said | {
        "mac": link.get("address", ""),
        "up": "UP" in link.get("flags", ()),
        "alias": link.get("ifalias", ""),
        "master": link.get("master", ""),
        "learns": bool(data.get("learning")),
    }


def kernel(module, vrf, *words):
    """What ``ip`` says of a VRF's namespace."""
    return json.loads(module.run_command(["ip", "-n", vrf, *words])[1] or "[]")


OURS = {"kernel", "ra", "bgp", "186", "zebra", "11"}
"""Who may put routes into the kernel: itself, and the router's daemons for BGP."""


def routes(module, vrf, statics):
    """Routes that neither an address nor BGP has made: written into the router (``statics``), or by hand beside it."""
    found = [{"prefix": line.split()[2], "how": f"static {' '.join(line.split()[3:])}".strip()} for line in statics]
    written = {route["prefix"] for route in found}
    for route in kernel(module, vrf, "-d", "-6", "-j", "route", "show"):
        by, prefix = str(route.get("protocol", "boot")), route["dst"]
        if by not in OURS and prefix not in written:
            found.append({"prefix": prefix, "how": f"{route.get('type', 'unicast')} {route.get('dev', '')} {by}"})
    return found


def policies(module, vrf):
    """Rules that send packets to another table than the VRF's own."""
    usual = {(0, "local"), (32766, "main")}
    listed = kernel(module, vrf, "-6", "-j", "rule", "show")
    return [f"{r['priority']} {r.get('table', '')}" for r in listed if (r["priority"], r.get("table")) not in usual]


def firewall(module, vrf, wanted):
    """What the firewall's sets let in, by interface (``open``, or source, protocol, port); how its rules differ.

    ``segments``: the interfaces that it is for. ``tables``: those of others beside it.
    """
    wall = standing(module, vrf)
    listed = module.run_command(["ip", "netns", "exec", vrf, "nft", "list", "tables"])[1].splitlines()
    return {
        "there": wall.there,
        "segments": sorted(device for device, found in wall.elements.items() if any(s == "segments" for s, _ in found)),
        "elements": words(wall, "open", "services"),
        "differs": differing(wanted, wall.rules),
        "tables": [name for line in listed if (name := line.split(None, 1)[1]) != "inet guiyun"],
    }


def tunnels(module):
    """Whose packets tunnels take, by interface: ``segments``, and each far end with what it is behind.

    ``differs``: how the rules differ. A router without a tunnel needs no such firewall.
    """
    wall = standing(module, "")
    differs = differing(wanted_rules(module, TUNNELS, ""), wall.rules)
    return {"there": wall.there, "elements": words(wall, "segments", "ends"), "differs": differs}


def words(wall, *sets):
    """What some sets have, by interface, without the interface: the rest of each element, or the set's own name."""
    found = {}
    for device, elements in wall.elements.items():
        told = [" ".join(e.split(" . ")[1:]).replace('"', "") or name for name, e in elements if name in sets]
        if told:
            found[device] = sorted(told)
    return found


def sessions(module, vrf, summary, written):
    """Each neighbour: its state, what it announced that no filter let in, and what is written of it.

    One that is written and not spoken to for IPv6 is ``not active``.
    """
    peers = summary.get("ipv6Unicast", summary).get("peers", {})
    commands = [f"show bgp vrf {vrf} ipv6 unicast neighbors {peer} filtered-routes json" for peer in peers]
    filtered = dict(zip(peers, shown(module, commands)))
    found = {peer: {**about, "state": "not active", "received": 0, "refused": []} for peer, about in written.items()}
    for peer, about in peers.items():
        known = found.setdefault(peer, {"name": about.get("desc", ""), **UNWRITTEN})
        known |= {"state": about.get("state", ""), "received": about.get("pfxRcd", 0)}
        known |= {"asn": about.get("remoteAs", known["asn"]), "refused": refused(filtered.get(peer, {}))}
    return found


LEADS_ELSEWHERE = ("redistribute ", "import ", "export ", "aggregate-address ", "rd ", "rt ")
"""Lines of a VRF's BGP that bring in routes from elsewhere, from other VRFs too, or make new ones of them."""


def refused(said):
    """Prefixes that no filter let in. What was our own and comes back (our AS is in its path) nobody else announced."""
    own = str(said.get("localAS", ""))
    routes = said.get("receivedRoutes", {})
    return sorted(prefix for prefix, route in routes.items() if own not in route.get("path", "").split())


def shown(module, commands):
    """JSON answers to several commands, with one connection."""
    if not commands:
        return []
    out = module.run_command(["vtysh", *(word for c in commands for word in ("-c", c))], check_rc=True)[1]
    decoder, position, found = json.JSONDecoder(), 0, []
    while (position := out.find("{", position)) >= 0:
        value, position = decoder.raw_decode(out, position)
        found.append(value)
    return found


def about(module, vrf, config, summary, rules):
    """One VRF."""
    links = {link["ifname"]: link for link in kernel(module, vrf, "-d", "-j", "link", "show")}
    addresses = {
        link["ifname"]: [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"]
        for link in kernel(module, vrf, "-6", "-j", "addr", "show")
    }
    bgp = bgp_of(config, vrf)
    made, forwarding = segments(module, vrf, config, links, addresses)
    statics = [line for line in config.get(f"vrf {vrf}", []) if line.startswith("ipv6 route ")]
    return {
        "segments": made,
        "forwarding": forwarding,
        "addresses": {n: found for n, found in addresses.items() if found and not SEGMENT.fullmatch(n)},
        "networks": sorted(line.split()[1] for line in bgp if line.startswith("network ")),
        "mixed": sorted(line for line in bgp if line.startswith(LEADS_ELSEWHERE)),
        "routes": routes(module, vrf, statics),
        "policies": policies(module, vrf),
        "sessions": sessions(module, vrf, summary, neighbours(config, bgp)),
        "firewall": firewall(module, vrf, rules),
    }


def main():
    module = AnsibleModule(
        argument_spec={
            "vrfs": {"type": "list", "elements": "str", "required": True},
            "firewall": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    config = blocks(module.run_command(["vtysh", "-c", "show running-config"], check_rc=True)[1])
    vrfs = module.params["vrfs"]
    there = {line.split()[0] for line in module.run_command(["ip", "netns", "list"])[1].splitlines() if line.strip()}
    here = [vrf for vrf in vrfs if vrf in there]
    summaries = dict(zip(here, shown(module, [f"show bgp vrf {vrf} ipv6 unicast summary json" for vrf in here])))
    rules = wanted_rules(module, module.params["firewall"], "every VRF's")
    facts = {vrf: about(module, vrf, config, summaries.get(vrf, {}), rules) for vrf in here}
    absent = sorted(set(vrfs) - there)
    module.exit_json(changed=False, guiyun={"vrfs": facts, "tunnels": tunnels(module), "absent": absent})


if __name__ == "__main__":
    main()

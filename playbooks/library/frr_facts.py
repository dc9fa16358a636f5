#!/usr/bin/python3
"""Ansible module: what an FRR router is really doing, for comparison with the plan.

Called by: ``audit-routers.yml``. Runs on the router with its own Python; only the standard library. Changes nothing.
Reads the whole configuration once (an audit is not a change) and what it heard from its neighbours and did not let in.
"""

from __future__ import annotations

import json
import re

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: frr_facts
short_description: What an FRR router is really doing
options:
  vrfs: {type: list, elements: str, required: true, description: The VRFs to look at}
"""


def blocks(text):
    """The configuration as header -> lines below it, in order."""
    found, header = {}, None
    for line in text.splitlines():
        if not line.strip() or line.startswith("!") or line in {"exit", "end"}:
            continue
        if not line.startswith(" "):
            header = line.strip()
            found.setdefault(header, [])
        elif header is not None and line.strip() not in {"exit", "exit-vrf", "exit-address-family"}:
            found[header].append(line.strip())
    return found


def segments(config, vrf, links):
    """Interfaces named ``seg…`` in a VRF: as written, and whether the link is there."""
    found = {}
    for header, lines in config.items():
        matched = re.fullmatch(rf"interface (seg\d+) vrf {re.escape(vrf)}", header)
        if matched:
            found[matched.group(1)] = {"lines": sorted(lines), "link": matched.group(1) in links}
    for name in links:
        found.setdefault(name, {"lines": [], "link": True})
    return found


ELEMENT = re.compile(r'"(seg\d+)"((?: \. [^\s,{}]+)*)')
RULES = 14
"""How many rules the role's firewall has; who took one away or put one in has changed what is let through."""


def firewall(module, vrf):
    """What the firewall's sets let in, by interface (``open``, or source, protocol, port); whether all rules are."""
    out = module.run_command(["ip", "netns", "exec", vrf, "nft", "list", "table", "inet", "guiyun"])[1]
    elements = {}
    for name, rest in ELEMENT.findall(out):
        elements.setdefault(name, []).append(rest.replace(" . ", " ").strip() or "open")
    lines = [line.strip() for chain in out.split("\tchain ")[1:] for line in chain.splitlines()[1:]]
    rules = [line for line in lines if line not in {"", "}"} and not line.startswith("type ")]
    return {"elements": {name: sorted(found) for name, found in elements.items()}, "whole": len(rules) == RULES}


def filters(config, bgp):
    """By neighbour: the prefix filter for what it announces, entry by entry; None where there is none."""
    found = {}
    for line in bgp:
        words = line.split()
        if words[0] == "neighbor" and words[2] == "remote-as":
            found.setdefault(words[1], None)
        if words[0] == "neighbor" and words[2] == "prefix-list" and words[4] == "in":
            entries = [h.split(None, 5)[5] for h in config if h.startswith(f"ipv6 prefix-list {words[3]} seq ")]
            found[words[1]] = sorted(entries)
    return found


def sessions(module, vrf, summary, entries):
    """Each neighbour: its state, what it announced that no filter let in, and the filter."""
    peers = summary.get("ipv6Unicast", summary).get("peers", {})
    commands = [f"show bgp vrf {vrf} ipv6 unicast neighbors {peer} filtered-routes json" for peer in peers]
    filtered = dict(zip(peers, shown(module, commands)))
    return {
        peer: {
            "name": about.get("desc", ""),
            "state": about.get("state", ""),
            "received": about.get("pfxRcd", 0),
            "refused": refused(filtered.get(peer, {})),
            "filter": entries.get(peer),
        }
        for peer, about in peers.items()
    }


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


def main():
    module = AnsibleModule(
        argument_spec={"vrfs": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    config = blocks(module.run_command(["vtysh", "-c", "show running-config"], check_rc=True)[1])
    vrfs = module.params["vrfs"]
    there = {line.split()[0] for line in module.run_command(["ip", "netns", "list"])[1].splitlines() if line.strip()}
    here = [vrf for vrf in vrfs if vrf in there]
    summaries = dict(zip(here, shown(module, [f"show bgp vrf {vrf} ipv6 unicast summary json" for vrf in here])))
    facts = {}
    for vrf in here:
        listed = json.loads(module.run_command(["ip", "-n", vrf, "-j", "link", "show"])[1] or "[]")
        links = {link["ifname"] for link in listed if link["ifname"].startswith("seg")}
        bgp = next(
            (lines for header, lines in config.items() if re.fullmatch(rf"router bgp \d+ vrf {vrf}", header)), []
        )
        facts[vrf] = {
            "segments": segments(config, vrf, links),
            "networks": sorted(line.split()[1] for line in bgp if line.startswith("network ")),
            "sessions": sessions(module, vrf, summaries.get(vrf, {}), filters(config, bgp)),
            "firewall": firewall(module, vrf),
        }
    module.exit_json(changed=False, guiyun={"vrfs": facts, "absent": sorted(set(vrfs) - there)})


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Ansible module: an FRR router's prefix filters towards its neighbours, as the topology has them.

Called by: ``filter-neighbours.yml``. Runs on the router with its own Python; only the standard library.

A neighbour's filter is a list named by us (``guiyun-VRF-NEIGHBOUR-in``). It is complete before the neighbour is given
it, and is changed entry by entry: at no moment is there a list that is empty or not there, which would let all in.
Lists of others stay, without a neighbour; what else they do with a neighbour's routes (route maps) is left and reported
by an audit.
"""

from __future__ import annotations

import ipaddress
import re

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.frr_config import bgp_of, blocks, entries, neighbours

DOCUMENTATION = r"""
module: frr_filters
short_description: Prefix filters towards neighbours
options:
  asn: {type: int, required: true, description: The router's own AS}
  filters: {type: list, elements: dict, required: true, description: What may pass, by VRF and neighbour}
"""


def peer_of(wanted, written):
    """The address of the neighbour that a filter is for: by name, AS and link; None when it is not there."""
    link = ipaddress.IPv6Network(wanted["link"])
    for peer, about in written.items():
        if (about["name"], about["asn"]) == (wanted["neighbour"], wanted["asn"]) and _within(peer, link):
            return peer
    return None


def _within(peer, link):
    try:
        return ipaddress.IPv6Address(peer) in link
    except ValueError:
        return False


def lines_for(wanted, config, asn):
    """What has to be written for one neighbour; and why nothing can be, if so."""
    written = neighbours(config, bgp_of(config, wanted["vrf"]))
    peer = peer_of(wanted, written)
    if peer is None:
        return [], [], "extranet.no_neighbour"
    lists, given, cleared = [], [], []
    for way in ("in", "out"):
        name = f"guiyun-{wanted['vrf']}-{wanted['neighbour']}-{way}"
        there, planned = entries(config, name), sorted(wanted[way])
        in_force = written[peer]["filters"][way]
        if in_force is not None and sorted(_usual(entry) for entry in in_force) == planned:
            continue  # whoever wrote it
        lists += [f"ipv6 prefix-list {name} {entry}" for entry in planned if entry not in there]
        lists += [f"no {line}" for line in _beside(config, name, planned)]
        if written[peer]["lists"].get(way) != name:
            given.append(f"  neighbor {peer} prefix-list {name} {way}")
        cleared.append(f"clear bgp vrf {wanted['vrf']} ipv6 unicast {peer} soft {way}")
    head = [f"router bgp {asn} vrf {wanted['vrf']}", " address-family ipv6 unicast"]
    return lists + ([*head, *given, " exit-address-family", "exit"] if given else []), cleared, ""


def _usual(entry):
    """Segments alone are meant also where the prefix is said to be no shorter than they are."""
    return re.sub(r" ge (\d+) le \1$", r" le \1", entry)


def _beside(config, name, planned):
    """A list's lines that nobody wants, and those that say again what another line has said."""
    kept, beside = set(), []
    for line in config:
        if line.startswith(f"ipv6 prefix-list {name} seq "):
            entry = line.split(None, 5)[5]
            if entry in planned and entry not in kept:
                kept.add(entry)
            else:
                beside.append(line)
    return beside


def main():
    module = AnsibleModule(
        argument_spec={
            "asn": {"type": "int", "required": True},
            "filters": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    config = blocks(module.run_command(["vtysh", "-c", "show running-config"], check_rc=True)[1])
    lines, cleared, answers = [], [], []
    for wanted in module.params["filters"]:
        written, again, code = lines_for(wanted, config, module.params["asn"])
        lines += written
        cleared += again
        about = {"vrf": wanted["vrf"], "neighbour": wanted["neighbour"]}
        answers.append({**about, "code": code, "changed": bool(written), "lines": written})
    if lines and not module.check_mode:
        code, out, err = module.run_command(["vtysh", "-f", "/dev/stdin"], data="\n".join(lines) + "\n")
        if code or re.search(r"^%", out + err, re.MULTILINE):
            module.fail_json(msg=f"extranet.router_refused: {(out + err).strip()[:400]}")
        module.run_command(["vtysh", *(word for c in cleared for word in ("-c", c)), "-c", "write memory"])
    text = "\n".join(lines) + "\n" if lines else ""
    module.exit_json(changed=bool(lines), guiyun={"filters": answers}, diff={"prepared": text})


if __name__ == "__main__":
    main()

"""What an FRR router's configuration says of its neighbours in BGP, and of the prefix filters towards them.

Used by: ``frr_facts`` (compares) and ``frr_filters`` (writes). Runs on the router with its own Python; only the
standard library.
"""

from __future__ import annotations

import re

UNWRITTEN = {"asn": 0, "filters": {"in": None, "out": None}, "lists": {}, "also": []}
"""A neighbour of whom nothing is written."""


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


def bgp_of(config, vrf):
    """The lines of a VRF's BGP."""
    head = re.compile(rf"router bgp \d+ vrf {re.escape(vrf)}")
    return next((lines for header, lines in config.items() if head.fullmatch(header)), [])


def entries(config, name):
    """A prefix list entry by entry, without their numbers."""
    return sorted(h.split(None, 5)[5] for h in config if h.startswith(f"ipv6 prefix-list {name} seq "))


def neighbours(config, bgp):
    """By address: what is written of a neighbour: its name, its AS, filters for what it announces and what it is told.

    ``filters``: entry by entry; None where there is none, and everything passes. ``lists``: their names. ``also``:
    what else is done with its routes.
    """
    found = {}
    for line in bgp:
        words = line.split()
        if words[0] != "neighbor" or len(words) < 4:
            continue
        unwritten = {"name": "", "asn": 0, "filters": {"in": None, "out": None}, "lists": {}, "also": []}
        about = found.setdefault(words[1], unwritten)
        if words[2] == "description":
            about["name"] = " ".join(words[3:])
        elif words[2] == "remote-as":
            about["asn"] = int(words[3]) if words[3].isdigit() else 0
        elif words[2] == "prefix-list":
            about["filters"][words[4]] = entries(config, words[3])
            about["lists"][words[4]] = words[3]
        elif words[2] in {"route-map", "filter-list", "distribute-list"} and words[-1] in {"in", "out"}:
            about["also"].append(" ".join(words[2:]))
    return {peer: about for peer, about in found.items() if about["asn"]}  # a group of neighbours is none

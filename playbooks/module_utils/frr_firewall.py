"""A VRF's firewall as nft prints it: its rules, and what is in its sets for which interface.

Used by: ``frr_segments`` (writes it) and ``frr_facts`` (compares it). Runs on the router with its own Python; only the
standard library. What it should be is the role's text, printed by the same nft out of a namespace that is gone at once.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path

LIST = ("nft", "-s", "list", "table", "inet", "guiyun")
_PRINTED = Path("/run/guiyun-firewall.json")
"""In memory: a router that was updated has been booted since. Who may write there may write the firewall as well."""
_SETS = re.compile(r"elements = \{([^}]*)\}")
_ELEMENT = re.compile(r'"([^"]+)"((?: \. [^\s,{}]+)*)')


class Wall:
    """One table. ``elements``: by interface, each with the set that it is in, written as nft takes it."""

    def __init__(self, listed):
        self.there, self.rules = bool(listed.strip()), rules(listed)
        self.elements = {}
        for found in _SETS.findall(listed):
            for device, rest in _ELEMENT.findall(found):
                element = ("services" if rest else "open", f'"{device}"{rest}')
                self.elements.setdefault(device, set()).add(element)


def standing(module, vrf):
    """The firewall that a VRF has."""
    return Wall(module.run_command(["ip", "netns", "exec", vrf, *LIST])[1])


def wanted_rules(module, text):
    """The rules of the role's firewall, as this router's nft prints them; printed once for a text and a boot."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    with suppress(OSError, ValueError):
        known = json.loads(_PRINTED.read_text())
        if known["digest"] == digest:
            return list(known["rules"])
    shown = module.run_command(
        ["unshare", "-n", "sh", "-c", f"nft -f - && {' '.join(LIST)}"], data=text, check_rc=True
    )  # fmt: skip
    printed = rules(shown[1])
    written = _PRINTED.with_suffix(f".{os.getpid()}")
    written.write_text(json.dumps({"digest": digest, "rules": printed}))
    written.rename(_PRINTED)
    return printed


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

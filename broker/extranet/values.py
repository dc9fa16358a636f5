"""What the extranet has for a unit where a sub-cloud is attached. Plain values.

Called by: ``extranet.space``, ``assessment``. Must not: read the database.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attachable:
    """``zones``: where there is a block for the unit; ``encapsulation``: how networks meet the router (vxlan, vlan)."""

    zones: frozenset[str]
    encapsulation: str

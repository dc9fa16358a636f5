"""What of the plan a run needs: the tables, routers and blocks that its segments are judged by. Pure.

Called by: ``providers.extranet.provider``. Must not: decide what is allowed: that is the playbook's assertion
(``refusals`` in ``playbooks/filter_plugins/extranet.py``), which has to say the same of this part as of the whole; a
test holds one against the other.

A plan grows with a province's units, a run does not: Ansible reads and templates every variable it is given, several
times for each host. So a change costs what it is about, however much else is planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Network
from itertools import islice
from typing import Any

from providers.networking import SegmentSpec


@dataclass(slots=True)
class Planned:
    """A plan, read once: where each block of a table begins and ends."""

    plan: Mapping[str, Any]
    _spans: dict[str, list[tuple[int, int, int]]] = field(init=False, default_factory=dict)
    """By table: where blocks begin and end, and their places in the plan."""

    def __post_init__(self) -> None:
        for place, block in enumerate(self.plan["blocks"]):
            self._spans.setdefault(block["vrf"], []).append((*_ends(IPv6Network(block["prefix"])), place))

    def about(self, specs: Sequence[SegmentSpec]) -> dict[str, Any]:
        """The part of the plan that says all there is to say of these segments, and of each what the whole would say.

        Of blocks: those that a segment touches, whosever they are; and one of each unit's in its table on its router,
        by which a prefix that is in none of them is known from a unit that has none.
        """
        places = sorted({place for spec in specs for place in self._places(spec)})
        routers, vrfs = {s.router for s in specs}, {s.vrf for s in specs}
        return {
            "segment_length": self.plan["segment_length"],
            "vrfs": {name: about for name, about in self.plan["vrfs"].items() if name in vrfs},
            "routers": {name: about for name, about in self.plan["routers"].items() if name in routers},
            "blocks": [self.plan["blocks"][place] for place in places],
        }

    def _places(self, spec: SegmentSpec) -> Iterator[int]:
        first, last = _ends(spec.prefix)
        spans = self._spans.get(spec.vrf, ())
        yield from (place for begin, end, place in spans if begin <= last and first <= end)
        yield from islice((place for *_, place in spans if self._is_of(spec, self.plan["blocks"][place])), 1)

    @staticmethod
    def _is_of(spec: SegmentSpec, block: Mapping[str, Any]) -> bool:
        return block["unit"] == spec.unit and spec.router in block["routers"]


def _ends(prefix: IPv6Network) -> tuple[int, int]:
    return int(prefix.network_address), int(prefix.broadcast_address)

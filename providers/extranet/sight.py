"""From what several probes saw to a verdict on each segment: looked at, or not proven. Pure.

Called by: ``providers.extranet.provider``. Must not: run anything. The playbook has the same rule for whoever runs it
by hand (``unproven`` in ``playbooks/filter_plugins/extranet.py``); a test holds one against the other.

What one probe cannot see another may: a session that is down somewhere makes nobody else blind. But in the segment's
own zone, in each other zone and on the management network somebody has to have looked, or nothing is proven.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from providers.errors import ProviderError
from providers.extranet.played import error_of
from providers.networking import RouterAccount, SegmentSpec, Sight, Sighting

MANAGEMENT = ""


def views(probes: Iterable[RouterAccount]) -> frozenset[str]:
    """The zones from which there are probes at all, reached or not."""
    return frozenset(v["vrf"] for p in probes for v in p.variables.get("extranet_vantages", ()))


def judged(spec: SegmentSpec, heard: Mapping[str, Mapping[str, Any]], wanted: Collection[str]) -> Sight:
    """The verdict on one segment. ``heard``: each probe's answer; ``wanted``: the zones that have to be looked at from.

    A leak is for good; what was not seen may be seen in a moment.
    """
    wrong: list[ProviderError] = []
    cells, seen = [], set()
    for probe, said in heard.items():
        rows = [row for row in said["matrix"] if row["id"] == str(spec.id)]
        verdict = said["verdicts"].get(str(spec.id), {"code": ""})
        if verdict["code"]:
            wrong.append(error_of(verdict["code"], f"{probe}: {verdict['detail']}"))
        seen |= {row["seen_from"] for row in rows if row["seeing"]}
        cells += [Sighting(spec.id, row["of"], row["seen_from"], probe, row["answered"]) for row in rows]
    blind = sorted(({*wanted, MANAGEMENT} - set(spec.elsewhere) | {spec.vrf}) - seen)
    if blind:
        wrong.append(error_of("extranet.probe_blind", ", ".join(vrf or "management" for vrf in blind)))
    wrong.sort(key=lambda error: error.code != "extranet.leak")
    return Sight({spec.id: wrong[0] if wrong else None}, cells)

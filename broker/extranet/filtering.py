"""Makes routers' prefix filters towards their neighbours those of the topology, at an operator's word.

Called by: the command line. Must not: do so by itself: a router's filters are its owner's until he asks for this; what
differs is reported every hour (``drift``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.extranet.networks import Networks
from broker.tenancy.work import WorkFactory


@dataclass(frozen=True, slots=True)
class Filtered:
    """One neighbour of one router: the lines written, or the code of why none could be. Without either it was right.

    A router that does not answer has no neighbour here.
    """

    router: str
    vrf: str
    neighbour: str
    lines: Sequence[str]
    code: str


def filter_neighbours(networks: Networks, works: WorkFactory, *, check: bool) -> list[Filtered] | None:
    """Write what differs, or with ``check`` only say it. None: there is no extranet."""
    network = networks()
    if network is None:
        return None
    found: list[Filtered] = []
    for heard in network.provider.filter_neighbours(check=check):
        if heard.error is not None:
            found.append(Filtered(heard.router, "", "", (), heard.error.code))
        for said in heard.facts.get("filters", ()):
            lines = [line.strip() for line in said["lines"]]
            found.append(Filtered(heard.router, said["vrf"], said["neighbour"], lines, said["code"]))
    if not check and (written := [f for f in found if f.lines]):
        with works.begin() as work:
            named = [{"router": f.router, "vrf": f.vrf, "neighbour": f.neighbour} for f in written[:200]]
            data = {"count": len(written), "filters": named}
            work.record("extranet.filtered", "extranet", network.loaded.id, article="Art. 2(3)", data=data)
    return found

"""The routers' probes at the provider's wire: what the verifying playbook is asked, what it would say; facts in a line.

Called by: tests of what rests on probes and needs no router, and of drift. Must not: be taken for a router.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from broker.dedicated import probing
from broker.extranet.fabric import fabric_of
from broker.extranet.networks import Network
from broker.extranet.reading import read_topology
from broker.extranet.values import Fact
from broker.tenancy.work import WorkFactory
from providers.extranet.provider import Extranet
from providers.networking import Played, RouterAccount
from tests.extranet import TOPOLOGY


class Wire:
    """The routers' probes at the provider's wire: what the playbook is asked, and what it would say."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str], dict[str, Any]]] = []
        self.says = ""

    def __call__(
        self, playbook: str, routers: Iterable[RouterAccount], variables: Mapping[str, Any], *, check: bool = False
    ) -> Played:
        probes = list(routers)
        self.asked.append((playbook, [r.name for r in probes], {**variables, "check": check}))
        if self.says == "extranet.router_unreachable":
            return Played("unreachable", 0, [f"{r.name}: Look: timed out" for r in probes])
        verdicts = {t["id"]: {"code": self.says, "detail": t["vrf"]} for t in variables["extranet_targets"]}
        zones = {v["vrf"] for r in probes for v in r.variables["extranet_vantages"]}
        matrix = [
            {"id": t["id"], "of": t["vrf"], "seen_from": z, "seeing": True, "answered": z == t["vrf"] and not self.says}
            for t in variables["extranet_targets"]
            for z in zones
        ]
        said = {"verdicts": verdicts, "matrix": matrix}
        return Played("failed" if self.says else "ok", 0, answers={r.name: [said] for r in probes})

    def carry(self, works: WorkFactory, says: str = "", times: int = 1) -> int:
        """What the worker does with reported connections; ``says``: the probes' code, nothing when all is well."""
        self.says = says
        provider = Extranet(fabric_of(read_topology(TOPOLOGY)), self)
        network: Any = Network(None, provider)  # type: ignore[arg-type]  # what is loaded does not matter to a probe
        return sum(probing.carry(lambda: network, works) for _ in range(times))


def said(facts: Iterable[Fact]) -> str:
    """Facts in one line: each one's code, what else it is about, what is missing (-) and too much (+)."""
    lines = []
    for each in facts:
        signs = (("missing", "-"), ("extra", "+"))
        signed = [f"{sign}{word}" for name, sign in signs for word in each.params.get(name, ())]
        plain = [str(value) for name, value in each.params.items() if name not in {"missing", "extra"}]
        lines.append(" ".join([each.code, *plain, *([f"({', '.join(signed)})"] if signed else [])]))
    return " ".join(lines)

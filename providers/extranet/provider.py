"""The network provider of the extranet: segments brought onto routers by playbooks, looked at from probes.

Called by: ``broker.extranet`` through ``broker.bootstrap``. Must not: run Ansible itself (``play`` is handed in), know
the broker's tables, or decide what is allowed (the plan in ``Fabric`` says, the routers see for themselves).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv6Network
from typing import Any
from uuid import UUID

from providers.contract import Health
from providers.errors import ProviderError, Temporary
from providers.extranet.gathering import Gathering
from providers.extranet.planned import Planned
from providers.extranet.played import answer_for, answered, error_of, silence
from providers.extranet.sight import judged, views
from providers.networking import (
    Fabric,
    NetworkCapabilities,
    Outcomes,
    Play,
    Played,
    RouterAccount,
    RouterFacts,
    Seen,
    SegmentSpec,
    Sight,
)

CAPABILITIES = NetworkCapabilities(
    provider="extranet",
    vendors={"frr": True, "huawei": False, "h3c": False},
    verifies=True,
    audits=True,
    segments_per_run=64,
)
_ANYCAST = frozenset({"frr"})
"""Vendors whose routers answer at a subnet's own address (RFC 4291, 2.6.1) exactly while they forward there."""
_PROVISION = "provision-segment"
"""What has to go has to go, whatever the plan says: it is asked for what comes alone."""
_MARK = re.compile(r"description guiyun ([0-9a-f-]{36})( [0-9a-f]+)?")


@dataclass(slots=True)
class Extranet:
    """One extranet. Several threads may call; what they ask at once is carried in one run."""

    fabric: Fabric
    play: Play
    _present: Gathering[SegmentSpec, ProviderError | None] = field(init=False)
    _renewed: Gathering[SegmentSpec, ProviderError | None] = field(init=False)
    _absent: Gathering[SegmentSpec, ProviderError | None] = field(init=False)
    _looks: Gathering[tuple[SegmentSpec, bool], Sight] = field(init=False)
    _planned: Planned = field(init=False)

    def __post_init__(self) -> None:
        most = CAPABILITIES.segments_per_run
        self._planned = Planned(self.fabric.plan)
        self._present = Gathering(partial(self._change, _PROVISION), most)
        self._renewed = Gathering(partial(self._change, _PROVISION, thorough=True), most)
        self._absent = Gathering(partial(self._change, "withdraw-segment"), most)
        self._looks = Gathering(self._look, most)

    @property
    def capabilities(self) -> NetworkCapabilities:
        return CAPABILITIES

    def health(self) -> Health:
        """Every router is asked; the ones that say nothing are named."""
        silent = [f.router for f in self.audit() if f.error is not None]
        return Health(healthy=not silent, detail=", ".join(silent))

    def create(self, specs: Sequence[SegmentSpec]) -> Outcomes:
        """Bring segments onto their routers; one that is there as it should be is left alone."""
        return _each(self._present, specs)

    def update(self, specs: Sequence[SegmentSpec]) -> Outcomes:
        """The same act, and more of it: what others opened for these segments in the firewall is shut again."""
        return _each(self._renewed, specs)

    def delete(self, specs: Sequence[SegmentSpec]) -> Outcomes:
        """Take segments off their routers; what is not there, or not ours, stays as it is."""
        return _each(self._absent, specs)

    def preview(self, specs: Sequence[SegmentSpec]) -> Outcomes:
        """What ``create`` would say, by a run that changes nothing."""
        return dict(zip((s.id for s in specs), self._change(_PROVISION, specs, check=True), strict=True))

    def observe(self, spec: SegmentSpec) -> Seen | None:
        """Look at one segment on its router."""
        facts = self._facts([self._router(spec.router)])
        if facts[0].error is not None:
            raise facts[0].error
        return next((s for s in _segments(facts[0]) if s.id == spec.id), None)

    def list(self) -> Sequence[Seen]:
        """Every segment of ours on the routers that answer."""
        return [seen for facts in self.audit() for seen in _segments(facts)]

    def verify(self, specs: Sequence[SegmentSpec], *, answering: bool = True) -> Sight:
        """Look from every probe that can be reached; one at least has to see."""
        sights = self._looks.all([(spec, answering) for spec in specs])
        return Sight(
            {i: v for sight in sights for i, v in sight.verdicts.items()},
            [cell for sight in sights for cell in sight.matrix],
        )

    def audit(self) -> Sequence[RouterFacts]:
        """What every router is really doing."""
        return self._facts(list(self.fabric.routers.values()))

    def filter_neighbours(self, *, check: bool = False) -> Sequence[RouterFacts]:
        """Routers whose vendor's role cannot write filters are left out."""
        routers = [r for r in self.fabric.routers.values() if CAPABILITIES.vendors[r.vendor]]
        return _heard(routers, self.play("filter-neighbours", routers, {}, check=check))

    def close(self) -> None:
        """Nothing is kept between two runs."""

    # ---- runs
    def _router(self, name: str) -> RouterAccount:
        return self.fabric.routers[name]

    def _change(
        self, playbook: str, specs: Sequence[SegmentSpec], *, check: bool = False, thorough: bool = False
    ) -> Sequence[ProviderError | None]:
        """One run for all; what it said nothing of, though its router answers, is tried alone."""
        known = [s for s in specs if s.router in self.fabric.routers and "access" in self._router(s.router).groups]
        if not known:
            return [error_of("extranet.router_unknown", s.router) for s in specs]
        played = self._played(playbook, known, check=check, thorough=thorough)
        outcomes: dict[UUID, ProviderError | None] = {}
        for spec in specs:
            if spec not in known:
                outcomes[spec.id] = error_of("extranet.router_unknown", spec.router)
            elif played.status == "failed" and len(known) > 1 and not answered(played, spec.router, spec.id):
                outcomes[spec.id] = self._change(playbook, [spec], check=check, thorough=thorough)[0]
            else:
                outcomes[spec.id] = answer_for(played, spec.router, spec.id)
        return [outcomes[spec.id] for spec in specs]

    def _played(self, playbook: str, specs: Sequence[SegmentSpec], *, check: bool, thorough: bool) -> Played:
        routers = [self._router(name) for name in sorted({s.router for s in specs})]
        segments = [segment_variables(self.fabric, spec) for spec in specs]
        variables: dict[str, Any] = {"extranet_segments": segments}
        variables |= {"extranet_plan": self._planned.about(specs)} if playbook == _PROVISION else {}
        variables |= {"extranet_thorough": True} if thorough else {}
        return self.play(playbook, routers, variables, check=check)

    def _look(self, asked: Sequence[tuple[SegmentSpec, bool]]) -> Sequence[Sight]:
        """One run for those that are to answer, one for those that are not."""
        sights: dict[UUID, Sight] = {}
        for answering in (True, False):
            specs = [spec for spec, wanted in asked if wanted is answering]
            if specs:
                sights |= self._look_alike(specs, answering=answering)
        return [sights[spec.id] for spec, _ in asked]

    def _look_alike(self, specs: Sequence[SegmentSpec], *, answering: bool) -> dict[UUID, Sight]:
        probes = [r for r in self.fabric.routers.values() if "probes" in r.groups]
        targets = [self._target(s) for s in specs]
        played = self.play("verify-segment", probes, {"extranet_targets": targets, "extranet_answering": answering})
        heard = {p.name: played.answers[p.name][0] for p in probes if played.answers.get(p.name)}
        if not heard:
            nobody = silence(played, probes[0].name) if probes else Temporary("extranet.no_probe")
            return {spec.id: Sight({spec.id: nobody}) for spec in specs}
        return {spec.id: judged(spec, heard, views(probes)) for spec in specs}

    def _target(self, spec: SegmentSpec) -> dict[str, Any]:
        """A segment as the probes take it; ``control``: its router's own address there, or its gateway itself.

        ``forwarder``: the segment's subnet-router anycast address, where it tells that its router forwards.
        """
        account = self.fabric.routers.get(spec.router)
        own = self.fabric.plan["routers"].get(spec.router, {}).get("own", {})
        return {
            "id": str(spec.id),
            "vrf": spec.vrf,
            "address": str(spec.gateway),
            "control": own.get(spec.vrf, str(spec.gateway)),
            "forwarder": str(spec.prefix.network_address) if account and account.vendor in _ANYCAST else "",
            "elsewhere": list(spec.elsewhere),
        }

    def _facts(self, routers: Sequence[RouterAccount]) -> Sequence[RouterFacts]:
        variables = {"extranet_vrfs": sorted(self.fabric.plan["vrfs"])}
        return _heard(routers, self.play("audit-routers", routers, variables))


def _heard(routers: Sequence[RouterAccount], played: Played) -> Sequence[RouterFacts]:
    """What each router said, or why it did not."""
    said = {router.name: played.answers.get(router.name) for router in routers}
    return [RouterFacts(n, s[0]) if s else RouterFacts(n, error=silence(played, n)) for n, s in said.items()]


def segment_variables(fabric: Fabric, spec: SegmentSpec) -> dict[str, Any]:
    """A segment as the playbooks take it."""
    return {
        "id": str(spec.id),
        "router": spec.router,
        "unit": spec.unit,
        "vrf": spec.vrf,
        "prefix": str(spec.prefix),
        "vni": spec.vni,
        "encapsulation": spec.encapsulation.value,
        "addressing": spec.addressing.value,
        "remote": fabric.plan["routers"].get(spec.router, {}).get("remote", ""),
        "services": None
        if spec.services is None
        else [
            {"protocol": s.protocol, "port": s.port, "source": str(s.source) if s.source else None}
            for s in spec.services
        ],
    }


def _each(gathering: Gathering[SegmentSpec, ProviderError | None], specs: Sequence[SegmentSpec]) -> Outcomes:
    return dict(zip((s.id for s in specs), gathering.all(specs), strict=True))


def _segments(facts: RouterFacts) -> Iterable[Seen]:
    """The interfaces that carry an id of ours."""
    for vrf, about in facts.facts.get("vrfs", {}).items():
        for name, segment in about["segments"].items():
            mark = next((m for line in segment["lines"] if (m := _MARK.match(line))), None)
            if mark is None:
                continue
            addresses = [line.split()[2] for line in segment["lines"] if line.startswith("ipv6 address ")]
            prefix = IPv6Network(addresses[0], strict=False) if len(addresses) == 1 else None
            announced = prefix is not None and str(prefix) in about["networks"]
            whole = announced and segment["link"] and mark.group(2) is not None
            detail = "" if whole else f"link={segment['link']} announced={announced}"
            yield Seen(UUID(mark.group(1)), facts.router, vrf, prefix, int(name.removeprefix("seg")), whole, detail)

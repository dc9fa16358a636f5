"""The laboratory of ``make extranet`` for tests: segments and hosts of a test are gone after it.

Called by: pytest. Must not: start the laboratory by itself. Where it does not run, ``tests/conftest.py`` leaves these
tests out and says so in one line.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Network
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest

from broker.extranet.fabric import fabric_of
from broker.extranet.playing import Player
from providers.errors import ProviderError
from providers.extranet.provider import Extranet
from providers.networking import RouterFacts, SegmentSpec, Sighting
from tests.extranet import lab as laboratory
from tests.extranet.lab import Lab
from tests.extranet.nodes import HOME

_NUMBERS = count(1)


@dataclass(slots=True)
class Site:
    """The laboratory, the provider on it, and what a test has made."""

    lab: Lab
    provider: Extranet
    there: list[SegmentSpec] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)

    def spec(self, **changes: Any) -> SegmentSpec:
        """A segment of the water department's in the shared zone, unless said otherwise; not made yet."""
        number = next(_NUMBERS)
        given: dict[str, Any] = {"unit": "slt", "vrf": "shared", "router": "dc", "vni": 10000 + number}
        given["prefix"] = IPv6Network(f"3fff:12f:0:{number:x}::/64")
        given |= changes
        given.setdefault("services", None if given["vrf"].startswith("prv-") else ())
        return SegmentSpec(id=uuid4(), **given)

    def create(self, *specs: SegmentSpec) -> dict[UUID, ProviderError | None]:
        outcomes = dict(self.provider.create(specs))
        self.there += [spec for spec in specs if outcomes[spec.id] is None]
        return outcomes

    def bring_up(self, *specs: SegmentSpec) -> None:
        """Make segments that have to come to be."""
        outcomes = self.create(*specs)
        assert not any(outcomes.values()), outcomes

    def host(self, spec: SegmentSpec) -> str:
        """A host on a segment."""
        cloud = next(a.sub_cloud for a in self.lab.topology.access if a.router == spec.router)
        name = f"h{next(_NUMBERS)}"
        self.hosts.append(name)
        return self.lab.host(name, cloud, spec.vni)

    def audit(self, *routers: str) -> Sequence[RouterFacts]:
        """What these routers are really doing. An audit of all five takes five times as much of two cores."""
        accounts = {name: self.provider.fabric.routers[name] for name in routers}
        return Extranet(replace(self.provider.fabric, routers=accounts), self.provider.play).audit()

    def clean(self) -> None:
        for name in self.hosts:
            self.lab.remove_host(name)
        if self.there:
            self.provider.delete(self.there)
        self.hosts, self.there = [], []


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """As it runs now: another module may have rebooted a router, which is another process then."""
    running = laboratory.current()
    assert running is not None
    yield running
    assert {router: _left(running, router) for router in {a.router for a in running.topology.access}} == {
        a.router: set() for a in running.topology.access
    }


def _left(lab: Lab, router: str) -> set[str]:
    """Interfaces of segments that are written into a router or there, but for what a benchmark keeps."""
    written = re.findall(r"^interface (seg\d+)", lab.vtysh(router, "show running-config"), re.MULTILINE)
    links = [lab.run(router, "ip", "-br", "link", vrf=vrf.name).stdout for vrf in lab.topology.vrfs]
    there = re.findall(r"^(seg\d+)", "".join(links), re.MULTILINE)
    return {name for name in [*written, *there] if int(name.removeprefix("seg")) % 10000 < 5000}


def _provider(lab: Lab) -> Extranet:
    return Extranet(fabric_of(lab.topology), Player(HOME / "id"))


@pytest.fixture
def site(lab: Lab) -> Iterator[Site]:
    made = Site(lab, _provider(lab))
    yield made
    made.clean()


def within(seconds: float, holds: Any) -> bool:
    """Whether something comes to hold: ``seconds`` on a quiet machine, ten times as long on a busy one."""
    until = time.monotonic() + 10 * seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def matrix_text(cells: Sequence[Sighting]) -> str:
    """Rows: where a segment is; columns: where it is looked at from; a tick where it answers to some probe."""
    homes = sorted({c.of for c in cells})
    views = sorted({c.seen_from for c in cells}, key=lambda v: (v == "", v))
    lines = ["".ljust(12) + "".join((v or "management").rjust(12) for v in views)]
    for home in homes:
        row = []
        for view in views:
            here = [c.answered for c in cells if (c.of, c.seen_from) == (home, view)]
            row.append("-" if not here else "answers" if any(here) else "silent")
        lines.append(home.ljust(12) + "".join(word.rjust(12) for word in row))
    return "\n".join(lines)

"""What the stories of segments share: a dictionary for routers, a request of segments, and what became of it.

Called by: the stories of segments. Must not: be a router; real ones are in ``tests/extranet``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from broker.delivery.segments import extranet_map
from broker.extranet import loading, service
from broker.extranet.networks import Network
from broker.yaml_file import read_yaml
from providers.errors import Permanent, ProviderError
from providers.networking import RouterFacts, SegmentSpec, Sight
from tests.extranet import TOPOLOGY
from tests.stories import road
from tests.stories.world import World

SEGMENT = {"kind": "segment", "name": "net", "zone": "shared"}


SERVER = {"kind": "server", "name": "web", "vcpu": 2, "memory_gib": 4, "image": "openeuler-22.03-x86_64"}


ITEMS: list[dict[str, Any]] = [SEGMENT, {**SERVER, "zone": "shared"}]


WHO = {"who": "apply.chongzuo", "unit": "451400", "system": "cz-kajy"}


@dataclass(slots=True)
class Routers:
    """What routers would have; refuses and leaks what it was told to."""

    there: dict[UUID, SegmentSpec] = field(default_factory=dict)
    says: list[ProviderError] = field(default_factory=list)
    """What ``create`` says, one call after the other, before it does anything."""
    leaks: bool = False
    holds: list[ProviderError] = field(default_factory=list)
    """What ``delete`` says, one call after the other."""
    before: list[Callable[[], object]] = field(default_factory=list)
    after: list[Callable[[], object]] = field(default_factory=list)
    """What happens while they are asked, before and after they know what to answer; and while they repair."""
    bare: bool = False
    """Whether their interfaces have lost everything but the alias of the link."""
    gone: list[SegmentSpec] = field(default_factory=list)
    """What ``delete`` was last given."""

    def create(self, specs: Sequence[SegmentSpec]) -> dict[UUID, ProviderError | None]:
        if self.says:
            return dict.fromkeys((s.id for s in specs), self.says.pop(0))
        self.there |= {s.id: s for s in specs}
        return dict.fromkeys((s.id for s in specs), None)

    def verify(self, specs: Sequence[SegmentSpec]) -> Sight:
        wrong = Permanent("extranet.leak", "internet") if self.leaks else None
        return Sight(dict.fromkeys((s.id for s in specs), wrong))

    def update(self, specs: Sequence[SegmentSpec]) -> dict[UUID, ProviderError | None]:
        self._meanwhile(self.before)
        return self.create(specs)

    def audit(self) -> list[RouterFacts]:
        """Of the data centre only; that its segments are not whole is no matter of these tests."""
        self._meanwhile(self.before)
        tables: dict[str, Any] = {"shared": {}}
        for spec in self.there.values():
            lines = [f"description guiyun {spec.id} 0123456789ab", f"ipv6 address {spec.gateway}/64"]
            segment: dict[str, Any] = {"lines": lines, "link": None, "addresses": []}
            if self.bare:
                segment = {"lines": [], "link": {"alias": f"guiyun {spec.id}"}, "addresses": []}
            tables.setdefault(spec.vrf, {})[f"seg{spec.vni}"] = segment
        empty: dict[str, Any] = {"networks": [], "sessions": {}, "routes": [], "policies": [], "mixed": []}
        nothing: dict[str, Any] = {"there": False, "elements": {}, "differs": []}
        empty |= {"firewall": nothing | {"segments": [], "tables": []}, "addresses": {}, "forwarding": True}
        vrfs = {vrf: {"segments": there} | empty for vrf, there in tables.items()}
        facts = RouterFacts("dc", {"vrfs": vrfs, "tunnels": nothing})
        self._meanwhile(self.after)
        return [facts]

    def _meanwhile(self, acts: list[Callable[[], object]]) -> None:
        if acts:
            acts.pop(0)()

    def delete(self, specs: Sequence[SegmentSpec]) -> dict[UUID, ProviderError | None]:
        if self.holds:
            return dict.fromkeys((s.id for s in specs), self.holds.pop(0))
        self.gone = list(specs)
        for spec in specs:
            self.there.pop(spec.id, None)
        return dict.fromkeys((s.id for s in specs), None)


@pytest.fixture
def routers(world: World) -> Routers:
    """The laboratory's topology, with a dictionary for routers."""
    return furnished(world)


def furnished(world: World) -> Routers:
    """The same, in a world that a test has made itself."""
    with world.app.works.begin() as work:
        loading.load(work, read_yaml(TOPOLOGY))
    with world.app.sessions() as session:
        loaded = service.current(session)
    assert loaded is not None
    made = Routers()
    networks: Any = world.app.networks
    networks._built = Network(loaded, made)  # type: ignore[arg-type]
    networks.key_file = TOPOLOGY  # no router is called: any file will do
    return made


def ordered(world: World, items: Sequence[dict[str, Any]] = ITEMS, **changes: Any) -> UUID:
    request_id = road.submit(world, items=list(items), **WHO | changes)
    road.approve(world, request_id, "approve.1")
    road.assess(world, request_id, "assess.1")
    road.order(world, request_id, "deliver.1")
    return request_id


def change(world: World, sql: str, **values: Any) -> None:
    """What somebody changes behind the services' back."""
    with world.app.works.begin() as work:
        work.session.execute(text(sql), values)


def attached(world: World, request_id: UUID) -> list[Any]:
    of_request = "SELECT id FROM broker.resource WHERE request_id = :r"
    sql = f"SELECT * FROM broker.segment_attachment WHERE resource_id IN ({of_request}) ORDER BY id"
    return world.rows(sql, r=request_id)


def standings(world: World, request_id: UUID) -> list[str]:
    """How the map shows a request's segments."""
    ids = {row.id for row in world.rows("SELECT id FROM broker.resource WHERE request_id = :r", r=request_id)}
    with world.acting("apply.chongzuo") as work:
        found = extranet_map(work)
    assert found is not None
    return [s.standing.value for s in found.segments if s.resource_id in ids]

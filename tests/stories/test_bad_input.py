"""What must not become a segment, as it is asked of the broker and of the playbook: refused by both, with stable codes.

The playbook's side is its own assertion and the module's live check; real routers are in ``tests/extranet``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from broker.errors import Invalid
from broker.extranet import service
from broker.extranet.fabric import plan_of
from broker.extranet.reading import TopologyError, read_topology, topology_of
from broker.yaml_file import read_yaml
from playbooks.filter_plugins.extranet import refusals
from quotas.errors import BadPrefix
from quotas.ipv6.service import network_of
from tests.extranet import TOPOLOGY
from tests.playbooks.test_vendor_roles import frr_module, shared
from tests.stories import road
from tests.stories.routers import SEGMENT, WHO, Routers, attached, ordered, routers
from tests.stories.world import World

__all__ = ["routers"]


def test_bad_input_is_refused_by_the_broker_and_by_the_playbook(
    world: World, routers: Routers, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with a stable code on both sides, before a router or the cloud hears of it. The table is printed."""
    request_id = ordered(world, [SEGMENT])
    road.walk(world)
    (there,) = attached(world, request_id)
    asked = Asked(world, {"unit": "451400", "vrf": "shared", "router": "dc", "prefix": "3fff:114:0:9::/64"}, there)
    cells = {name: (broker(asked), playbook(asked)) for name, (broker, playbook) in BAD_INPUT.items()}
    with capsys.disabled():
        sys.stdout.write(f"\n{'':38}{'broker':36}playbook\n")
        sys.stdout.writelines(f"{name:38}{one:36}{other}\n" for name, (one, other) in cells.items())
    assert cells == REFUSED
    assert len(attached(world, request_id)) == len(routers.there) == 1
    road.release(world, request_id, "apply.chongzuo", "deliver.1")
    road.walk(world)


@dataclass(frozen=True, slots=True)
class Asked:
    """A segment that would be let through, of which a row of the table changes one thing; one that is there."""

    world: World
    good: dict[str, Any]
    there: Any

    def attach(self, prefix: str, **access: Any) -> str:
        """What the broker says when a segment of this prefix is to be attached."""
        document = read_yaml(TOPOLOGY)
        document["access"][0] |= access
        loaded = service.Loaded(UUID(int=1), topology_of(document))
        unit = self.world.scalar("SELECT id FROM broker.unit WHERE code = :c", c=self.good["unit"])
        segment: Any = SimpleNamespace(id=uuid4(), unit_id=unit, prefix=prefix, spec={"zone": "shared"})
        with self.world.app.works.begin() as work:
            return str(service.attach(work, loaded, "main", [segment]).get(segment.id, ""))

    def taken(self, prefix: str) -> str:
        """What the address plan says of a prefix as an operator writes it."""
        with pytest.raises(BadPrefix) as refused:
            network_of(prefix)
        return f"prefix.{refused.value.reason}"

    def form(self, zone: str) -> str:
        with pytest.raises(Invalid) as refused:
            road.submit(self.world, items=[{**SEGMENT, "zone": zone}], **WHO)
        return ", ".join(p.code for p in refused.value.problems)

    def topology(self, router: str) -> str:
        document = read_yaml(TOPOLOGY)
        document["blocks"][0]["routers"] = [router]
        with pytest.raises(TopologyError) as refused:
            topology_of(document)
        return refused.value.problems[0].code

    def plan(self, **changes: Any) -> str:
        """What the playbook's assertion says, whoever calls it."""
        segment = {"id": "a", "vni": 10009, **self.good, **changes}
        said = refusals([segment], plan_of(read_topology(TOPOLOGY)), "dc", ["dc"])
        return said[0].split(": ")[0] if said else ""

    def live(self, shown: str = "", inside: Mapping[str, Any] | None = None) -> str:
        """What the module says on the router, seeing what is there."""
        module, kinds = frr_module(), shared("frr_segment")
        segment = kinds.Segment({"id": str(uuid4()), "vni": 10009, "block_length": 32, **self.good})
        with pytest.raises(kinds.Refused) as refused:
            module.refuse(segment, kinds.Seen(shown, [], inside or {}, {}), SimpleNamespace(vrfs={"shared"}))
        return str(refused.value.code)


SOMEBODYS = "Interface seg10009 is up, line protocol is up\n  Description: theirs\n"
ROUTE = {"3fff:114:0:9::/64": [{"protocol": "static", "nexthops": [{"interfaceName": "eth0"}]}]}
BAD_INPUT: dict[str, tuple[Callable[[Asked], str], Callable[[Asked], str]]] = {
    "another unit's prefix": (lambda a: a.attach("3fff:122:0:1::/64"), lambda a: a.plan(prefix="3fff:122:0:1::/64")),
    "host bits": (lambda a: a.taken("3fff:114:0:9::1/64"), lambda a: a.plan(prefix="3fff:114:0:9::1/64")),
    "/48": (lambda a: a.attach("3fff:114:9::/48"), lambda a: a.plan(prefix="3fff:114:9::/48")),
    "/65": (lambda a: a.taken("3fff:114:0:9::/65"), lambda a: a.plan(prefix="3fff:114:0:9::/65")),
    "IPv4": (lambda a: a.taken("10.1.2.0/24"), lambda a: a.plan(prefix="10.1.2.0/24")),
    "unknown zone": (lambda a: a.form("moon"), lambda a: a.plan(vrf="moon")),
    "unknown router": (lambda a: a.topology("nowhere"), lambda a: a.plan(router="nowhere")),
    "a VNI in use": (
        lambda a: a.attach("3fff:114:0:9::/64", vnis={"first": a.there.vni, "last": a.there.vni}),
        lambda a: a.live(shown=SOMEBODYS),
    ),
    "overlap with what is not ours": (lambda a: a.attach(str(a.there.prefix)), lambda a: a.live(inside=ROUTE)),
}
"""By what is asked: how the broker is asked, and how the playbook; real routers say the same (``tests/extranet``)."""
REFUSED = {
    "another unit's prefix": ("extranet.prefix_of_another_unit", "extranet.prefix_of_another_unit"),
    "host bits": ("prefix.host_bits", "extranet.prefix_host_bits"),
    "/48": ("extranet.prefix_length", "extranet.prefix_length"),
    "/65": ("prefix.too_long", "extranet.prefix_length"),
    "IPv4": ("prefix.not_ipv6", "extranet.prefix_not_ipv6"),
    "unknown zone": ("field.choice", "extranet.zone_unknown"),
    "unknown router": ("extranet.router_unknown", "extranet.router_unknown"),
    "a VNI in use": ("extranet.vnis_used_up", "extranet.vni_in_use"),
    "overlap with what is not ours": ("extranet.overlap_announced", "extranet.overlap_announced"),
}

"""Segments on the road: routed, looked at, posted; refused or leaking ones undone alone; given back with their VNIs.

The network here is a dictionary; real routers are in ``tests/extranet``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network
from typing import Any
from uuid import UUID

import pytest

from broker.assessment import service as assessment
from broker.delivery import service as delivery
from broker.delivery.reconcile import DriftKind, reconcile
from broker.delivery.service import Action
from broker.errors import Conflict
from broker.extranet import drift, loading
from broker.extranet.differences import Gap
from broker.extranet.overview import overview
from broker.extranet.reading import TopologyError
from broker.yaml_file import read_yaml
from providers.contract import Encapsulation, Kind, Uplink
from providers.errors import Permanent, Temporary
from providers.networking import Service
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.extranet import TOPOLOGY
from tests.stories import road
from tests.stories.routers import SEGMENT, WHO, Routers, attached, change, ordered, routers, standings
from tests.stories.world import World

__all__ = ["routers"]


def test_a_segment_is_routed_and_looked_at_before_it_is_posted(world: World, routers: Routers) -> None:
    """Where it goes is a row; in the shared zone only declared services are open."""
    request_id = ordered(
        world,
        [{**SEGMENT, "services": ["tcp/443", "udp/53@3fff:122::/32"]}, {**SEGMENT, "name": "two", "zone": "internet"}],
    )
    road.walk(world)
    assert world.request(request_id).state == "delivered"
    rows = attached(world, request_id)
    assert [(a.vrf, a.router, a.vni, a.verified_at is not None) for a in rows] == [
        ("shared", "dc", 10000, True),
        ("internet", "dc", 10001, True),
    ]
    opened = {spec.vrf: spec.services for spec in routers.there.values()}
    assert opened["shared"] == (Service("tcp", 443), Service("udp", 53, IPv6Network("3fff:122::/32")))
    assert opened["internet"] == ()
    with world.acting("apply.chongzuo") as work:
        seen = overview(work)
    assert seen is not None
    assert [r.state for r in seen.segments] == ["routed", "routed"]
    road.release(world, request_id, "apply.chongzuo", "deliver.1")
    road.walk(world)
    assert routers.there == {}
    assert all(a.withdrawn_at for a in attached(world, request_id))
    assert standings(world, request_id) == ["withdrawn", "withdrawn"]
    world.clock.forward(days=31)
    assert standings(world, request_id) == []


def test_servers_stand_on_the_segment_they_were_asked_with(world: World, routers: Routers) -> None:
    """The cloud's network is on the router's VNI; the handover says both; the VNI is free once the network is gone."""
    request_id = ordered(world)
    road.walk(world)
    (place,) = attached(world, request_id)
    (spec,) = routers.there.values()
    cloud = world.app.tools().providers("main")
    (network,) = [n for n in cloud.list(Kind.NETWORK) if n.key.id == place.resource_id]
    assert network.uplink == Uplink(Encapsulation.VXLAN, place.vni, spec.gateway)
    handed = world.scalar("SELECT record FROM broker.handover WHERE request_id = :r", r=request_id)["resources"]
    segment = next(r for r in handed if r["kind"] == "segment")
    server = next(r for r in handed if r["kind"] == "server")
    where = {"router": "dc", "vrf": "shared", "encapsulation": "vxlan", "vni": place.vni}
    where |= {"gateway": str(spec.gateway), "addressing": "slaac"}
    assert segment["extranet"] == where
    assert server["segment"] == segment["number"]
    assert all(IPv6Address(a) in spec.prefix for a in server["addresses"])
    assert server["addresses"]
    assert reconcile(world.app.tools(), "main") == []
    move = "UPDATE broker.segment_attachment SET vni = {} WHERE id = :i"
    change(world, move.format(10077), i=place.id)
    (found,) = reconcile(world.app.tools(), "main")
    assert (found.kind, found.key.id) == (DriftKind.UPLINK, place.resource_id)
    assert found.found == {"uplink": f"vxlan {place.vni} {spec.gateway} slaac"}
    assert found.expected == {"uplink": f"vxlan 10077 {spec.gateway} slaac"}
    assert world.scalar("SELECT count(*) FROM broker.notice WHERE code = 'drift.uplink'") == 2
    change(world, move.format(place.vni), i=place.id)
    faults.inject(world.clouds_url, Fault("main", "delete", Kind.NETWORK, Mode.REFUSE))
    road.release(world, request_id, "apply.chongzuo", "deliver.1")
    road.walk(world)
    assert routers.there == {}
    assert attached(world, request_id)[0].withdrawn_at is None
    assert road.decide_all(world, request_id, Action.RETRY, "deliver.1") == 1
    road.walk(world)
    assert world.request(request_id).state == "released"
    assert attached(world, request_id)[0].withdrawn_at is not None


def test_a_refused_segment_is_undone_with_what_stands_on_it(world: World, routers: Routers) -> None:
    """Nothing is left on a router or in the cloud; the desk names the router's code; a retry delivers it all."""
    request_id = ordered(world)
    routers.says = [Permanent("extranet.overlap_announced", "3fff::/48")]
    road.walk(world)
    assert world.request(request_id).state == "needs_operator"
    assert routers.there == {}
    assert all(a.withdrawn_at for a in attached(world, request_id))
    (case,) = world.rows("SELECT id, code, step FROM broker.desk_case WHERE request_id = :r", r=request_id)
    assert (case.step, case.code) == ("route_segments", "extranet.overlap_announced")
    assert standings(world, request_id) == ["desk"]
    with world.acting("deliver.1") as work:
        delivery.decide_case(work, case.id, Action.RETRY)
    road.walk(world)
    assert world.request(request_id).state == "delivered"
    assert len(routers.there) == 1
    road.release(world, request_id, "apply.chongzuo", "deliver.1")
    road.walk(world)


def test_a_leak_is_never_handed_over(world: World, routers: Routers) -> None:
    """Routed, but seen in another zone: taken off the routers again."""
    request_id = ordered(world)
    routers.leaks = True
    road.walk(world)
    assert world.request(request_id).state == "needs_operator"
    assert routers.there == {}
    assert world.scalar("SELECT count(*) FROM broker.handover WHERE request_id = :r", r=request_id) == 0


def test_a_router_that_is_busy_is_asked_again(world: World, routers: Routers) -> None:
    """Both ways: onto the router, and off it; one that never lets go is on the operator's desk."""
    request_id = ordered(world)
    routers.says = [Temporary("extranet.router_busy"), Temporary("extranet.router_unreachable")]
    road.walk(world)
    assert world.request(request_id).state == "delivered"
    routers.holds = [Temporary("extranet.router_unreachable")] * 20
    road.release(world, request_id, "apply.chongzuo", "deliver.1")
    road.walk(world)
    assert world.request(request_id).state == "releasing"
    (case,) = world.rows("SELECT code FROM broker.desk_case WHERE request_id = :r", r=request_id)
    assert case.code == "extranet.router_unreachable"
    assert len(routers.there) == 1


def test_a_unit_without_a_block_is_told_at_assessment(world: World, routers: Routers) -> None:
    """The topology has no space for this unit where its cloud is attached: the verdict says why."""
    request_id = road.submit(world, items=[{**SEGMENT, "zone": "private"}], **WHO)
    road.approve(world, request_id, "approve.1")
    with world.acting("assess.1") as work:
        proposal = assessment.propose(work, request_id)
    with pytest.raises(Conflict) as refused:
        road.assess(world, request_id, "assess.1")
    assert refused.value.code == "placement.none"
    main = next(j for judged in proposal.judgements.values() for j in judged if j.code == "main")
    assert [v.code for v in main.verdicts if not v.passed] == ["extranet.no_block"]
    assert {v.code for j in proposal.judgements[0] for v in j.verdicts if v.filter == "extranet"} == {
        "extranet.no_block",
        "extranet.cloud_not_attached",
    }
    assert routers.there == {}


def test_a_cloud_that_cannot_do_the_routers_kind_of_uplink_is_told_at_assessment(
    world: World, routers: Routers
) -> None:
    """The topology attaches it by VXLAN, its adapter says that it has VLANs only: refused before anything is held."""
    change(world, "UPDATE broker.sub_cloud_status SET uplinks = ARRAY['vlan']")
    request_id = road.submit(world, items=[SEGMENT], **WHO)
    road.approve(world, request_id, "approve.1")
    with world.acting("assess.1") as work:
        judged = assessment.propose(work, request_id).judgements[0]
    main = next(j for j in judged if j.code == "main")
    assert [(v.code, v.params) for v in main.verdicts if not v.passed] == [
        ("extranet.uplink_unsupported", {"encapsulation": "VXLAN"})
    ]
    with pytest.raises(Conflict) as refused:
        road.assess(world, request_id, "assess.1")
    assert refused.value.code == "placement.none"
    world.ask_health()  # what the adapter says now
    road.assess(world, request_id, "assess.1")
    assert routers.there == {}


def test_a_prefix_that_the_routers_plan_does_not_contain_is_told_at_assessment(world: World, routers: Routers) -> None:
    """The address plan and the topology disagree: refused with the plan's code before anything is held."""
    document = read_yaml(TOPOLOGY)
    for block in document["blocks"]:
        if (block["unit"], block["vrf"]) == ("451400", "shared"):
            block["prefix"] = "3fff:114:8000::/33"
    with world.app.works.begin() as work:
        loading.load(work, document)
    request_id = road.submit(world, items=[SEGMENT], **WHO)
    road.approve(world, request_id, "approve.1")
    with pytest.raises(Conflict) as refused:
        road.assess(world, request_id, "assess.1")
    assert refused.value.code == "extranet.prefix_outside_plan"
    assert world.request(request_id).state == "approved"
    assert world.scalar("SELECT count(*) FROM broker.resource WHERE request_id = :r", r=request_id) == 0


def test_a_topology_without_place_for_what_is_routed_is_not_loaded(world: World, routers: Routers) -> None:
    """A live segment would lose its router, its block or its VNI; a router its own addresses. Nothing changes."""
    request_id = ordered(world)
    road.walk(world)
    document = read_yaml(TOPOLOGY)
    number = world.scalar("SELECT count(*) FROM broker.extranet_topology")

    def refused(change: Callable[[dict[str, Any]], object]) -> set[str]:
        changed = copy.deepcopy(document)
        change(changed)
        with pytest.raises(TopologyError) as caught, world.app.works.begin() as work:
            loading.load(work, changed)
        return {p.code for p in caught.value.problems}

    def without_block(raw: dict[str, Any]) -> None:
        raw["blocks"] = [b for b in raw["blocks"] if (b["unit"], b["vrf"]) != ("451400", "shared")]

    assert refused(without_block) == {"extranet.segment_lost"}
    assert refused(lambda r: r["access"][0]["vnis"].update(first=10500)) == {"extranet.segment_lost"}
    assert refused(lambda r: r["routers"].insert(0, r["routers"].pop())) == {"extranet.renumbered"}
    assert refused(lambda r: r["blocks"][0].update(unit="moon")) == {"extranet.unit_unknown"}
    assert refused(lambda r: r["access"][0].update(sub_cloud="moon")) >= {"extranet.cloud_unknown"}
    assert world.scalar("SELECT count(*) FROM broker.extranet_topology") == number
    road.release(world, request_id, "apply.chongzuo", "deliver.1")
    road.walk(world)
    changed = copy.deepcopy(document)
    without_block(changed)
    with world.app.works.begin() as work:
        assert loading.load(work, changed)
    with world.app.works.begin() as work:
        loading.load(work, document)


def test_a_vni_that_something_of_others_has_is_left_alone(world: World, routers: Routers) -> None:
    """Its delivery is undone; the next one, and the retry, get other VNIs; a week later it is tried again."""
    first = ordered(world)
    routers.says = [Permanent("extranet.vni_in_use", "seg10000 in shared: not ours")]
    road.walk(world)
    assert world.request(first).state == "needs_operator"
    (taken,) = attached(world, first)
    assert (taken.refused_at, taken.withdrawn_at is None) == (world.clock.now, False)
    second = ordered(world)
    road.walk(world)
    case = world.scalar("SELECT id FROM broker.desk_case WHERE request_id = :r", r=first)
    with world.acting("deliver.1") as work:
        delivery.decide_case(work, case, Action.RETRY)
    road.walk(world)
    assert {world.request(r).state for r in (first, second)} == {"delivered"}
    assert taken.vni not in {spec.vni for spec in routers.there.values()}
    for request_id in (first, second):
        road.release(world, request_id, "apply.chongzuo", "deliver.1")
    road.walk(world)
    world.clock.forward(days=8)
    world.ask_health()
    third = ordered(world)
    road.walk(world)
    assert attached(world, third)[0].vni == taken.vni
    road.release(world, third, "apply.chongzuo", "deliver.1")
    road.walk(world)


def test_what_moves_while_routers_are_asked_is_neither_missing_nor_too_much(world: World, routers: Routers) -> None:
    """Delivered or taken back between rows and answers; and taken back while a repair puts it on again."""

    def told() -> set[tuple[str, str]]:
        found = drift.reconcile(world.app.networks, world.app.works)
        assert found is not None
        return {(d.gap.value, d.subject) for d in found if d.spec is not None and d.gap is not Gap.CHANGED}

    requests: list[UUID] = []

    def deliver() -> None:
        requests.append(ordered(world, [SEGMENT]))
        road.walk(world)

    def give_back() -> None:
        road.release(world, requests.pop(), "apply.chongzuo", "deliver.1")
        road.walk(world)

    for moment in (routers.before, routers.after):
        moment.append(deliver)
        assert told() == set()
        assert len(routers.there) == 1
        moment.append(give_back)
        assert told() == set()
        assert routers.there == {}

    deliver()
    routers.there.clear()  # rebooted
    routers.before += [lambda: None, give_back]
    assert {gap for gap, _ in told()} == {"missing"}
    assert routers.there == {}

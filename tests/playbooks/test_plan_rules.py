"""What the plan does not contain is refused, by the same rule in the broker and in the playbooks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.extranet.fabric import plan_of
from broker.extranet.reading import read_topology
from playbooks.filter_plugins.extranet import mine, refusal, refusals
from tests.extranet import TOPOLOGY

PLAN = plan_of(read_topology(TOPOLOGY))
HOSTS = ["dc", "yufeng"]
ID, B, C, D = (f"0197aaaa-0000-7000-8000-00000000000{n}" for n in "1234")


def segment(**changes: Any) -> dict[str, Any]:
    """A segment of the water department's in the shared zone, which the plan contains."""
    made: dict[str, Any] = {"id": ID, "router": "dc", "unit": "slt", "vrf": "shared", "prefix": "3fff:12f:0:1::/64"}
    made |= {"encapsulation": "vxlan", "remote": "3fff:f02:1::2", "addressing": "slaac", "services": []}
    return made | {"vni": 10001} | changes


def test_what_the_plan_contains_is_let_through() -> None:
    assert refusal(segment(), PLAN, "dc") is None
    assert refusal(segment(vrf="prv-slt", prefix="fd3f:ff00:1:7::/64"), PLAN, "dc") is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"prefix": "3fff:122:0:1::/64"}, "prefix_of_another_unit"),
        ({"prefix": "3fff:12f:0:1::1/64"}, "prefix_host_bits"),
        ({"prefix": "3fff:12f::/48"}, "prefix_length"),
        ({"prefix": "3fff:12f::/65"}, "prefix_length"),
        ({"prefix": "10.1.2.0/24"}, "prefix_not_ipv6"),
        ({"prefix": "3fff:012f:0:1::/64"}, "prefix_not_canonical"),
        ({"prefix": "3fff:12F:0:1::/64"}, "prefix_not_canonical"),
        ({"prefix": "water"}, "prefix_malformed"),
        ({"prefix": "3fff:1fe::/64"}, "prefix_outside_plan"),
        ({"prefix": "3fff:1ff:ffff::/64"}, "prefix_reserved"),
        ({"vrf": "moon"}, "zone_unknown"),
        ({"vrf": "prv-jyt", "prefix": "3fff:222:0:1::/64"}, "unit_not_attached"),
        ({"router": "nanning"}, "router_unknown"),
        ({"router": "nowhere"}, "router_unknown"),
        ({"vni": 20001}, "vni_out_of_range"),
        ({"vni": "10001"}, "vni_out_of_range"),
        ({"vni": True}, "vni_out_of_range"),
        ({"vni": None}, "vni_out_of_range"),
    ],
)
def test_what_the_plan_does_not_contain_is_refused(changes: dict[str, Any], code: str) -> None:
    """Each with a stable code."""
    made = segment(**changes)
    refused = refusal(made, PLAN, "dc" if "router" not in changes else made["router"])
    assert refused is not None
    assert refused[0] == f"extranet.{code}"


def test_all_of_a_run_is_said_at_once() -> None:
    """Two of one run may not take the same VNI or the same prefix either."""
    run = [segment(), segment(id=B), segment(id=C, vni=10002), segment(id=D, vni=10003, prefix="3fff::/48")]
    assert [text.split(": ")[:2] for text in refusals(run, PLAN, "dc", HOSTS)] == [
        ["extranet.vni_in_use", B],
        ["extranet.overlap_announced", C],
        ["extranet.prefix_length", D],
    ]


def service(**changes: Any) -> list[dict[str, Any]]:
    return [{"protocol": "tcp", "port": 443, "source": None} | changes]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"remote": "3fff:f02:1::66"}, "attachment_differs"),
        ({"remote": None}, "attachment_differs"),
        ({"encapsulation": "vlan"}, "attachment_differs"),
        ({"addressing": "static"}, "attachment_differs"),
        ({"services": None}, "services_malformed"),
        ({"services": "tcp/443"}, "services_malformed"),
        ({"services": ["tcp/443"]}, "services_malformed"),
        ({"services": service(port="22 }\nadd rule inet guiyun through accept")}, "services_malformed"),
        ({"services": service(port=0)}, "services_malformed"),
        ({"services": service(port=True)}, "services_malformed"),
        ({"services": service(protocol="icmp")}, "services_malformed"),
        ({"services": service(source="3fff::1/32")}, "services_malformed"),
        ({"services": service(source="10.0.0.0/8")}, "services_malformed"),
        ({"services": service(source=7)}, "services_malformed"),
        ({"services": service(source="::ffff:0:0/96")}, "services_malformed"),
        ({"services": service(source="::ffff:102:304/128")}, "services_malformed"),
        ({"services": service(source="::102:0/112")}, "services_malformed"),
        ({"services": service(more=1)}, "services_malformed"),
        ({"services": service() + service(source="3fff:122::/32")}, "services_malformed"),
        ({"id": f"{ID}\n shutdown"}, "id_malformed"),
        ({"id": ID.upper()}, "id_malformed"),
        ({"id": 7}, "id_malformed"),
    ],
)
def test_what_the_plan_contains_otherwise_is_refused(changes: dict[str, Any], code: str) -> None:
    """Far end, encapsulation, services, id: whoever calls, routers are told nothing else."""
    (refused,) = refusals([segment(**changes)], PLAN, "dc", HOSTS)
    assert refused.startswith(f"extranet.{code}: ")


def test_what_is_as_planned_is_let_through_whole() -> None:
    """With services beside one another, and without any in the private zone."""
    services = service(source="3fff:122::/32") + service(source="3fff:126::1/128") + service(protocol="udp")
    own = segment(id=B, vrf="prv-slt", prefix="fd3f:ff00:1:7::/64", vni=10002, services=None)
    assert refusals([segment(services=services), own], PLAN, "dc", HOSTS) == []


def test_a_router_that_is_not_of_the_run_is_refused_by_all() -> None:
    """One that nobody knows, and one that is known and was not asked; one that was asked answers for itself."""
    moon, city = segment(router="moon"), segment(id=B, router="yufeng")
    for router in HOSTS:
        assert any(said.startswith("extranet.router_unknown: ") for said in refusals([moon], PLAN, router, HOSTS))
    assert refusals([segment(), city], PLAN, "dc", HOSTS) == []
    assert refusals([segment(), city], PLAN, "dc", ["dc"]) == [f"extranet.router_unknown: {B}: yufeng"]
    with pytest.raises(ValueError, match=r"extranet\.router_unknown: moon"):
        mine([moon], "dc", HOSTS)


def test_how_long_the_block_is_nobody_has_to_say() -> None:
    """The plan knows; what a caller says of it counts for nothing."""
    (own,) = mine([segment(block_length=64), segment(id=B, router="yufeng")], "dc", HOSTS, PLAN)
    assert own["block_length"] == 32


def test_a_router_that_keeps_nothing_out_takes_private_segments_only() -> None:
    """The roles for Huawei and H3C make no firewall: what is denied by default would be open there."""
    plan = {**PLAN, "routers": {"dc": {**PLAN["routers"]["dc"], "vendor": "huawei"}}}
    own = segment(vrf="prv-slt", prefix="fd3f:ff00:1:7::/64", services=None)
    assert refusals([own], plan, "dc", HOSTS) == []
    (refused,) = refusals([segment()], plan, "dc", HOSTS)
    assert refused.startswith("extranet.vendor_filters_nothing: ")
    (refused,) = refusals([{**own, "services": service()}], plan, "dc", HOSTS)
    assert refused.startswith("extranet.vendor_filters_nothing: ")


@given(st.text(max_size=40))
def test_no_text_breaks_the_rule(text: str) -> None:
    """Whatever stands in the place of a prefix, there is an answer."""
    refused = refusal(segment(prefix=text), PLAN, "dc")
    assert refused is not None
    assert refused[0].startswith("extranet.prefix_")

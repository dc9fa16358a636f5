"""What the plan does not contain is refused, by the same rule in the broker and in the playbooks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.extranet.fabric import plan_of
from broker.extranet.reading import read_topology
from playbooks.filter_plugins.extranet import refusal, refusals
from tests.extranet import TOPOLOGY

PLAN = plan_of(read_topology(TOPOLOGY))


def segment(**changes: Any) -> dict[str, Any]:
    """A segment of the water department's in the shared zone, which the plan contains."""
    made: dict[str, Any] = {"id": "a", "router": "dc", "unit": "slt", "vrf": "shared", "prefix": "3fff:12f:0:1::/64"}
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
    run = [segment(), segment(id="b"), segment(id="c", vni=10002), segment(id="d", vni=10003, prefix="3fff::/48")]
    assert [text.split(": ")[:2] for text in refusals(run, PLAN, "dc")] == [
        ["extranet.vni_in_use", "b"],
        ["extranet.overlap_announced", "c"],
        ["extranet.prefix_length", "d"],
    ]


@given(st.text(max_size=40))
def test_no_text_breaks_the_rule(text: str) -> None:
    """Whatever stands in the place of a prefix, there is an answer."""
    refused = refusal(segment(prefix=text), PLAN, "dc")
    assert refused is not None
    assert refused[0].startswith("extranet.prefix_")

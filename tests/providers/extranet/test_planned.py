"""The part of the plan that a run is given: it refuses what the whole refuses, and does not grow with the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv6Network
from typing import Any
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from broker.extranet.fabric import fabric_of
from broker.extranet.reading import read_topology
from playbooks.filter_plugins.extranet import mine, refusals
from providers.extranet.planned import Planned
from providers.extranet.provider import Extranet, segment_variables
from providers.networking import SegmentSpec
from tests.extranet import TOPOLOGY
from tests.providers.extranet.test_provider import Script, said, spec

FABRIC = fabric_of(read_topology(TOPOLOGY))
ROUTERS = sorted(FABRIC.plan["routers"])
UNITS, TABLES = ["slt", "jyt"], ["shared", "prv-slt", "moon"]
BITS = 12
"""Of a prefix, after 3fff::/16: few enough that blocks and segments meet, lie in one another and miss."""


def prefix(number: int, length: int) -> IPv6Network:
    return IPv6Network(((0x3FFF << 112) | (number << (112 - BITS)), length), strict=False)


SPACES = st.builds(prefix, st.integers(0, 2**BITS - 1), st.sampled_from([18, 20, 22, 26, 28]))
BLOCKS = st.lists(
    st.fixed_dictionaries({
        "unit": st.sampled_from(UNITS), "vrf": st.sampled_from(TABLES[:2]), "prefix": SPACES.map(str),
        "routers": st.lists(st.sampled_from(ROUTERS), min_size=1, max_size=2, unique=True),
    }),
    max_size=12,
)  # fmt: skip
SPECS = st.lists(
    st.builds(
        SegmentSpec, id=st.uuids(), unit=st.sampled_from([*UNITS, "gat"]), vrf=st.sampled_from(TABLES),
        prefix=st.builds(prefix, st.integers(0, 2**BITS - 1), st.sampled_from([22, 28])),
        router=st.sampled_from(ROUTERS), vni=st.integers(9_999, 10_003),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


@given(BLOCKS, SPECS)
def test_a_part_of_the_plan_refuses_what_the_whole_refuses(
    blocks: Sequence[dict[str, Any]], specs: Sequence[SegmentSpec]
) -> None:
    """Whatever is planned and whatever is asked: the same codes and words, and the same length of each block."""
    fabric = replace(FABRIC, plan={**FABRIC.plan, "segment_length": 28, "blocks": blocks})
    part = Planned(fabric.plan).about(specs)
    segments = [segment_variables(fabric, one) for one in specs]
    hosts = sorted({one.router for one in specs})
    for router in hosts:
        assert refusals(segments, part, router, hosts) == refusals(segments, fabric.plan, router, hosts)
        assert mine(segments, router, hosts, part) == mine(segments, router, hosts, fabric.plan)


def test_a_run_is_given_its_own_part_of_the_plan() -> None:
    """However much else is planned, of this unit too; what has to go is not judged by the plan at all."""
    block: dict[str, Any] = {"unit": "slt", "vrf": "shared", "routers": ["dc"]}
    many = [block | {"prefix": f"3fff:13f:{n:x}::/48"} for n in range(4_900)]
    fabric = replace(FABRIC, plan={**FABRIC.plan, "blocks": [*FABRIC.plan["blocks"], *many]})
    one = spec()
    script = Script(*[said("ok", {one.id: ""})] * 3)
    network = Extranet(fabric, script)
    network.create([one])
    network.update([one])
    network.delete([one])
    given = [variables.get("extranet_plan") for _, _, variables, _ in script.asked]
    plan = {
        "segment_length": 64,
        "vrfs": {"shared": FABRIC.plan["vrfs"]["shared"]},
        "routers": {"dc": FABRIC.plan["routers"]["dc"]},
        "blocks": [{**block, "prefix": "3fff:12f::/32"}],
    }
    assert given == [plan, plan, None]


def test_of_a_unit_that_has_blocks_elsewhere_one_is_enough() -> None:
    """Its prefix is outside the plan, which is another code than a unit's that has no block in that table."""
    stray = replace(spec(), id=uuid4(), prefix=IPv6Network("3fff:1fe::/64"))
    part = Planned(FABRIC.plan).about([stray])
    segments = [segment_variables(FABRIC, stray)]
    assert [s.split(":")[0] for s in refusals(segments, part, "dc", ["dc"])] == ["extranet.prefix_outside_plan"]

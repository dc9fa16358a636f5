"""Routers beside the rows, while both move: what a repair may touch, what it leaves alone, and what is told of it.

The network here is a dictionary; real routers are in ``tests/extranet``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from broker.delivery.service import Action
from broker.extranet import drift, repairing, telling
from broker.extranet.differences import Gap, RouterDrift
from broker.extranet.overview import overview
from broker.extranet.values import fact
from broker.workflows.drift import DriftCheck, compare_routers
from providers.errors import Permanent
from tests.extranet import TOPOLOGY
from tests.stories import road
from tests.stories.routers import SEGMENT, Routers, attached, change, ordered, routers, standings
from tests.stories.world import World

__all__ = ["routers"]

_BUSY = "extranet.router_busy"
_DRIFTED = "SELECT count(*) FROM broker.audit_event WHERE action = 'extranet.drifted'"


@pytest.fixture
def world(town: World) -> World:
    """One for all of these tests: each gives back what it has delivered."""
    return town


def compared(world: World) -> list[tuple[str, bool]]:
    """What a comparison finds of segments, and whether it was repaired; that the dictionary has no links apart."""
    found = drift.reconcile(world.app.networks, world.app.works)
    assert found is not None
    return [(d.gap.value, d.repaired) for d in found if d.gap in {Gap.MISSING, Gap.EXTRA}]


def notices(world: World, like: str) -> list[Any]:
    return world.rows("SELECT code, params FROM broker.notice WHERE code LIKE :c ORDER BY id", c=like)


def test_what_moves_while_routers_are_asked_is_neither_missing_nor_too_much(world: World, routers: Routers) -> None:
    """Delivered or taken back between rows and answers; a release waits for a repair, and then takes it away."""

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
    (request_id,) = requests
    routers.there.clear()  # rebooted
    routers.before += [lambda: None, give_back]
    assert {gap for gap, _ in told()} == {"missing"}
    assert world.scalar("SELECT code FROM broker.desk_case WHERE request_id = :r", r=request_id) == _BUSY
    assert road.decide_all(world, request_id, Action.RETRY, "deliver.1") == 1
    road.walk(world)
    assert routers.there == {}
    assert world.request(request_id).state == "released"


def test_a_repair_leaves_alone_what_was_delivered_since_it_looked(
    world: World, routers: Routers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leftover of an undone segment is due to go; before the repair's turn an operator's retry delivers it there."""
    request_id = ordered(world, [SEGMENT])
    routers.says = [Permanent("extranet.overlap_announced")]
    road.walk(world)
    (place,) = attached(world, request_id)
    assert place.withdrawn_at is not None
    other = ordered(world, [SEGMENT])
    road.walk(world)
    (spec,) = routers.there.values()
    routers.there[place.resource_id] = replace(spec, id=place.resource_id, vni=14999)

    @contextmanager
    def late(sessions: Any, ids: Collection[UUID]) -> Iterator[None]:
        assert road.decide_all(world, request_id, Action.RETRY, "deliver.1") == 1
        road.walk(world)
        with repairing.repairing(sessions, ids):
            yield

    monkeypatch.setattr(drift, "repairing", late)
    assert compared(world) == []
    assert world.request(request_id).state == "delivered"
    assert place.resource_id in routers.there
    monkeypatch.undo()
    routers.there[place.resource_id] = replace(routers.there[place.resource_id], vrf="internet")  # moved by hand
    assert compared(world) == [("extra", True), ("missing", True)]
    assert {s.vrf for s in routers.there.values()} == {"shared"}
    for each in (request_id, other):
        road.release(world, each, "apply.chongzuo", "deliver.1")
    road.walk(world)
    assert routers.there == {}


def test_what_lost_its_address_is_taken_off_by_its_interface(world: World, routers: Routers) -> None:
    """Its alias alone says whose it is, and the rows which prefix may still be announced: repaired once, and silent."""
    request_id = ordered(world, [SEGMENT])
    road.walk(world)
    (spec,) = routers.there.values()
    road.release(world, request_id, "apply.chongzuo", "deliver.1")
    road.walk(world)
    routers.there, routers.bare = {spec.id: spec}, True
    assert compared(world) == [("extra", True)]
    assert [(s.id, s.router, s.vni, s.prefix) for s in routers.gone] == [(spec.id, "dc", spec.vni, spec.prefix)]
    assert compared(world) == []


def test_a_comparison_that_breaks_is_logged_and_told(world: World, routers: Routers) -> None:
    """Nobody waits for its end: what it raised is said where it was raised, and the next one is begun all the same."""

    def broken() -> None:
        raise RuntimeError("no disk")

    routers.before += [broken, broken]
    with ThreadPoolExecutor(1) as pool, capture_logs() as logs:
        check = DriftCheck(world.app, pool)
        for _ in range(2):
            check._start("/routers", partial(compare_routers, world.app))
            check._comparing["/routers"].result()
    assert [(line["log_level"], line["of"]) for line in logs if "of" in line] == [("error", "/routers")] * 2
    told = [n.params["trouble"] for n in notices(world, "extranet.unchecked")]
    assert told.count("extranet.check_failed") == 1


def test_a_repair_is_told_each_time_and_many_in_one_notice(world: World, routers: Routers) -> None:
    """The same tampering three times is three notices and events; 1,500 rogue prefixes of a neighbour are one."""
    request_id = ordered(world, [SEGMENT])
    road.walk(world)
    missing, events = len(notices(world, "extranet.missing%")), world.scalar(_DRIFTED)
    for _ in range(3):
        world.clock.forward(minutes=60)
        routers.there.clear()
        assert compared(world) == [("missing", True)]
    assert [n.code for n in notices(world, "extranet.missing%")[missing:]] == ["extranet.missing"] * 3
    assert world.scalar(_DRIFTED) == events + 3
    (place,) = attached(world, request_id)
    gaps = world.scalar("SELECT gaps FROM broker.router_look WHERE router = 'dc'")
    assert ["changed", "shared", str(place.prefix), str(place.resource_id)] in gaps
    assert "missing" not in {gap[0] for gap in gaps}
    loaded = world.app.networks.topology()
    assert loaded is not None
    wild = [
        RouterDrift(Gap.ROGUE, "nanning", "shared", f"3fff:102:{n:x}::/64", (fact("from", name="dc"),))
        for n in range(1500)
    ]
    for found in (wild, wild, wild[:2]):
        with world.app.works.begin() as work:
            telling.tell(work, loaded, found)
    told = notices(world, "extranet.rogue%")
    assert [(n.code, n.params["count"], n.params["neighbour"]) for n in told] == [
        ("extranet.rogue_many", 1500, "dc"),
        ("extranet.rogue_many", 2, "dc"),
    ]
    assert told[0].params["subject"] == "3fff:102:0::/64, 3fff:102:1::/64, 3fff:102:2::/64"
    road.release(world, request_id, "apply.chongzuo", "deliver.1")
    road.walk(world)


def test_a_worker_without_the_routers_key_gives_nothing_back_and_delivers_nothing(
    world: World, routers: Routers, tmp_path: Path
) -> None:
    """What it cannot take off a router stays announced: desk, not quarantine. Its hourly look says so, once a day."""
    request_id = ordered(world, [SEGMENT])
    road.walk(world)
    networks: Any = world.app.networks
    networks.key_file = tmp_path / "not there"
    road.release(world, request_id, "apply.chongzuo", "deliver.1")
    second = ordered(world, [SEGMENT])
    road.walk(world)
    codes = world.rows("SELECT request_id, code FROM broker.desk_case WHERE closed_at IS NULL ORDER BY id")
    assert {(row.request_id, row.code) for row in codes} == {(r, "extranet.no_key") for r in (request_id, second)}
    assert (world.request(request_id).state, world.request(second).state) == ("releasing", "needs_operator")
    assert [s.id for s in routers.there.values()] == [attached(world, request_id)[0].resource_id]
    assert attached(world, second) == []
    prefix = attached(world, request_id)[0].prefix
    held = "SELECT state FROM quotas.prefix_allocation WHERE prefix = CAST(:p AS cidr)"
    assert world.scalar(held, p=str(prefix)) == "active"
    for _ in range(2):
        compare_routers(world.app)
    told = [n.params["trouble"] for n in notices(world, "extranet.unchecked")]
    assert told.count("extranet.no_key") == 1
    networks.key_file = TOPOLOGY
    for each in (request_id, second):
        assert road.decide_all(world, each, Action.RETRY, "deliver.1") == 1
    road.walk(world)
    assert (world.request(request_id).state, world.request(second).state) == ("released", "delivered")
    assert [s.id for s in routers.there.values()] == [attached(world, second)[0].resource_id]
    # One that an older worker released without a key: nobody holds it back, and its VNI is free once it is gone.
    change(world, "UPDATE broker.resource SET state = 'released' WHERE request_id = :r", r=second)
    with world.acting("apply.chongzuo") as work:
        seen = overview(work)
    assert seen is not None
    assert [s.state for s in seen.segments] == ["leaving"]
    assert compared(world) == [("extra", True)]
    assert routers.there == {}
    assert standings(world, second) == ["withdrawn"]

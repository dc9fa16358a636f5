"""The whole road on real routers, through the public API: a segment that was approved is reachable, and only at home.

Called by: ``make test-extranet``. The worker is a process of its own, which tests kill.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from ipaddress import IPv6Address, IPv6Network
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from broker.extranet.fabric import fabric_of
from broker.extranet.playing import Player
from providers.extranet import build
from providers.networking import SegmentSpec
from tests.extranet.conftest import within
from tests.extranet.nodes import HOME
from tests.extranet.product import Product, product
from tests.stories.dedicated_office import network

pytestmark = pytest.mark.extranet

SEGMENT = {"kind": "segment", "name": "net", "zone": "shared"}
SERVER = {
    "kind": "server",
    "name": "web",
    "vcpu": 2,
    "memory_gib": 4,
    "image": "openeuler-22.03-x86_64",
    "zone": "shared",
}


NETWORKS, STEPS = "/api/v1/dedicated-networks", {"connect": 30, "migrate": 60, "shut_down": 90}
PLAN = {
    "scope": "全部 125 条专线", "content": "迁入政务外网公用网络区", "zone": "shared", "leader": "lead.chongzuo",
    "office": "信息化科", "liaison": "apply.chongzuo", "document_number": "崇政函〔2026〕20号",
}  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[Product]:
    with product() as made:
        yield made


def host_on(running: Product, cloud: str, name: str, vni: int) -> str:
    return running.lab.host(name, cloud, vni)


def test_an_approved_segment_is_reachable_in_its_zone_and_nowhere_else(running: Product) -> None:
    """Request to release (Art. 17, 2(3)): ping from a host of the zone; silence for other zones, units, management."""
    mine = running.deliver("main", [SEGMENT, SERVER, {**SEGMENT, "name": "pub", "zone": "internet"}])
    theirs = running.deliver("city", [SEGMENT, {**SEGMENT, "name": "own", "zone": "private"}])
    shared, internet = running.attached(mine)
    other, private = running.attached(theirs)
    assert [a.vrf for a in (shared, internet, other, private)] == ["shared", "internet", "shared", "prv-lz"]
    assert all(a.verified_at for a in (shared, internet, other, private))
    lab = running.lab
    names = {
        "mine": host_on(running, "main", "r1", shared.vni),
        "internet": host_on(running, "main", "r2", internet.vni),
        "peer": host_on(running, "city-450200", "r3", other.vni),
        "unit": host_on(running, "city-450200", "r4", private.vni),
    }
    try:
        addresses = {role: lab.wait_address(name) for role, name in names.items()}
        assert within(10, lambda: lab.ping(names["peer"], addresses["mine"]))
        for role in ("internet", "unit"):
            assert not lab.ping(names[role], addresses["mine"])
            assert not lab.ping(names["peer"], addresses[role])
        assert not lab.ping("mgmt", addresses["mine"])
        handed = running.of("apply.chongzuo").call("GET", f"/api/v1/requests/{mine}/deliveries")
        assert str(shared.prefix) in str(handed)
        told = {r["name"]: r for d in handed for h in d["handovers"] for r in h["record"]["resources"]}
        where = {"router": "dc", "vrf": "shared", "vni": shared.vni, "gateway": str(IPv6Network(shared.prefix)[1])}
        assert where.items() <= told["net"]["extranet"].items()
        assert told["web"]["segment"] == told["net"]["number"]
        assert all(IPv6Address(a) in IPv6Network(shared.prefix) for a in told["web"]["addresses"])
        running.release("main", mine)
        assert within(5, lambda: not lab.ping(names["peer"], addresses["mine"]))
        assert within(5, lambda: lab.address(names["mine"]) is None)
    finally:
        for name in names.values():
            lab.remove_host(name)
    resting = "SELECT state FROM quotas.prefix_allocation WHERE prefix = CAST(:p AS cidr)"
    assert running.stack.scalar(resting, p=shared.prefix) == "quarantined"
    running.release("city", theirs)
    assert f"seg{shared.vni}" not in lab.vtysh("dc", "show running-config")


def test_twenty_requests_at_once(running: Product) -> None:
    """All of them are delivered and seen by the probes; each has a VNI and a prefix of its own."""
    requests = [running.submit("main", [SEGMENT]) for _ in range(20)]
    for request in requests:
        running.order("main", request)
    assert {running.settle(request) for request in requests} == {"delivered"}
    attached = [running.attached(request)[0] for request in requests]
    assert len({a.vni for a in attached}) == len({a.prefix for a in attached}) == 20
    running.release("main", *requests)


def test_a_reported_connection_is_looked_at_by_the_probes(running: Product) -> None:
    """Art. 11: a dedicated network connects by a segment that answers at home only; else the report is refused."""
    request = running.deliver("main", [SEGMENT])
    (attached,) = running.attached(request)
    unit, lab = running.of("apply.chongzuo"), running.lab
    made = unit.call(
        "POST", NETWORKS, network("lab-1", unit="451400", responsible="apply.chongzuo", systems=["cz-kajy"])
    )
    path, today = f"{NETWORKS}/{made['id']}", datetime.now(ZoneInfo("Asia/Shanghai")).date()
    dates = {name: {"due_on": str(today + timedelta(days=n)), "owner": "apply.chongzuo"} for name, n in STEPS.items()}
    unit.call("POST", f"{path}/plan", PLAN | {"dates": dates})
    report = {"done_on": str(today), "evidence": "验收报告", "segments": [attached.number]}
    answers = "SELECT code FROM broker.network_probe WHERE network_id = :n AND answered_at IS NOT NULL ORDER BY id"

    def answered(count: int) -> bool:
        with running.stack.superuser.connect() as connection:
            return len(connection.execute(text(answers), {"n": made["id"]}).all()) == count

    gateway = f"{IPv6Network(attached.prefix)[1]}/128"
    lab.run("core", "ip", "addr", "add", gateway, "dev", "lo", vrf="internet")
    try:
        unit.call("POST", f"{path}/connection", report)
        assert within(60, lambda: answered(1))
    finally:
        lab.run("core", "ip", "addr", "del", gateway, "dev", "lo", vrf="internet")
    assert running.stack.scalar(answers, n=made["id"]) == "extranet.leak"
    assert unit.call("GET", path)["next"] == "connect"
    unit.call("POST", f"{path}/connection", report)
    assert within(60, lambda: answered(2))
    assert unit.call("GET", path)["next"] == "migrate"
    running.release("main", request)


def test_a_router_that_is_down_during_delivery(running: Product) -> None:
    """The delivery waits, and is finished once the router is back."""
    request = running.submit("city", [SEGMENT])
    running.lab.stop_router("yufeng")
    running.order("city", request)
    assert within(20, lambda: any(s[0] == "route_segments" and s[2] > 1 for s in running.steps(request)))
    assert running.state(request) == "delivering"
    running.lab.start_router("yufeng")
    assert running.settle(request) == "delivered", running.steps(request)
    (attached,) = running.attached(request)
    assert attached.verified_at
    running.release("city", request)


def test_a_segment_that_leaks_is_undone(running: Product) -> None:
    """It answers in another zone: nothing is handed over, the routers are as they were, an operator is told why."""
    request = running.submit("main", [SEGMENT])
    prefix = str(running.stack.scalar("SELECT prefix FROM broker.resource WHERE request_id = :r", r=request))
    gateway = prefix.replace("::/64", "::1/128")
    before = running.lab.vtysh("dc", "show running-config")
    running.lab.run("core", "ip", "addr", "add", gateway, "dev", "lo", vrf="internet")
    try:
        running.order("main", request)
        assert running.settle(request) == "needs_operator"
    finally:
        running.lab.run("core", "ip", "addr", "del", gateway, "dev", "lo", vrf="internet")
    codes = running.stack.scalar("SELECT string_agg(code, ',') FROM broker.desk_case WHERE request_id = :r", r=request)
    assert codes == "extranet.leak"
    assert running.lab.vtysh("dc", "show running-config") == before
    case = running.stack.scalar("SELECT id FROM broker.desk_case WHERE request_id = :r", r=request)
    running.of("deliver.1").call("POST", f"/api/v1/desk-cases/{case}", {"action": "retry", "reason": "已排除"})
    assert running.settle(request, {"delivered"}) == "delivered", running.steps(request)
    running.release("main", request)


def test_reconcile_repairs_what_is_ours_and_reports_the_rest(running: Product) -> None:
    """What is ours is put right; a foreign announcement and the rogue one it is elsewhere are named (exit status 1)."""
    request = running.deliver("main", [SEGMENT, {**SEGMENT, "name": "two"}])
    missing, changed = running.attached(request)
    lab = running.lab
    lab.run("dc", "ip", "-n", "shared", "link", "del", f"seg{missing.vni}")
    lab.vtysh("dc", "configure terminal", f"interface seg{changed.vni} vrf shared", "ipv6 nd suppress-ra")
    extra = SegmentSpec(uuid4(), "jyt", "shared", IPv6Network("3fff:122:0:7::/64"), "dc", 14999, ())
    provider = build(fabric_of(lab.topology), Player(HOME / "id"))
    assert provider.create([extra])[extra.id] is None
    rogue = "3fff:102:0:bad::/64"
    lab.vtysh("dc", "configure terminal", "router bgp 64701 vrf shared", "no bgp network import-check",
              "address-family ipv6 unicast", f"network {rogue}")  # fmt: skip
    try:
        heard = "show bgp vrf shared ipv6 neighbors 3fff:f01:0:3::1 filtered-routes"
        assert within(8, lambda: rogue in lab.vtysh("nanning", heard))
        told = running.guiyun("reconcile", "extranet", "--json")
    finally:
        lab.vtysh("dc", "configure terminal", "router bgp 64701 vrf shared", "bgp network import-check",
                  "address-family ipv6 unicast", f"no network {rogue}")  # fmt: skip
    assert told.returncode == 1
    found = {(d["kind"], d["refs"][0], d["row_state"]) for d in json.loads(told.stdout)}
    # A link that is gone leaves its configuration: it is there, and changed.
    assert found == {
        ("changed", "dc", "repaired"),
        ("extra", "dc", "repaired"),
        ("foreign", "dc", ""),
        ("rogue", "nanning", ""),
    }
    again = running.guiyun("reconcile", "extranet", "--json")
    assert (again.returncode, json.loads(again.stdout)) == (0, [])
    filters = running.guiyun("extranet", "filters", "--check", "--json")
    assert (filters.returncode, json.loads(filters.stdout)) == (0, [])
    running.release("main", request)


def test_a_router_that_was_rebooted_is_brought_back_by_drift(running: Product) -> None:
    """What the worker does every hour: links that a reboot took are made again, and a host of the zone is answered."""
    request = running.deliver("city", [SEGMENT])
    (attached,) = running.attached(request)
    lab, name = running.lab, host_on(running, "city-450200", "r9", attached.vni)
    try:
        address = lab.wait_address(name)
        lab.stop_router("yufeng")
        lab.start_router("yufeng")
        assert within(30, lab.converged)
        told = running.guiyun("reconcile", "extranet", "--json")
        assert {(d["kind"], d["refs"][0], d["row_state"]) for d in json.loads(told.stdout)} == {
            ("changed", "yufeng", "repaired")
        }
        seen_from_core = ("ping", "-6", "-q", "-c1", "-W1", "-I", "3fff:1ff:ffff::1", str(address))
        assert within(20, lambda: lab.run("core", *seen_from_core, vrf="shared").returncode == 0)
        looks = "SELECT count(*) FROM broker.router_look WHERE NOT silent AND down = '[]'"
        assert running.stack.scalar(looks) == len(lab.topology.routers)
    finally:
        lab.remove_host(name)
    running.release("city", request)


def test_a_worker_killed_between_router_and_row(running: Product) -> None:
    """Kill -9 when the router has the segment: the next worker finds it, and there is one of it.

    Its gateway is mute meanwhile, so that no worker can have seen it answer and be done before it is killed.
    """
    request = running.submit("main", [SEGMENT])
    prefix = running.stack.scalar("SELECT prefix FROM broker.resource WHERE request_id = :r", r=request)
    mute = f"hook prerouting priority -400; ip6 daddr {IPv6Network(prefix)[1]} drop;"
    running.lab.run("dc", "nft", f"table ip6 mute {{ chain i {{ type filter {mute} }}; }}", vrf="shared")
    try:
        running.order("main", request)
        assert within(20, lambda: bool(running.attached(request)))
        (attached,) = running.attached(request)
        on_router = f"seg{attached.vni}"
        assert within(20, lambda: on_router in running.lab.run("dc", "ip", "-n", "shared", "-br", "link").stdout)
        os.kill(running.stack.processes["worker"], signal.SIGKILL)
        assert running.state(request) == "delivering"
    finally:
        running.lab.run("dc", "nft", "delete", "table", "ip6", "mute", vrf="shared")
    worker = running.another_worker()
    try:
        assert running.settle(request) == "delivered", running.steps(request)
        (same,) = running.attached(request)
        assert (same.vni, same.verified_at is not None) == (attached.vni, True)
        assert running.lab.vtysh("dc", "show running-config").count(f"interface {on_router} ") == 1
        running.release("main", request)
    finally:
        worker.terminate()
        worker.wait(300)

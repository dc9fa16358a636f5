"""How soon a segment is reachable: delivery ordered -> first ping, alone and twenty at once; a change on a full router.

Goals: p50 at most 3 s alone; twenty at once within 20 s; a change on a router with 1,000 segments as on one with 10,
within 20 %. The whole product runs (API, worker, database, engine) on the laboratory's routers; the simulated cloud
answers at once. The first ping is the answer of the segment's gateway to a router on the other side of the network.
Needs root and FRR: without them one line says what is left out. The laboratory is started if need be.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv6Network
from uuid import UUID

from rich.console import Console

from broker.extranet.fabric import fabric_of
from broker.extranet.playing import Player
from providers.extranet import build
from providers.extranet.provider import Extranet
from providers.networking import SegmentSpec
from tests.extranet import lab as laboratory
from tests.extranet.nodes import HOME
from tests.extranet.product import Product, product

console = Console(stderr=True)

ALONE = {"small": 7, "full": 20}
CHANGES = 7
SEGMENT = {"kind": "segment", "name": "net", "zone": "shared"}
_PATIENCE_S = 60


def run(scale: str) -> Mapping[str, float | int]:
    """Measure; the laboratory is left as it was found. Nothing where there can be none: the other benchmarks go on."""
    lacking = laboratory.missing()
    if lacking:
        console.print(f"未运行外网基准（路由器上的开通与变更用时）：{lacking}")
        return {}
    was_up = laboratory.current() is not None
    laboratory.up()
    try:
        with product() as running:
            found = _alone(running, ALONE[scale]) | _twenty(running)
            return found | _filling(running, tidy=was_up)
    finally:
        if not was_up:
            laboratory.down()


def _alone(running: Product, times: int) -> dict[str, float]:
    _reach(running, 1)  # the first one warms everything up
    took = sorted(_reach(running, 1)[0] for _ in range(times))
    console.print("alone: " + " ".join(f"{t:.2f}" for t in took))
    return {"reachable_p50_s": statistics.median(took), "reachable_p95_s": took[max(0, round(0.95 * times) - 1)]}


def _twenty(running: Product) -> dict[str, float]:
    took = _reach(running, 20)
    console.print("twenty: " + " ".join(f"{t:.1f}" for t in sorted(took)))
    return {"twenty_at_once_s": max(took)}


def _reach(running: Product, count: int) -> list[float]:
    """Order so many deliveries at once; how long each took until its segment's gateway answered the core."""
    requests = [running.submit("main", [SEGMENT]) for _ in range(count)]
    prefixes = [
        IPv6Network(str(running.stack.scalar("SELECT prefix FROM broker.resource WHERE request_id = :r", r=request)))
        for request in requests
    ]
    done: dict[int, float] = {}
    watching = threading.Barrier(count + 1)

    def watch(number: int) -> None:
        target = prefixes[number].network_address + 1
        watching.wait()
        began = time.monotonic()
        while time.monotonic() - began < _PATIENCE_S:
            seen = ("ping", "-6", "-n", "-q", "-c1", "-W0.2", "-I", "3fff:1ff:ffff::1", str(target))
            if running.lab.run("core", *seen, vrf="shared").returncode == 0:
                done[number] = time.monotonic() - began
                return
            time.sleep(0.05 if count == 1 else 0.5)

    with ThreadPoolExecutor(count) as pool:
        for number in range(count):
            pool.submit(watch, number)
        watching.wait()
        for request in requests:
            running.order("main", request)
    for request in requests:
        state = running.settle(request)
        if state != "delivered":
            raise RuntimeError(f"{state}: {running.steps(request)}")
    running.release("main", *requests)
    return [done[number] for number in range(count)]


def _filling(running: Product, *, tidy: bool) -> dict[str, float]:
    """One change at a time on a router with ten segments, then with a thousand; ``tidy``: they are taken off again."""
    network = build(fabric_of(running.lab.topology), Player(HOME / "id", timeout_s=600))
    few = _fill(network, 0, 10)
    at_10 = _change(network)
    many = _fill(network, 10, 1000)
    at_1k = _change(network)
    for start in range(0, 1000 if tidy else 0, 50):
        network.delete([*few, *many][start : start + 50])
    return {"change_s_at_10_segments": at_10, "change_s_at_1k_segments": at_1k}


def _fill(network: Extranet, first: int, last: int) -> list[SegmentSpec]:
    made = [_spec(n) for n in range(first, last)]
    for start in range(0, len(made), 50):
        wrong = {i: e for i, e in network.create(made[start : start + 50]).items() if e is not None}
        if wrong:
            raise RuntimeError(str(wrong))
    return made


def _spec(number: int) -> SegmentSpec:
    prefix = IPv6Network(f"3fff:122:{number + 16:x}::/64")
    return SegmentSpec(UUID(int=number + (7 << 76)), "jyt", "shared", prefix, "dc", 15000 + number)


def _change(network: Extranet) -> float:
    """The median of several: one segment made and taken away; the making counts."""
    took: list[float] = []
    for number in range(CHANGES):
        spec: Sequence[SegmentSpec] = [_spec(2000 + number)]
        began = time.monotonic()
        network.create(spec)
        took.append(time.monotonic() - began)
        network.delete(spec)
    console.print("change: " + " ".join(f"{t:.2f}" for t in took))
    return statistics.median(took)

"""How soon a segment is reachable: delivery ordered -> first ping, alone and twenty at once; a change on a full router.

Goals: p50 at most 3 s alone; twenty at once within 20 s; a change on a router with 1,000 segments as on one with 10,
within 20 %. Then routers times segments, as far as it is worth while, with the memory of the routers' daemons. The
whole product runs (API, worker, database, engine) on the laboratory's routers; the simulated cloud answers at once.
The first ping is that of a host of the zone, on another city's segment, to a host of the new segment, which is
plugged in as soon as its gateway answers (servers are made after the route) and forms its address first.
Needs root and FRR: without them one line says what is left out. The laboratory is started if need be.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Network
from pathlib import Path
from uuid import UUID

from rich.console import Console
from rich.table import Table

from broker.extranet.fabric import fabric_of
from broker.extranet.playing import Player
from providers.extranet import build
from providers.extranet.provider import Extranet
from providers.networking import SegmentSpec, Service
from tests.extranet import lab as laboratory
from tests.extranet.nodes import HOME, marked
from tests.extranet.product import Product, product

console = Console(stderr=True)

ALONE = {"small": 7, "full": 20}
CHANGES = 7
ROUTERS = {"dc": ("jyt", "3fff:122", 15_000), "yufeng": ("450200", "3fff:102", 25_000)}
"""Where sub-clouds meet the extranet: whose space there, its block, the first VNI."""
FIRST, SECOND = ROUTERS
FEW, FULL = 10, 1_000
STEPS = {"small": ((1, FEW), (1, FULL)), "full": ((1, FEW), (1, FULL), (2, FULL), (2, 2_000), (2, 3_000))}
"""Routers, and segments on each of them."""
MOST = 3_000
BATCH = 50
SEGMENT = {"kind": "segment", "name": "net", "zone": "shared"}
NEIGHBOUR = "bench-peer"
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
        with product() as running, _neighbour(running):
            found = _alone(running, ALONE[scale]) | _twenty(running)
            return found | _filling(running, scale, tidy=was_up)
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


@contextmanager
def _neighbour(running: Product) -> Iterator[None]:
    """A host of the shared zone in another city: the one that pings."""
    request = running.deliver("city", [SEGMENT])
    (attached,) = running.attached(request)
    running.lab.host(NEIGHBOUR, "city-450200", attached.vni)
    running.lab.wait_address(NEIGHBOUR)
    try:
        yield
    finally:
        running.lab.remove_host(NEIGHBOUR)
        running.release("city", request)


@dataclass(frozen=True, slots=True)
class _Watch:
    """One request's segment and the host that will stand on it; ``pause_s`` between two echoes.

    A process for each echo would take a core of the two when there are twenty: one asks until it is answered.
    """

    running: Product
    request: str
    host: str
    start: threading.Barrier
    pause_s: float

    def __call__(self) -> float:
        """Seconds from the start until a host on the segment answered the neighbour."""
        prefix = self.running.stack.scalar("SELECT prefix FROM broker.resource WHERE request_id = :r", r=self.request)
        self.start.wait()
        began = time.monotonic()
        self._await(IPv6Network(str(prefix)).network_address + 1, began + _PATIENCE_S)
        (attached,) = self.running.attached(self.request)
        self.running.lab.plug(self.host, "main", attached.vni)
        self._await(self.running.lab.wait_address(self.host), began + _PATIENCE_S)
        return time.monotonic() - began

    def _await(self, target: object, until: float) -> None:
        if not self.running.lab.wait_answer(NEIGHBOUR, target, until - time.monotonic(), every=self.pause_s):
            raise RuntimeError(f"{target} does not answer: {self.running.steps(self.request)}")


def _reach(running: Product, count: int) -> list[float]:
    """Order so many deliveries at once; how long each took until a host on its segment answered the neighbour."""
    requests = [running.submit("main", [SEGMENT]) for _ in range(count)]
    start, pause_s = threading.Barrier(count + 1), 0.05 if count == 1 else 0.2
    watches = [_Watch(running, r, f"bench-{n}", start, pause_s) for n, r in enumerate(requests)]
    for watch in watches:
        running.lab.boot_host(watch.host)
    with ThreadPoolExecutor(count) as pool:
        took = [pool.submit(watch) for watch in watches]
        start.wait()
        for request in requests:
            running.order("main", request)
    for watch in watches:
        state = running.settle(watch.request)
        if state != "delivered":
            raise RuntimeError(f"{state}: {running.steps(watch.request)}")
        running.lab.remove_host(watch.host)
    running.release("main", *requests)
    return [one.result() for one in took]


def _filling(running: Product, scale: str, *, tidy: bool) -> dict[str, float]:
    """Routers filled step by step; at each step one change at a time. ``tidy``: they are emptied again."""
    network = build(fabric_of(running.lab.topology), Player(HOME / "id", timeout_s=600))
    table = Table("routers", "segments each", "added/s", "change s", "routers' MiB")
    made: dict[str, int] = dict.fromkeys(ROUTERS, 0)
    found: dict[str, float] = {}
    for count, each in STEPS[scale]:
        began, before = time.monotonic(), sum(made.values())
        for router in list(ROUTERS)[:count]:
            _fill(network, router, made[router], each)
            made[router] = each
        rate = (sum(made.values()) - before) / (time.monotonic() - began)
        if (count, each) == (1, FULL):
            found |= _in_turns(network, made)
        change = statistics.median(_change(network, FIRST, number) for number in range(CHANGES))
        table.add_row(str(count), f"{each:,}", f"{rate:.1f}", f"{change:.2f}", f"{_memory_mib():,.0f}")
        found |= {f"added_per_s_{count}x{each}": rate, f"change_s_{count}x{each}": change}
    console.print(table)
    for router, most in made.items() if tidy else ():
        for start in range(0, most, BATCH):
            network.delete([_spec(router, n) for n in range(start, min(start + BATCH, most))])
    return found


def _in_turns(network: Extranet, made: dict[str, int]) -> dict[str, float]:
    """A change on a router with few segments and on one with many, in turns: a machine is not as fast all the time."""
    _fill(network, SECOND, made[SECOND], FEW)
    made[SECOND] = FEW
    few: list[float] = []
    full: list[float] = []
    for number in range(CHANGES):
        few.append(_change(network, SECOND, number))
        full.append(_change(network, FIRST, number))
    for each, took in ((FEW, few), (FULL, full)):
        console.print(f"change at {each:,}: " + " ".join(f"{t:.2f}" for t in took))
    return {"change_s_at_10_segments": statistics.median(few), "change_s_at_1k_segments": statistics.median(full)}


def _fill(network: Extranet, router: str, first: int, last: int) -> None:
    for start in range(first, last, BATCH):
        specs = [_spec(router, n) for n in range(start, min(start + BATCH, last))]
        wrong = {i: e for i, e in network.create(specs).items() if e is not None}
        if wrong:
            raise RuntimeError(str(wrong))


def _spec(router: str, number: int) -> SegmentSpec:
    unit, block, vni = ROUTERS[router]
    prefix = IPv6Network(f"{block}:{number + 16:x}::/64")
    ident = UUID(int=vni + number + (7 << 76))
    return SegmentSpec(ident, unit, "shared", prefix, router, vni + number, (Service("tcp", 443),))


def _memory_mib() -> float:
    """Resident memory of everything the laboratory runs: the routers' daemons, nearly all of it."""
    pages: int = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in marked())
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _change(network: Extranet, router: str, number: int) -> float:
    """How long it takes to make one more segment on a router; it is taken away again, which does not count."""
    spec: Sequence[SegmentSpec] = [_spec(router, MOST + number)]
    began = time.monotonic()
    network.create(spec)
    took = time.monotonic() - began
    network.delete(spec)
    return took

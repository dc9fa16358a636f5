"""A world with a real engine and real worker processes, which the tests start, kill and start again.

Called by: the tests of this folder. Must not: sleep without looking for something, or signal a stranger's process.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from sqlalchemy import text
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client

from broker.embedded.temporal import EmbeddedTemporal
from providers.contract import Kind
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.conftest import Database
from tests.stories import road
from tests.stories.world import MONDAY, Clock, World, make_world
from tests.workflows.killable_worker import CALLS, CONFIGURED

ROOT = Path(__file__).parents[2]
SETTLED = {"delivered", "partly_delivered", "needs_operator", "undelivered", "released", "approved"}
PATIENCE_S = 300.0
"""How long a busy machine may take; nothing waits that long when all is well."""
SHIFT = MONDAY - datetime.now(UTC)
"""The tests' clock runs, but on the Monday on which all stories begin."""


class RunningClock(Clock):
    """The real clock, set back to the stories' Monday."""

    def __call__(self) -> datetime:
        return datetime.now(UTC) + SHIFT


@dataclass
class Workshop:
    """A world whose machine steps are carried by worker processes."""

    world: World
    simulated: Database
    temporal: EmbeddedTemporal
    namespace: str
    home: Path
    way: str = "in-place"
    _workers: subprocess.Popen[bytes] | None = None

    @property
    def plans(self) -> Path:
        folder = self.home / "plans"
        folder.mkdir(exist_ok=True)
        return folder

    def plan_kill(self, request_id: UUID, step: str, point: str) -> None:
        """The worker dies at this point, once, when it carries this request."""
        beside = self.plans / f"{request_id}.new"  # a worker that looks at this moment finds all of it or nothing
        beside.write_text(f"{step} {point}")
        beside.rename(self.plans / str(request_id))

    def met(self, request_id: UUID, step: str, point: str) -> bool:
        """Whether the planned kill has happened."""
        return (self.plans / f"{request_id}.{step}.{point}").exists()

    def configured(self) -> set[str]:
        """The addresses of the servers that a playbook has run on."""
        return set((self.plans / CONFIGURED).read_text().split())

    def switched(self) -> Counter[tuple[UUID, str]]:
        """How often each server was told to start (``on``) or to stop (``off``)."""
        lines = [line.split() for line in (self.plans / CALLS).read_text().splitlines()]
        return Counter((UUID(server), to) for server, to in lines)

    def start_workers(self, count: int = 1, **settings: str) -> None:
        """Have ``count`` workers, with more settings if need be; one that dies is replaced."""
        assert self._workers is None
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "GUIYUN_HOME": str(self.home),
            "GUIYUN_DATABASE_URL": self.world.database.app_url,
            "GUIYUN_SIMULATED_DATABASE_URL": self.simulated.app_url,
            "GUIYUN_TEMPORAL_ADDRESS": self.temporal.address,
            "GUIYUN_TEMPORAL_NAMESPACE": self.namespace,
            "GUIYUN_DEMONSTRATION": "true",
            "GUIYUN_POOL_SIZE": "8",
            # Of another calendar they would count every window anew.
            "GUIYUN_HOLIDAYS_FILE": str(self.world.app.settings.holidays_file),
            **settings,
        }
        command = [sys.executable, "-m", "tests.workflows.killable_worker"]
        command += [str(self.plans), str(SHIFT.total_seconds()), self.way, str(count)]
        with (self.home / "worker.log").open("ab") as log:
            self._workers = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def kill_workers(self) -> None:
        """Kill -9; nobody replaces them."""
        if self._workers is not None:
            self._workers.kill()
            self._workers.wait()
            self._workers = None

    def stop_workers(self) -> None:
        """Ask them to stop."""
        if self._workers is not None:
            self._workers.terminate()
            try:
                self._workers.wait(60)
            except subprocess.TimeoutExpired:
                self.kill_workers()
            self._workers = None

    def slow_cloud(self, code: str, build_ms: int) -> None:
        """Servers of this cloud take their time; a worker that starts afterwards sees it."""
        with self.world.app.sessions.begin() as session:
            session.execute(
                text("UPDATE broker.sub_cloud SET options = options || CAST(:o AS jsonb) WHERE code = :c"),
                {"o": json.dumps({"build_ms": build_ms}), "c": code},
            )

    def only(self, code: str) -> None:
        """Retire all clouds but this one: a worker that starts has less to get ready."""
        with self.world.app.sessions.begin() as session:
            session.execute(text("UPDATE broker.sub_cloud SET retired_at = now() WHERE code <> :c"), {"c": code})

    def until(self, ready: Callable[[], bool], *, timeout_s: float = PATIENCE_S) -> None:
        """Look again and again until ``ready``. Fails with the end of the workers' log."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            assert time.monotonic() < deadline, f"not after {timeout_s} s: {self.states()}\n{self.last_words()}"
            time.sleep(0.05)

    def settle(self, requests: Collection[UUID], *, timeout_s: float = PATIENCE_S) -> None:
        """Until every request is where the machine has nothing more to do."""
        self.until(lambda: self._all_settled(requests), timeout_s=timeout_s)

    def _all_settled(self, requests: Collection[UUID]) -> bool:
        found = self.world.rows("SELECT state FROM broker.service_request WHERE id = ANY(:ids)", ids=list(requests))
        return {row.state for row in found} <= SETTLED

    def states(self) -> dict[str, int]:
        rows = self.world.rows("SELECT state, count(*) AS n FROM broker.service_request GROUP BY state")
        return {row.state: row.n for row in rows}

    def last_words(self) -> str:
        log = self.home / "worker.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-40:]) if log.exists() else ""


def make_workshop(
    both: tuple[Database, Database], temporal: EmbeddedTemporal, home: Path, *, way: str = "in-place"
) -> Workshop:
    """A world of its own in a namespace of its own."""
    region, simulated = both
    namespace = f"world-{region.name}"
    asyncio.run(register(temporal, namespace))
    world = make_world(region, simulated, home, clock=RunningClock())
    world.feel_well()  # the clock has run since this module was read: what the clouds said then may count no more
    return Workshop(world, simulated, temporal, namespace, home, way)


async def register(temporal: EmbeddedTemporal, namespace: str) -> None:
    """Make a namespace; it can be used a moment later."""
    client = await Client.connect(temporal.address)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(
            namespace=namespace,
            workflow_execution_retention_period=Duration(seconds=int(timedelta(days=1).total_seconds())),
        )
    )


ITEMS = [
    {"kind": "segment", "name": "net", "zone": "shared"},
    {"kind": "server", "name": "web", "count": 2, "vcpu": 2, "memory_gib": 4, "image": "openeuler-22.03-x86_64",
     "zone": "shared", "data_disks": [{"size_gib": 10}]},
    {"kind": "volume", "name": "backup", "size_gib": 10, "block_class": "hdd"},
]  # fmt: skip


def prepare(workshop: Workshop, *, without_backup: bool = False) -> UUID:
    """A request that waits for its order; without the spare disk if the cloud is to refuse that."""
    world = workshop.world
    request_id = road.submit(world, items=ITEMS)
    road.approve(world, request_id)
    road.assess(world, request_id)
    if without_backup:
        backup = "SELECT id FROM broker.resource WHERE request_id = :r AND name = 'backup'"
        object_id = world.scalar(backup, r=request_id)
        faults.inject(world.clouds_url, Fault("jyt", "create", Kind.VOLUME, Mode.REFUSE, object_id=object_id))
    return request_id

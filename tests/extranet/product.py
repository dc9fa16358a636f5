"""The whole product on the laboratory's routers: people act through the public API, a worker process carries.

Called by: ``test_road`` and ``benchmarks.extranet``. Must not: call a step or a provider itself.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.road import form
from benchmarks.stack import Client, Stack, running
from tests.extranet import lab as laboratory
from tests.extranet.lab import Lab
from tests.extranet.nodes import HOME

CAST = {
    "main": ("apply.chongzuo", "approve.1", "assess.1", "deliver.1", "451400", "cz-kajy"),
    "city": ("apply.liuzhou", "approve.liuzhou", "assess.liuzhou", "deliver.liuzhou", "450200", "lz-12345"),
}
SETTLED = {"delivered", "partly_delivered", "needs_operator", "undelivered", "released"}

_ATTACHED = """
SELECT r.id, r.number, a.vrf, a.router, a.vni, CAST(a.prefix AS text) AS prefix, a.verified_at
FROM broker.resource r JOIN broker.segment_attachment a ON a.resource_id = r.id
WHERE r.request_id = :request ORDER BY r.id
"""


@dataclass(slots=True)
class Product:
    """A running product, and its people."""

    stack: Stack
    lab: Lab
    _clients: dict[str, Client] = field(default_factory=dict)

    def of(self, login: str) -> Client:
        if login not in self._clients:
            self._clients[login] = self.stack.client(login)
        return self._clients[login]

    def submit(self, cast: str, items: Sequence[Mapping[str, Any]]) -> str:
        """Submit, approve and assess a request; its prefix is held now."""
        applicant, approver, assessor, _, unit, system = CAST[cast]
        body = {**form(unit, system, 1), "items": list(items)}
        made = self.of(applicant).call("POST", "/api/v1/requests", body)
        at, seen = f"/api/v1/requests/{made['id']}", made["revision"]
        self.of(approver).call("POST", f"{at}/approval", {"decision": "approve", "revision": seen})
        self.of(assessor).call("POST", f"{at}/assessment", {"decision": "confirm", "revision": seen})
        return str(made["id"])

    def order(self, cast: str, request: str) -> None:
        self.of(CAST[cast][3]).call("POST", f"/api/v1/requests/{request}/delivery", {})

    def deliver(self, cast: str, items: Sequence[Mapping[str, Any]]) -> str:
        """A request carried to the end of its delivery."""
        request = self.submit(cast, items)
        self.order(cast, request)
        state = self.settle(request)
        assert state == "delivered", (state, self.steps(request))
        return request

    def release(self, cast: str, *requests: str) -> None:
        """Give back, confirm, and wait until it is done."""
        for request in requests:
            asked = self.of(CAST[cast][0]).call("POST", f"/api/v1/requests/{request}/release", {"reason": "系统下线"})
            for one in asked:
                self.of(CAST[cast][3]).call("POST", f"/api/v1/releases/{one['id']}/confirmation", {})
        for request in requests:
            state = self.settle(request, {"released"})
            assert state == "released", (state, self.steps(request))

    def settle(self, request: str, states: set[str] = SETTLED, seconds: float = 600) -> str:
        """Where the request is once the machine has nothing more to do."""
        until = time.monotonic() + seconds
        while (state := self.state(request)) not in states and time.monotonic() < until:
            time.sleep(0.05)
        return state

    def state(self, request: str) -> str:
        return str(self.stack.scalar("SELECT state FROM broker.service_request WHERE id = :id", id=request))

    def attached(self, request: str) -> list[Any]:
        """Where a request's segments are, or were, attached."""
        with self.stack.superuser.connect() as connection:
            return list(connection.execute(text(_ATTACHED), {"request": request}).all())

    def steps(self, request: str) -> list[Any]:
        """What the machine did, for a test that has to say what went wrong."""
        sql = "SELECT name, run, attempts, state, detail FROM broker.delivery_step WHERE request_id = :r ORDER BY id"
        with self.stack.superuser.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql), {"r": request})]

    def guiyun(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of an operator's on the broker's machine."""
        program = str(Path(sys.executable).parent / "guiyun")
        command = [program, *words]
        return subprocess.run(command, env=dict(self.stack.environment), check=False, capture_output=True, text=True)

    def another_worker(self) -> subprocess.Popen[bytes]:
        """One in the place of one that was killed."""
        program = str(Path(sys.executable).parent / "guiyun")
        quiet = subprocess.DEVNULL
        return subprocess.Popen([program, "work"], env=dict(self.stack.environment), stdout=quiet, stderr=quiet)


@contextmanager
def product() -> Iterator[Product]:
    """The product with the laboratory's topology loaded; needs the laboratory to be up."""
    lab = laboratory.current()
    assert lab is not None
    with running(extranet_key_file=HOME / "id") as stack:
        program = str(Path(sys.executable).parent / "guiyun")
        load = [program, "extranet", "load", str(HOME / "topology.yaml")]
        subprocess.run(load, env=dict(stack.environment), check=True, capture_output=True)
        made = Product(stack, lab)
        yield made
        for client in made._clients.values():
            client.close()

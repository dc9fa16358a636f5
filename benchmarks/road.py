"""Requests carried down the whole road per second, what each costs, and how quick a list of 100,000 is.

Goals: at least 10 requests/s, at most 60 statements a request, a list page within 20 ms and a constant number of
statements. For scale, on two cores of another day: Waldur (Oct. 2024) carried 1.6-2.9 orders/s with 393 statements each
and listed a page of 10 in 150-190 ms with 135 statements.

One request is a segment and a server with a data disk, on simulated clouds without latency. Its people act at once,
through the public API, each with a token of his own; one API process, one worker process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import local
from typing import Any

from rich.console import Console
from sqlalchemy import text

from benchmarks.stack import Client, Stack, running
from broker.request.facts import LOCAL

console = Console(stderr=True)

SIZES = {"small": 200, "full": 1000}
PEOPLE_AT_ONCE = 8
ROWS = 100_000
# Applicant, approver, assessor, operator; unit, information system: two industry clouds, a city cloud, the main cloud.
CAST = (
    ("apply.jyt", "approve.jyt", "assess.jyt", "deliver.jyt", "jyt", "jyt-xjgl"),
    ("apply.rst", "approve.rst", "assess.rst", "deliver.rst", "rst", "rst-sbk"),
    ("apply.liuzhou", "approve.liuzhou", "assess.liuzhou", "deliver.liuzhou", "450200", "lz-12345"),
    ("apply.chongzuo", "approve.1", "assess.1", "deliver.1", "451400", "cz-kajy"),
)

_DELIVERED = """
SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM h.handed_over_at - r.submitted_at))
FROM broker.handover h JOIN broker.service_request r ON r.id = h.request_id
"""
_MANY = """
INSERT INTO broker.service_request (id, number, unit_id, applicant_id, state, version, purpose, system_id,
  target_cloud_id, deciding_unit_id, assessing_unit_id, delivering_unit_id, due_at, created_at, submitted_at)
SELECT gen_random_uuid(), 'GX-2020-' || lpad(CAST(n AS text), 6, '0'), r.unit_id, r.applicant_id,
  (ARRAY['submitted', 'approved', 'delivered', 'refused'])[1 + n % 4], 1, '历史申请 ' || n, r.system_id,
  r.target_cloud_id, r.deciding_unit_id, r.assessing_unit_id, r.delivering_unit_id,
  now() + n * interval '1 second', now(), now()
FROM generate_series(1, CAST(:rows AS int)) n
JOIN LATERAL (SELECT * FROM broker.service_request ORDER BY id OFFSET n % CAST(:kinds AS int) LIMIT 1) r ON true
"""


def form(unit: str, system: str, number: int) -> dict[str, Any]:
    """A segment, and a server with a data disk."""
    today = datetime.now(LOCAL).date()
    return {
        "unit": unit,
        "system": system,
        "purpose": f"基准测试申请 {number}",
        "contact": {"name": "测试", "phone": "0771-5815001"},
        "expected_users": 100,
        "start_date": today.isoformat(),
        "end_date": (today + timedelta(days=365)).isoformat(),
        "funding_source": "测试经费",
        "nature": "new",
        "classified": False,
        "document_number": "测〔2026〕1号",
        "ssh_public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGK0mQ1rX1mYQG1n1x2xkq3oY9dQxVbV1s6v3X5k9PqE bench",
        "items": [
            {"kind": "segment", "name": "net", "zone": "shared"},
            {
                "kind": "server",
                "name": "web",
                "vcpu": 2,
                "memory_gib": 4,
                "image": "openeuler-22.03-x86_64",
                "zone": "shared",
                "data_disks": [{"size_gib": 50}],
            },
        ],
    }


class People:
    """Each thread keeps a connection of its own for each person."""

    def __init__(self, stack: Stack) -> None:
        self.tokens = {login: stack.client(login).token for cast in CAST for login in cast[:4]}
        self.port = stack.port
        self.mine = local()

    def of(self, login: str) -> Client:
        if not hasattr(self.mine, "clients"):
            self.mine.clients = {}
        clients: dict[str, Client] = self.mine.clients
        return clients.setdefault(login, Client(self.port, self.tokens[login]))

    def carry(self, number: int) -> float:
        """Submit, approve, assess and order one request; returns how long the submission took."""
        applicant, approver, assessor, operator, unit, system = CAST[number % len(CAST)]
        began = time.perf_counter()
        made = self.of(applicant).call("POST", "/api/v1/requests", form(unit, system, number))
        took = time.perf_counter() - began
        at = f"/api/v1/requests/{made['id']}"
        self.of(approver).call("POST", f"{at}/approval", {"decision": "approve", "revision": made["revision"]})
        self.of(assessor).call("POST", f"{at}/assessment", {"decision": "confirm", "revision": made["revision"]})
        self.of(operator).call("POST", f"{at}/delivery", {})
        return took


def run(scale: str) -> Mapping[str, float | int]:
    """Measure the road and the list."""
    with running() as stack:
        people = People(stack)
        warm = len(CAST) * 4
        _carry_all(stack, people, range(warm), delivered=warm)
        return _road(stack, people, SIZES[scale], warm) | _lists(stack)


def _carry_all(stack: Stack, people: People, numbers: range, *, delivered: int, deadline_s: float = 600) -> list[float]:
    """Carry requests and wait until all of them are delivered; returns how long each submission took."""
    with ThreadPoolExecutor(PEOPLE_AT_ONCE) as pool:
        took = list(pool.map(people.carry, numbers))
    ends_at = time.monotonic() + deadline_s
    while stack.scalar("SELECT count(*) FROM broker.service_request WHERE state = 'delivered'") < delivered:
        if time.monotonic() > ends_at:
            raise TimeoutError("not everything was delivered")
        time.sleep(0.05)
    return took


def _road(stack: Stack, people: People, count: int, warm: int) -> dict[str, float | int]:
    statements, cpu, began = stack.statements(), stack.cpu_seconds(), time.perf_counter()
    with stack.superuser.begin() as connection:
        connection.exec_driver_sql("TRUNCATE broker.handover")
    took = _carry_all(stack, people, range(warm, warm + count), delivered=warm + count)
    seconds = time.perf_counter() - began
    used = {name: value - cpu.get(name, 0.0) for name, value in stack.cpu_seconds().items()}
    p50, p99 = stack.scalar(_DELIVERED)
    console.print("CPU, ms a request: " + ", ".join(f"{n} {1000 * s / count:.0f}" for n, s in sorted(used.items())))
    return {
        "requests_per_s": count / seconds,
        "submit_p99_s": statistics.quantiles(took, n=100)[98],
        "delivered_p50_s": float(p50),
        "delivered_p99_s": float(p99),
        "statements_per_request": (stack.statements() - statements) / count,
    }


def _lists(stack: Stack) -> dict[str, float | int]:
    with stack.superuser.begin() as connection:
        connection.exec_driver_sql("SET session_replication_role = replica")  # no notices for rows nobody waits for
        connection.execute(text(_MANY), {"rows": ROWS, "kinds": len(CAST) * 4})
        connection.exec_driver_sql("SET session_replication_role = DEFAULT")
    with stack.superuser.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE broker.service_request")
    found: dict[str, float | int] = {}
    worst = 0.0
    for login in ("apply.jyt", "approve.1", "audit"):
        client = stack.client(login)
        times = []
        for _ in range(40):
            began = time.perf_counter()
            client.call("GET", "/api/v1/requests?limit=10")
            times.append(time.perf_counter() - began)
        console.print(f"list of {login}: p50 {1000 * statistics.median(times):.1f} ms")
        worst = max(worst, statistics.median(times))
    found["list_p50_s_at_100k"] = worst
    client = stack.client("audit")
    for limit in (10, 100):
        before = stack.scalar(_LISTS)
        for _ in range(10):
            client.call("GET", f"/api/v1/requests?limit={limit}")
        found[f"list_statements_page_{limit}"] = (stack.scalar(_LISTS) - before) / 10
    return found


_LISTS = """
SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid
WHERE r.rolname = 'guiyun_app' AND (query LIKE '%service_request%' OR query LIKE '%api_token%')
  AND query LIKE 'SELECT%'
"""

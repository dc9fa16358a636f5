"""The detection of a world's days: two servers, their disks, a spare disk and a segment, and policies of our own.

Called by: ``test_detection``, ``test_seen``. Must not: replace any of our own code.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from broker.utilisation import detection, findings, service
from broker.utilisation.collectors import Bench
from broker.utilisation.findings import Finding, FindingKind
from providers.simulated import faults
from tests.broker.utilisation.files import hours, row, write_csv
from tests.stories.world import MONDAY, World

ZONE = ZoneInfo("Asia/Shanghai")


POLICIES = """
version: test-1
policies:
  - {name: idle, kind: server, days: 5, when: {all: [{metric: cpu_avg_pct, daily: mean, below: 5}]}, exempt: [kept]}
  - {name: off-measured, kind: server, days: 5, when: {all: [{metric: vcpu, daily: max, below: 1}]}}
  - {name: off, seen: stopped, days: 3}
  - {name: loose-volume, seen: unattached, days: 4, exempt: [kept]}
  - {name: empty, seen: empty, days: 4}
  - {name: loose-address, seen: unbound, days: 2}
  - {name: old-snapshot, seen: unused, days: 2}
exemptions:
  - {name: kept, reason: 灾备, resources: [%s]}
"""


_YEARS = itertools.count(1000, 1000)


class Desk:
    """A world with two servers, their disks, a spare disk and a segment, and the detection of its days."""

    def __init__(self, world: World, policies: Path) -> None:
        self.world, self.policies = world, policies
        found = world.rows("SELECT id, number, name, kind, project_id, sub_cloud_id FROM broker.resource ORDER BY id")
        self.servers = [r for r in found if r.kind == "server"]
        self.spare = next(r for r in found if r.name == "backup")
        self.segment = next(r for r in found if r.kind == "segment")
        self.exempt()

    def exempt(self, *numbers: str) -> None:
        self.policies.write_text(POLICIES % ", ".join(numbers))

    def detect(self, *, days: int = 0) -> dict[str, Any]:
        """What the machine does on the day ``days`` later, at its hour."""
        self.world.clock.forward(days=days)
        with self.world.app.works.begin() as work:
            errand = detection.today(work)
        app = self.world.app
        assert detection.detect(Bench(app.works, app.settings, app.providers), errand)
        return dict(self.world.scalar("SELECT outcome FROM broker.idle_scan ORDER BY day DESC LIMIT 1"))

    def open(self, kind: FindingKind) -> list[Finding]:
        with self.world.app.sessions() as session:
            return findings.current(session, kinds=[kind])

    def only(self, kind: FindingKind) -> Finding:
        (found,) = self.open(kind)
        return found

    def ended(self, finding: Finding) -> str | None:
        with self.world.app.sessions() as session:
            return findings.finding(session, finding.id).cleared_because

    def measure(self, number: str, days: int, folder: Path, until: datetime | None = None, **values: str) -> None:
        """Samples of whole days up to the midnight before now."""
        end = (until or self.world.clock()).astimezone(ZONE).replace(hour=0, minute=0)
        samples = [
            row(number, at, **values) for at in hours(end.astimezone(MONDAY.tzinfo) - timedelta(days=days), 24 * days)
        ]
        service.import_file(self.world.app.settings, write_csv(folder / "m.csv", samples), self.world.clock())

    def state(self, state: str) -> None:
        """The first server's, as a case's suspension sets it."""
        with self.world.app.sessions.begin() as session:
            statement = text("UPDATE broker.resource SET state = :s WHERE id = :id")
            session.execute(statement, {"s": state, "id": self.servers[0].id})

    @property
    def today(self) -> date:
        return self.world.clock().astimezone(ZONE).date()


@pytest.fixture
def desk(measured: World) -> Iterator[Desk]:
    """Nothing has been found, nothing measured, and it is the Monday of all stories."""
    world = measured
    assert world.app.settings.idle_policy_file is not None
    yield Desk(world, world.app.settings.idle_policy_file)
    world.clock.now = MONDAY
    faults.clear(world.clouds_url)
    for path in (world.app.settings.home / "utilisation").glob("hourly/*/*.parquet"):
        path.unlink()
    with world.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.idle_finding SET cleared_at = now(), cleared_because = 'gone'"))
        old = "UPDATE broker.idle_scan SET day = day - CAST(:n AS int), finished_at = now() WHERE day > '2026-01-01'"
        session.execute(text(old), {"n": next(_YEARS)})

"""Finds rows that want acting on and dates that have come, and sets things in motion.

Called by: the worker's main loop; services nudge it after their commit (a lost nudge costs a second, nothing more).
Must not: act itself: a row is carried by a workflow whose id is the row's, a date by the service that owns it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import structlog
from sqlalchemy import literal, select, text, union_all
from sqlalchemy.orm import Session
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from broker.assessment import letting_go
from broker.audit import seal
from broker.bootstrap import App
from broker.catalog.models import SubCloud
from broker.db import idempotency
from broker.dedicated import stops
from broker.delivery.models import Delivery
from broker.delivery.values import Job
from broker.lifecycle import CASE_MACHINE, CaseState
from broker.reclamation import dates as case_dates
from broker.reclamation import policies, terms, unpublished
from broker.reclamation.models import ReclaimCase, Release
from broker.reclamation.values import CaseJob
from broker.region import calendars
from broker.reorganisation import units
from broker.request import clocks
from broker.scarcity import claims, notices
from broker.tenancy import service as accounts
from broker.tenancy.work import Work
from broker.utilisation import collectors, detection
from broker.utilisation.collectors import Errand
from broker.workflows import reminders
from broker.workflows.fulfil import Fulfil
from broker.workflows.measure import Collect, Detect
from broker.workflows.orders import MEASURING, CaseOrder, MeasureOrder, Order, queue_of
from broker.workflows.reclaim import Resume, Suspend, TakeBack
from broker.workflows.release import GiveBack

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 15.0
"""A row that was handed to the engine is not looked at again before this (the engine may have lost it)."""

_DATES_LOCK = 0x6461_7465
_DATES_EVERY_S = 20.0
_SEAL_EVERY_S = 1.0
_CASES_EVERY_S = 300.0
_NETWORKS_EVERY_S = 600.0
_UNITS_EVERY_S = 600.0


@dataclass(frozen=True, slots=True)
class Wanting:
    """A row that wants acting on."""

    kind: str
    job: Job

    @property
    def workflow_id(self) -> str:
        """The id *is* the row's (and its run's), so that nothing is started twice."""
        return f"{self.kind}/{self.job.id}/{self.job.run}"

    def order(self, heartbeat_s: float) -> Order:
        """What its workflow is given."""
        return Order(self.job, heartbeat_s)

    @property
    def queue(self) -> str:
        """One a sub-cloud: a dead cloud takes no one else's workers."""
        return queue_of(self.job.sub_cloud)


@dataclass(frozen=True, slots=True)
class Due:
    """A row of measuring whose date has come."""

    kind: str
    job: Errand

    queue = MEASURING

    @property
    def workflow_id(self) -> str:
        """As above."""
        return f"{self.kind}/{self.job.id}/{self.job.run}"

    def order(self, heartbeat_s: float) -> MeasureOrder:
        """What its workflow is given."""
        return MeasureOrder(self.job, heartbeat_s)


@dataclass(frozen=True, slots=True)
class CaseWanting:
    """A reclaim case whose next act is the machine's."""

    kind: str
    job: CaseJob

    @property
    def workflow_id(self) -> str:
        """As above."""
        return f"{self.kind}/{self.job.id}/{self.job.run}"

    @property
    def queue(self) -> str:
        """Its sub-cloud's."""
        return queue_of(self.job.sub_cloud)

    def order(self, heartbeat_s: float) -> CaseOrder:
        """What its workflow is given."""
        return CaseOrder(self.job, heartbeat_s)


AnyWanting = Wanting | CaseWanting | Due


@dataclass(slots=True)
class Dispatch:
    """One loop for each worker process; several may run, and start nothing twice."""

    app: App
    client: Client
    heartbeat_s: float
    _started: dict[str, float] = field(default_factory=dict)
    _dates_at: float = 0.0
    _sealed_at: float = 0.0
    _cases_at: float = -_CASES_EVERY_S
    _networks_at: float = -_NETWORKS_EVERY_S
    _units_at: float = -_UNITS_EVERY_S

    async def round(self) -> int:
        """Start what wants acting on; look at the dates now and then. Returns how many workflows were started."""
        started = await self._start(await asyncio.to_thread(self._look))
        if monotonic() - self._sealed_at > _SEAL_EVERY_S:
            self._sealed_at = monotonic()
            await asyncio.to_thread(self.seal)
        if monotonic() - self._dates_at > _DATES_EVERY_S:
            self._dates_at = monotonic()
            await asyncio.to_thread(self.dates)
        if monotonic() - self._units_at > _UNITS_EVERY_S:
            self._units_at = monotonic()
            await asyncio.to_thread(units.come, self.app.works)
        return started

    def _look(self) -> list[AnyWanting]:
        with self.app.sessions() as session:
            return [*wanting(session), *cases_wanting(session), *measuring(session, self.app.clock())]

    async def _start(self, rows: Iterable[AnyWanting]) -> int:
        now, started = monotonic(), 0
        self._started = {k: t for k, t in self._started.items() if now - t < LOOK_AGAIN_S}
        waiting = [row for row in rows if row.workflow_id not in self._started]
        for row, done in zip(waiting, await asyncio.gather(*map(self._start_one, waiting)), strict=True):
            if done:
                self._started[row.workflow_id] = now
                started += 1
        return started

    async def _start_one(self, row: AnyWanting) -> bool:
        try:
            await self.client.start_workflow(
                WORKFLOWS[row.kind],
                row.order(self.heartbeat_s),
                id=row.workflow_id,
                task_queue=row.queue,
                task_timeout=timedelta(seconds=self.heartbeat_s),
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
            )
        except WorkflowAlreadyStartedError:
            # Its workflow is closed and said that all was well; then the row should say so too.
            log.warning("row still wants acting on after its workflow", workflow=row.workflow_id)
        return True

    def dates(self) -> None:
        """Dates that have come: expired holds, clocks that run out or have run out, a new year's days, quotas."""
        with self.app.works.begin() as work:  # of its own, for nobody counts meanwhile
            expired = letting_go.expire_holds(work) if _mine(work) else 0
        with self.app.works.begin() as work:
            if not _mine(work):
                return
            calendars.note(work)
            recomputed = clocks.recompute_all(work)
            told = reminders.remind(work) + unpublished.tell(work)
            cases = case_dates.come(work) + self._new_cases(work)
            collectors.make(work)
            detection.make(work)
            full = notices.tell(work, percent=self.app.settings.quota_notice_percent)
            claimed = claims.look(work)
            accounts.forget_old_attempts(work.session, work.now)
            idempotency.forget(work.session, work.now)
            happened = {"expired_holds": expired, "recomputed_clocks": recomputed, "reminders": told, "quotas": full}
            happened |= {"reclaim_cases": cases, "claims": claimed, "networks": self._late_networks(work)}
            if any(happened.values()):
                log.info("dates", **happened)

    def _late_networks(self, work: Work) -> int:
        """Dedicated networks behind their plans: their days end at a close of business, a look now and then will do."""
        if monotonic() - self._networks_at < _NETWORKS_EVERY_S:
            return 0
        self._networks_at = monotonic()
        passed = stops.come(work, report_workdays=self.app.settings.network_report_workdays)
        return passed.noticed + passed.stopped + passed.lifted

    def _new_cases(self, work: Work) -> int:
        """Now and then: what policies that are on found, and terms that come to their end."""
        if monotonic() - self._cases_at < _CASES_EVERY_S:
            return 0
        self._cases_at = monotonic()
        return policies.take_up(work, self.app.settings) + terms.come(work)

    def seal(self) -> None:
        """Chain the audit events that were committed since."""
        with self.app.sessions.begin() as session:
            while seal.seal(session) == seal.BATCH:
                pass


def _mine(work: Work) -> bool:
    """Whether no other worker looks at dates at this moment."""
    return bool(work.session.scalar(text("SELECT pg_try_advisory_xact_lock(:k)"), {"k": _DATES_LOCK}))


WORKFLOWS: dict[str, Any] = {
    "fulfil": Fulfil.run,
    "release": GiveBack.run,
    "suspend": Suspend.run,
    "resume": Resume.run,
    "take_back": TakeBack.run,
    "collect": Collect.run,
    "detect": Detect.run,
}
_ACT = {CaseState.RESUMING.value: "resume", CaseState.RELEASING.value: "take_back"}
"""Which workflow a case's state asks for; the others are on the way to a suspension."""


def cases_wanting(session: Session) -> list[CaseWanting]:
    """Reclaim cases that the machine has to carry on, oldest first."""
    rows = session.execute(
        select(ReclaimCase.id, ReclaimCase.run, ReclaimCase.state, SubCloud.code)
        .join(SubCloud, SubCloud.id == ReclaimCase.sub_cloud_id)
        .where(ReclaimCase.state.in_(sorted(CASE_MACHINE)), ReclaimCase.trouble.is_(None))
        .order_by(ReclaimCase.ordered_at)
        .limit(500)
    )
    return [CaseWanting(_ACT.get(row.state, "suspend"), CaseJob(row.id, row.run, row.code)) for row in rows]


def measuring(session: Session, now: datetime) -> list[Due]:
    """Collectors whose date has come, and the day's detection."""
    found = [Due("collect", errand) for errand in collectors.due(session, now)]
    return found + [Due("detect", errand) for errand in detection.due(session, now)]


def wanting(session: Session) -> list[Wanting]:
    """Deliveries and releases that are queued or on their way, oldest first."""
    parts = [
        select(literal(kind).label("kind"), table.id, table.run, table.request_id, SubCloud.code, since.label("since"))
        .join(SubCloud, SubCloud.id == table.sub_cloud_id)
        .where(table.state.in_(("queued", "running")))
        for kind, table, since in (
            ("fulfil", Delivery, Delivery.queued_at),
            ("release", Release, Release.confirmed_at),
        )
    ]
    both = union_all(*parts).subquery()
    rows = session.execute(select(both).order_by(both.c.since).limit(500))
    return [Wanting(row.kind, Job(row.id, row.run, row.request_id, row.code)) for row in rows]

"""A real worker that kills itself, once, at a chosen point of a chosen step: what a power cut would do.

Started by ``tests.workflows.harness`` as a process of its own: ``python -m tests.workflows.killable_worker PLANS SHIFT
WAY COUNT``. It keeps COUNT workers running, as a supervisor would; they are forked, so that a new one need not import
everything first, and they end when it ends, however it ends.

PLANS is a folder with a file for each request that is to meet a kill: its name is the request's id, its content ``STEP
POINT``. Before it dies the worker renames the file, so that it dies there once. SHIFT is by how many seconds the test's
clock is ahead. WAY is ``in-place``, or ``beating``: no step is through at its first look.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from broker import bootstrap
from broker.delivery.values import Job
from broker.reclamation import dates
from broker.reclamation.values import CaseJob
from broker.settings import Settings
from broker.telemetry import configure_logging
from broker.tenancy.work import Work, WorkFactory
from broker.workflows import worker
from broker.workflows.case_steps import CaseSteps
from broker.workflows.steps import Steps
from broker.workflows.worker import Dials

DIALS = Dials(heartbeat_s=1.5, sticky_s=1.0)
IN_DATABASE = {"pin_hold", "hand_over", "last_reading", "give_back", "break_off"}
IN_DATABASE |= {"suspended", "resumed", "case_last_reading", "case_give_back", "break_case_off"}
CONFIGURED = "configured"
"""The file beside the plans that names the addresses of the servers a playbook has run on."""
PR_SET_PDEATHSIG = 1
TELLING = "tell uncommitted"
"""The plan of a case whose owner is to be told."""
CALLS = "calls"
"""The file beside the plans that names each order to start or to stop a server: its id, on or off."""
_MUTATING = {"create", "change", "delete", "prune", "power"}


class Fuse:
    """The plan for the request that this thread carries at this moment."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.step, self.point = file.read_text().split()

    def mark(self, what: str) -> Path:
        """The file that says so for every later attempt, be it in this process or in the next."""
        return self.file.with_name(f"{self.file.name}.{self.step}.{what}")

    def begun_before(self) -> bool:
        """Whether an earlier attempt was in this step: it died of another's plan, or asked for another attempt."""
        earlier = self.mark("begun").exists()
        self.mark("begun").touch()
        return earlier

    @property
    def has_acted(self) -> bool:
        """Whether this attempt or an earlier one has done something outside the database."""
        return self.mark("has_acted").exists()

    def at(self, point: str) -> None:
        """Die here if this is the point."""
        if point == self.point:
            self.file.rename(self.mark(self.point))
            os.kill(os.getpid(), signal.SIGKILL)


_lit = threading.local()


def _fuse() -> Fuse | None:
    return getattr(_lit, "fuse", None)


def acted() -> None:
    """Something outside the database has just been done."""
    fuse = _fuse()
    if fuse is not None:
        fuse.mark("has_acted").touch()
        fuse.at("acted_once")


class DeadlyProvider:
    """A provider whose caller may die right after the cloud has acted. It says that its guests can be reached."""

    def __init__(self, provider: Any, plans: Path) -> None:
        self._provider = provider
        self._calls = plans / CALLS
        self.capabilities = replace(provider.capabilities, guest_reachable=True)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._provider, name)
        if name not in _MUTATING:
            return attribute

        @functools.wraps(attribute)
        def call(*arguments: Any, **named: Any) -> Any:
            answer = attribute(*arguments, **named)
            if name == "power":
                with self._calls.open("a") as file:
                    file.write(f"{arguments[0].id} {'on' if named['on'] else 'off'}\n")
            acted()
            return answer

        return call


class DeadlyPlaybook:
    """Stands for Ansible at the wire, since a simulated server has no guest: writes down which addresses it configured.

    Its caller may die after the first server.
    """

    def __init__(self, plans: Path) -> None:
        self._configured = plans / CONFIGURED

    def __call__(self, hosts: Mapping[str, str]) -> Mapping[str, str]:
        for address in hosts:
            with self._configured.open("a") as file:
                file.write(f"{address}\n")
            acted()
        return {}


class DeadlyWorks:
    """Transactions before which, or in which, their process may die."""

    def __init__(self, works: WorkFactory) -> None:
        self._works = works

    @contextlib.contextmanager
    def begin(self, *arguments: Any, **named: Any) -> Iterator[Work]:
        fuse = _fuse()
        if fuse is not None and fuse.has_acted:
            fuse.at("acted")
        with self._works.begin(*arguments, **named) as work:
            yield work
            if fuse is not None:
                work.session.flush()
                fuse.at("uncommitted")


def deadly(step: Callable[..., Any], plans: Path, way: str) -> Callable[..., Any]:
    """The step, with a fuse in it."""
    name = step.__name__

    @functools.wraps(step)
    def run(*arguments: Any) -> Any:
        if way == "beating" and name not in IN_DATABASE and activity.info().is_local:
            raise ApplicationError("not at the first look", category=ApplicationErrorCategory.BENIGN)
        job: Job | CaseJob = arguments[0].job
        file = plans / str(job.request_id if isinstance(job, Job) else job.id)
        fuse = Fuse(file) if file.exists() else None
        if fuse is None:
            return step(*arguments)
        if fuse.step != name:
            answer = step(*arguments)
            if answer is False and fuse.mark("begun").exists():
                fuse.at("done")  # another's plan ended the life that did it: the row has moved on, it comes no more
            return answer
        _lit.fuse = fuse
        try:
            fuse.at("before")
            earlier = fuse.begun_before()
            answer = step(*arguments)
            if earlier and fuse.point in {"acted_once", "acted"}:
                fuse.at(fuse.point)  # the earlier attempt has acted, and ended before it could die of this plan
            fuse.at("done")
        finally:
            _lit.fuse = None
        return answer

    definition = "__temporal_activity_definition"
    setattr(run, definition, getattr(step, definition))
    return run


def telling(come: Callable[[Work], int], plans: Path, work: Work) -> int:
    """The dates of reclaim cases; its process may die when owners have been told and nothing is committed yet."""
    moved = come(work)
    work.session.flush()
    for file in plans.iterdir():
        if file.suffix == "" and file.read_text() == TELLING:
            Fuse(file).at("uncommitted")
    return moved


def work(plans: Path, shift: timedelta, way: str) -> None:
    """One worker, until it is stopped or dies."""
    all_steps = worker.all_steps

    def all_deadly(steps: Steps | CaseSteps) -> list[Callable[..., Any]]:
        tools = steps.tools
        if not isinstance(tools.works, DeadlyWorks):  # all clouds' workers share them
            works: Any = DeadlyWorks(tools.works)
            steps.tools = replace(
                tools,
                works=works,
                providers=lambda code: DeadlyProvider(tools.providers(code), plans),
                harden=DeadlyPlaybook(plans),
            )
        return [deadly(step, plans, way) for step in all_steps(steps)]

    worker.all_steps = all_deadly
    dates.come = functools.partial(telling, dates.come, plans)
    on_our_clock = functools.partial(bootstrap.build, clock=lambda: datetime.now(UTC) + shift)
    setattr(bootstrap, "build", on_our_clock)  # noqa: B010  # mypy knows that nobody should
    settings = Settings()
    configure_logging(settings)
    worker.main(settings, DIALS)


def fork(*what: Any) -> int:
    """A child that works, and is killed when its parent ends."""
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() == parent:
            try:
                work(*what)
            except Exception:  # noqa: BLE001  # a child must not go on as its parent
                traceback.print_exc()
        os._exit(0)
    return child


def main() -> None:
    what = Path(sys.argv[1]), timedelta(seconds=float(sys.argv[2])), sys.argv[3]
    children: set[int] = set()

    def stop(*_: object) -> None:
        for child in children:
            os.kill(child, signal.SIGTERM)
        while children:
            children.discard(os.wait()[0])
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    while True:
        while len(children) < int(sys.argv[4]):
            children.add(fork(*what))
        children.discard(os.wait()[0])


if __name__ == "__main__":
    main()

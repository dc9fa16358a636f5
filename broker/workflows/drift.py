"""Compares every sub-cloud with the rows, now and then, objects and totals; what differs is told to its operators.

Called by: the worker, every hour. Must not: correct anything in a cloud, or let one dead cloud hold up the others. What
of ours is missing on the extranet's routers is brought back (a router that was rebooted); a server of a suspended case
that runs is charged for from then on, one that is gone no longer.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import structlog

from broker.bootstrap import App
from broker.catalog import repository as catalog
from broker.delivery import capacity
from broker.delivery.reconcile import reconcile
from broker.extranet import drift, telling
from broker.reclamation import missing, started
from providers.errors import ProviderError

log = structlog.get_logger(__name__)

_ROUTERS = "/routers"
"""Beside the sub-clouds' codes, none of which has a slash."""


@dataclass(slots=True)
class DriftCheck:
    """One thread for each cloud at most; several workers may compare, each difference is told once."""

    app: App
    pool: ThreadPoolExecutor
    _comparing: dict[str, Future[None]] = field(default_factory=dict)

    def compare_all(self) -> None:
        """Start comparing each sub-cloud whose last comparison has come to its end."""
        with self.app.sessions() as session:
            codes = [cloud.code for cloud in catalog.in_service(session)]
        for code in codes:
            self._start(code, partial(compare, self.app, code))
        self._start(_ROUTERS, partial(compare_routers, self.app))

    def _start(self, of: str, act: Callable[[], None]) -> None:
        before = self._comparing.get(of)
        if before is None or before.done():
            self._comparing[of] = self.pool.submit(_logged, of, act)


def _logged(of: str, act: Callable[[], None]) -> None:
    """Nobody waits for what a comparison comes to: what breaks it has to be said here."""
    try:
        act()
    except Exception:
        log.exception("comparison failed; it is made again the next time", of=of)


def compare(app: App, sub_cloud: str) -> None:
    """Compare one sub-cloud; one that does not answer is compared the next time."""
    try:
        drifts = reconcile(app.tools(), sub_cloud)
    except ProviderError as error:
        log.warning("not compared", sub_cloud=sub_cloud, code=error.code)
        return
    if drifts:
        log.warning("drift", sub_cloud=sub_cloud, count=len(drifts))
    started.take_note(app.works, drifts)
    missing.take_note(app.works, app.settings, sub_cloud, drifts)
    with app.works.begin() as work:
        differing = capacity.tell(work, sub_cloud)
    if differing:
        log.warning("capacity differs", sub_cloud=sub_cloud, classes=[line.resource_class.value for line in differing])


def compare_routers(app: App) -> None:
    """Compare the extranet's routers with the plan and the rows, and repair what is ours; what breaks it is told."""
    try:
        found = drift.reconcile(app.networks, app.works) or []
    except ProviderError as error:
        log.warning("routers not compared", code=error.code, detail=error.detail)
        with app.works.begin() as work:
            telling.tell_unchecked(work, error.code)
        return
    except Exception:
        with app.works.begin() as work:
            telling.tell_unchecked(work, "extranet.check_failed")
        raise
    for gap in sorted({d.gap.value for d in found}):
        log.warning("routers differ", gap=gap, count=sum(d.gap.value == gap for d in found))

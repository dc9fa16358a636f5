"""Compares every sub-cloud with the rows, now and then, objects and totals; what differs is told to its operators.

Called by: the worker, every hour. Must not: correct anything, or let one dead cloud hold up the others.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from broker.bootstrap import App
from broker.catalog import repository as catalog
from broker.delivery import capacity
from broker.delivery.reconcile import reconcile
from providers.errors import ProviderError

log = structlog.get_logger(__name__)


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
            before = self._comparing.get(code)
            if before is None or before.done():
                self._comparing[code] = self.pool.submit(compare, self.app, code)


def compare(app: App, sub_cloud: str) -> None:
    """Compare one sub-cloud; one that does not answer is compared the next time."""
    try:
        drifts = reconcile(app.tools(), sub_cloud)
    except ProviderError as error:
        log.warning("not compared", sub_cloud=sub_cloud, code=error.code)
        return
    if drifts:
        log.warning("drift", sub_cloud=sub_cloud, count=len(drifts))
    with app.works.begin() as work:
        differing = capacity.tell(work, sub_cloud)
    if differing:
        log.warning("capacity differs", sub_cloud=sub_cloud, classes=[line.resource_class.value for line in differing])

"""Asks every sub-cloud how it feels and writes it down for placement and the region's page.

Called by: the worker, at its start, every minute and when a sub-cloud appears. Must not: let one dead
cloud hold up the others.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import structlog

from broker.bootstrap import App
from broker.catalog import repository as catalog
from broker.catalog.models import SubCloud
from broker.telemetry import METRICS
from providers.contract import Capacity, Health
from providers.errors import ProviderError

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class HealthCheck:
    """One thread for each cloud at most: one that does not answer is skipped until it does."""

    app: App
    pool: ThreadPoolExecutor
    _asked: dict[str, Future[None]] = field(default_factory=dict)

    def ask_all(self) -> None:
        """Start asking each sub-cloud that has answered the last time, with the options it has by now."""
        with self.app.sessions() as session:
            clouds = catalog.in_service(session)
        self.app.providers.renew(clouds)
        for cloud in clouds:
            before = self._asked.get(cloud.code)
            if before is None or before.done():
                self._asked[cloud.code] = self.pool.submit(ask, self.app, cloud)


def ask(app: App, cloud: SubCloud) -> None:
    """Ask one sub-cloud for its health and capacity, and write down what it said or why it did not."""
    capacity: dict[str, Any] = {}
    uplinks = None
    try:
        provider = app.providers(cloud.code)
        uplinks = provider.capabilities.uplinks
        health = provider.health()
        if health.healthy:
            capacity = capacity_json(provider.capacity())
    except ProviderError as error:
        health = Health(healthy=False, detail=error.code)
    with app.sessions.begin() as session:
        catalog.note_status(
            session,
            cloud.id,
            healthy=health.healthy,
            detail=health.detail,
            capacity=capacity,
            at=app.clock(),
            uplinks=uplinks,
        )
    METRICS.sub_cloud_healthy.labels(cloud.code).set(health.healthy)
    if not health.healthy:
        log.warning("sub-cloud unhealthy", sub_cloud=cloud.code, detail=health.detail)


def capacity_json(capacity: Capacity) -> dict[str, Any]:
    """What a cloud reports of itself, as a row keeps it."""
    return {
        "compute": {
            arch.value: {
                "vcpu_total": c.vcpu_total,
                "vcpu_used": c.vcpu_used,
                "memory_total_gib": c.memory_total_gib,
                "memory_used_gib": c.memory_used_gib,
            }
            for arch, c in capacity.compute.items()
        },
        "block": {
            name: {"total_gib": total, "used_gib": capacity.block_used_gib.get(name, 0)}
            for name, total in capacity.block_total_gib.items()
        },
    }

"""What those who run the broker rely on: health, readiness, metrics, limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import create_engine, text
from starlette.types import Receive, Scope, Send

from api.middleware import RateLimit
from broker.telemetry import Metrics
from tests.api.server import Server
from tests.api.snapshot import compare

SNAPSHOTS = Path(__file__).parent / "snapshots"


def test_health_says_that_the_process_runs(visitor: httpx.Client) -> None:
    """No database is asked."""
    assert visitor.get("/healthz").json() == {"status": "ok"}


def test_readiness_looks_at_database_migrations_and_engine(visitor: httpx.Client) -> None:
    """Ready with an up-to-date database; the engine counts where one is configured."""
    answer = visitor.get("/readyz")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"status": "ready", "database": "ok", "migrations": "ok", "engine": "not configured"}


@contextmanager
def at_revision(server: Server, revision: str) -> Iterator[None]:
    """Pretend that the database stands at another revision."""
    engine = create_engine(server.database.owner_url)
    with engine.begin() as connection:
        was = connection.scalar(text("SELECT version_num FROM public.alembic_version"))
        connection.execute(text("UPDATE public.alembic_version SET version_num = :v"), {"v": revision})
    try:
        yield
    finally:
        with engine.begin() as connection:
            connection.execute(text("UPDATE public.alembic_version SET version_num = :v"), {"v": was})
        engine.dispose()


def test_an_old_database_is_not_ready(server: Server, visitor: httpx.Client) -> None:
    """A process that meets a schema it was not written for says so, and is given no traffic."""
    with at_revision(server, "0001_quotas"):
        answer = visitor.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["migrations"].startswith("at 0001_quotas")


def test_metrics_count_answers_by_route_not_by_path(visitor: httpx.Client) -> None:
    """Ids never become label values."""
    visitor.get("/api/v1/nowhere/an-id-of-ours")
    visitor.delete("/api/v1/tokens/00000000-0000-7000-8000-000000000000")
    text_ = visitor.get("/metrics").text
    assert 'route="/api/v1/tokens/{token_id}"' in text_
    assert 'route="(none)"' in text_
    assert "an-id-of-ours" not in text_
    assert "guiyun_audit_unsealed" in text_


def test_the_names_of_metrics_have_not_drifted() -> None:
    """Dashboards and alarms use them."""
    registry = CollectorRegistry()
    Metrics(registry)
    lines = [line for line in generate_latest(registry).decode().splitlines() if line.startswith("# TYPE")]
    compare(SNAPSHOTS / "metrics.txt", "\n".join(sorted(line for line in lines if "_created" not in line)) + "\n")


@pytest.mark.parametrize(("pause_s", "allowed"), [(0.0, 3), (1.0, 5), (100.0, 6)])
def test_a_flood_from_one_address_is_slowed_down(pause_s: float, allowed: int) -> None:
    """Three at once, two more for each second that passes; another address is not concerned."""
    now = [0.0]

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        """Stands behind the limit."""

    limit = RateLimit(app, per_second=2, burst=3, clock=lambda: now[0])
    taken = sum(limit._take("10.0.0.1") for _ in range(10))
    now[0] += pause_s
    taken += sum(limit._take("10.0.0.1") for _ in range(10))
    assert taken == allowed
    assert limit._take("10.0.0.2")

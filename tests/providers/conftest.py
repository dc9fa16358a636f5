"""Simulated clouds for tests: one database for the session, a cloud of its own for each test.

Called by: pytest. Must not: replace any of our own code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from broker.embedded.postgres import EmbeddedPostgres
from providers.simulated import SimulatedProvider
from tests.providers.world import World


@pytest.fixture(scope="session")
def simulated_url(postgres: EmbeddedPostgres) -> str:
    """A database for simulated clouds only; every test uses a cloud of its own in it."""
    postgres.create_database("simulated_clouds")
    return postgres.owner_url("simulated_clouds")


@pytest.fixture
def world(simulated_url: str) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(simulated_url, stack)


@pytest.fixture
def provider(world: World) -> SimulatedProvider:
    """The test's cloud, everything at once and without latency."""
    return world.provider()

"""Fixtures of the tests with a real engine: one server for all, a namespace for each world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from broker.embedded.temporal import EmbeddedTemporal
from tests.stories.conftest import Databases, databases, region_template
from tests.workflows.harness import Workshop, make_workshop

__all__ = ["databases", "region_template"]

Workshops = Callable[..., Workshop]


@pytest.fixture(scope="session")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedTemporal]:
    """One server for all tests that do not kill it."""
    with EmbeddedTemporal(tmp_path_factory.mktemp("temporal")) as server:
        yield server


@pytest.fixture(scope="module")
def workshops(
    databases: Databases, temporal: EmbeddedTemporal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workshops]:
    """Makes workshops; their workers are stopped at the end of the module."""
    with ExitStack() as stack:

        def make(*, way: str = "in-place", engine: EmbeddedTemporal | None = None) -> Workshop:
            both = stack.enter_context(databases())
            made = make_workshop(both, engine or temporal, tmp_path_factory.mktemp("workshop"), way=way)
            stack.callback(made.world.app.close)
            stack.callback(made.stop_workers)
            return made

        yield make

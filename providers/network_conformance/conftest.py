"""The suite's fixtures. What a test has made is taken away after it, whatever came of it.

Called by: pytest. Must not: make what the plan refuses.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest

from providers.network_conformance.site import Site
from providers.networking import SegmentSpec


@pytest.fixture(scope="session")
def site(pytestconfig: pytest.Config) -> Iterator[Site]:
    """The adapter under test, on its network."""
    named = pytestconfig.getoption("--network", default=None)
    if not named or ":" not in named:
        raise pytest.UsageError("the conformance suite of networks needs --network MODULE:FUNCTION")
    module, _, function = named.partition(":")
    with getattr(importlib.import_module(module), function)() as given:
        yield given


@pytest.fixture
def made(site: Site) -> Iterator[list[SegmentSpec]]:
    """Where a test writes down what it orders; all of it is taken away again."""
    ordered: list[SegmentSpec] = []
    yield ordered
    left = site.provider.delete(ordered) if ordered else {}
    assert not [error for error in left.values() if error is not None]

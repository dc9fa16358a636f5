"""The adapter on the real OpenStack of `make openstack`, in a sub-cloud of the test run's own; all it made is removed.

Called by: pytest. Must not: touch what another sub-cloud has in the same OpenStack.
Where the laboratory is not up, ``tests/conftest.py`` leaves these tests out and says so in one line.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest

from providers.contract import NetworkSpec, ProjectSpec
from providers.openstack import build
from providers.openstack.provider import OpenStackProvider
from tests.openstack.site import HOME, Site


@pytest.fixture(scope="session")
def lab_options() -> dict[str, str]:
    """What `make openstack` wrote down for the adapter."""
    options: dict[str, str] = json.loads((HOME / "adapter.json").read_text())
    return options


@pytest.fixture(scope="module")
def site(lab_options: dict[str, str]) -> Iterator[Site]:
    """A sub-cloud with nothing in it, emptied afterwards."""
    provider: OpenStackProvider = build(f"test-{secrets.token_hex(4)}", lab_options)
    made = Site(provider)
    yield made
    try:
        assert made.empty() == []
    finally:
        provider.close()


@pytest.fixture(scope="module")
def project(site: Site) -> ProjectSpec:
    """A project that the tests of a module share."""
    return site.project()


@pytest.fixture(scope="module")
def network(site: Site, project: ProjectSpec) -> NetworkSpec:
    """A network of that project, which the tests of a module share."""
    return site.network(project)

"""The suite's fixtures. What takes a cloud seconds to make is made once a session and shared by the tests.

Called by: pytest. Must not: give a test anything that another may delete, or make what the adapter says it has not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.conformance.settings import Settings, load
from providers.conformance.watched import watched
from providers.conformance.workshop import Workshop
from providers.contract import Capabilities, Kind, NetworkSpec, ProjectSpec, Provider, ServerSpec, VolumeSpec


@pytest.fixture(scope="session")
def settings(pytestconfig: pytest.Config) -> Settings:
    """What the command line says about the adapter."""
    adapter = pytestconfig.getoption("--provider", default=None)
    file = pytestconfig.getoption("--provider-options", default=None)
    if not adapter:
        raise pytest.UsageError("the conformance suite needs --provider NAME (and --provider-options FILE.yaml)")
    return load(adapter, Path(file) if file else None)


@pytest.fixture(scope="session")
def provider(settings: Settings) -> Iterator[Provider]:
    """The adapter under test."""
    built = settings.build()
    yield watched(built)
    built.close()


@pytest.fixture(scope="session")
def capabilities(provider: Provider) -> Capabilities:
    return provider.capabilities


def require(capabilities: Capabilities, *needed: object) -> None:
    """Skips, visibly, unless the adapter says that it has these kinds and abilities."""
    for what in needed:
        able = what in capabilities.kinds if isinstance(what, Kind) else getattr(capabilities, str(what))
        if not able:
            pytest.skip(f"{capabilities.provider} says that it has no {what}")


@pytest.fixture(autouse=True)
def _able(request: pytest.FixtureRequest, capabilities: Capabilities) -> None:
    """What a test names with ``needs``, or is asked to do for a kind."""
    require(capabilities, *(what for mark in request.node.iter_markers("needs") for what in mark.args))
    if hasattr(request.node, "callspec"):
        require(capabilities, *(value for value in request.node.callspec.params.values() if isinstance(value, Kind)))


@pytest.fixture(scope="session")
def workshop(provider: Provider, settings: Settings) -> Iterator[Workshop]:
    made = Workshop(provider, settings)
    yield made
    made.sweep()


@pytest.fixture(scope="session")
def project(workshop: Workshop) -> ProjectSpec:
    """A project that all tests share."""
    spec = workshop.project()
    workshop.make(spec)
    return spec


@pytest.fixture(scope="session")
def other_project(workshop: Workshop) -> ProjectSpec:
    """Somebody else's project."""
    spec = workshop.project()
    workshop.make(spec)
    return spec


@pytest.fixture(scope="session")
def network(capabilities: Capabilities, workshop: Workshop, project: ProjectSpec) -> NetworkSpec:
    """A network of the shared project."""
    require(capabilities, Kind.NETWORK)
    spec = workshop.network(project.id)
    workshop.make(spec)
    return spec


@pytest.fixture(scope="session")
def volume(capabilities: Capabilities, workshop: Workshop, project: ProjectSpec) -> VolumeSpec:
    """A volume of the shared project, attached to nothing between two tests."""
    require(capabilities, Kind.VOLUME)
    spec = workshop.volume(project.id)
    workshop.make(spec)
    return spec


@pytest.fixture(scope="session")
def server(capabilities: Capabilities, workshop: Workshop, network: NetworkSpec) -> ServerSpec:
    """A server of the shared project, active between two tests."""
    require(capabilities, Kind.SERVER)
    spec = workshop.server(network)
    workshop.make(spec)
    return spec

"""The command line against a running API: the server of the API's tests, and a terminal to type at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.conftest import region_database, server, simulated_database
from tests.api.server import Server
from tests.cli.typist import Tokens, Typist
from tests.conftest import Database
from tests.stories.world import Clock, World

__all__ = ["region_database", "server", "simulated_database"]


@pytest.fixture(scope="session")
def world(server: Server, simulated_database: Database) -> World:
    """The machine's side of the same broker; its clouds have been asked how they are."""
    made = World(server.app.state.core, Clock(), server.database, simulated_database.app_url)
    made.ask_health()
    return made


@pytest.fixture(autouse=True)
def clouds_feel_well(request: pytest.FixtureRequest) -> None:
    """As the worker asks every minute: what a cloud said ten minutes ago counts for nothing any more."""
    if "typist" in request.fixturenames:
        request.getfixturevalue("world").feel_well()


@pytest.fixture(scope="session")
def tokens(server: Server) -> Tokens:
    """A bearer token for everybody who types, made when first needed."""
    return Tokens(server.url)


@pytest.fixture
def typist(
    server: Server,
    simulated_database: Database,
    tokens: Tokens,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Typist:
    """Somebody at a terminal with an empty home, who knows where the API and the database are."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GUIYUN_HOME", str(tmp_path / "guiyun"))
    monkeypatch.setenv("GUIYUN_URL", server.url)
    monkeypatch.setenv("GUIYUN_DATABASE_URL", server.database.app_url)
    monkeypatch.setenv("GUIYUN_SIMULATED_DATABASE_URL", simulated_database.app_url)
    monkeypatch.delenv("GUIYUN_TOKEN", raising=False)
    return Typist(tmp_path, tokens)

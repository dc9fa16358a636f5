"""The API as a browser or a program meets it: a real server on loopback, the demonstration region, real sign-ins."""

from __future__ import annotations

import io
import logging
import secrets
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr
from sqlalchemy import event, text

from api.app import create_app
from api.server import Server as RunningServer
from broker.db.session import make_engine, make_sessions
from broker.embedded.postgres import EmbeddedPostgres
from broker.pricing.months import Month
from broker.region.loader import DEMONSTRATION_PASSWORD, load
from broker.region.reading import read_region
from broker.settings import Settings
from broker.telemetry import configure_logging
from broker.tenancy import passwords
from tests.api.server import DEADLINE_S, Server, wait_until
from tests.conftest import Database, DatabaseFactory
from tests.console.billing import bill_months, finance_of_nanning, finance_of_pingxiang
from tests.stories.world import AT_ONCE

IN_SERVICE = passwords._HASHER
"""Argon2 is slow on purpose, and people sign in all the time here: these processes have a quick one in its place."""
passwords._HASHER = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
ONE_HASH = passwords.hash_password(DEMONSTRATION_PASSWORD)
"""All demonstration accounts have the same password."""
_LOADED = pytest.StashKey[Database]()


@pytest.fixture(scope="session")
def region_database(clone: DatabaseFactory, request: pytest.FixtureRequest) -> Database:
    """A database with the demonstration region and its accounts, shared by the tests of a folder.

    It is a copy of what the first folder of this process that needs one has loaded.
    """
    stash = request.config.stash
    if _LOADED not in stash:
        made = clone()
        engine = make_engine(made.app_url)
        with make_sessions(engine).begin() as session:
            load(session, read_region(), now=datetime.now(UTC), demonstration=True, hasher=lambda _: ONE_HASH)
            session.execute(text(f"UPDATE broker.sub_cloud SET options = options || '{AT_ONCE}'"))
        engine.dispose()
        stash[_LOADED] = made
    return clone(stash[_LOADED].name)


@pytest.fixture(scope="session")
def simulated_database(postgres: EmbeddedPostgres) -> Database:
    """The simulated clouds' own database, for the tests of a folder (the command line's use this fixture too)."""
    name = f"simulated_{secrets.token_hex(4)}"
    postgres.create_database(name)
    return Database(name, postgres.owner_url(name), postgres.owner_url(name))


@pytest.fixture(scope="session")
def server(
    region_database: Database, simulated_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The API on a free port of loopback, as ``guiyun serve`` runs it, for all API tests of this process."""
    home: Path = tmp_path_factory.mktemp("home")
    settings = Settings(
        home=home,
        database_url=SecretStr(region_database.app_url),
        simulated_database_url=SecretStr(simulated_database.app_url),
        pool_size=8,
        demonstration=True,
        log_level="INFO",
    )
    log = io.StringIO()
    handlers = logging.getLogger().handlers
    configure_logging(settings, log)
    app = create_app(settings)
    running = RunningServer(app, host="127.0.0.1", port=0)
    thread = threading.Thread(target=running.run, name="api")
    thread.start()
    wait_until(lambda: running.started)
    port = running.servers[0].sockets[0].getsockname()[1]
    made = Server(f"http://127.0.0.1:{port}", app, region_database, app.state.core.engine, log)
    yield made
    for client in made.clients:
        client.close()
    running.end_streams()
    running.should_exit = True
    thread.join(DEADLINE_S)
    logging.getLogger().handlers = handlers
    assert not thread.is_alive(), "the server did not stop"


@pytest.fixture
def visitor(server: Server) -> httpx.Client:
    """Somebody who has not signed in."""
    return server.visitor()


@pytest.fixture
def applicant(server: Server) -> httpx.Client:
    """Somebody of the education department who may apply."""
    return server.person("apply.jyt")


@pytest.fixture
def statements(server: Server) -> Iterator[list[str]]:
    """The SQL statements the API sends while the test runs, but for what the process itself says once a minute."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "calendar_in_use" not in statement:
            sent.append(statement)

    event.listen(server.engine, "before_cursor_execute", note)
    yield sent
    event.remove(server.engine, "before_cursor_execute", note)


@pytest.fixture(scope="session")
def months(server: Server) -> list[Month]:
    """Two billed months, the older one closed; the tests about money share them."""
    with make_sessions(server.engine).begin() as session:
        finance_of_nanning(session)
        finance_of_pingxiang(session)
        return bill_months(session, datetime.now(UTC), 2)

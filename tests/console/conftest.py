"""The console as browsers meet it: a real server on loopback, the demonstration region, and machine steps on demand."""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import event

from api.app import create_app
from api.cli.home import DEMONSTRATION_MARK
from api.server import Server as RunningServer
from broker.bootstrap import build
from broker.embedded.postgres import EmbeddedPostgres
from broker.telemetry import configure_logging
from tests.api.conftest import region_database
from tests.api.server import DEADLINE_S, Server, wait_until
from tests.conftest import BROWSERS, Database
from tests.console.people import Console
from tests.stories import road
from tests.stories.world import HOLIDAYS, Clock, World, form, make_settings

__all__ = ["region_database"]


@pytest.fixture(scope="session")
def simulated_clouds(postgres: EmbeddedPostgres) -> Database:
    """The simulated clouds' own database, for the tests of this folder."""
    name = "console_simulated"
    postgres.create_database(name)
    return Database(name, postgres.owner_url(name), postgres.owner_url(name))


@pytest.fixture(scope="session")
def console(
    region_database: Database, simulated_clouds: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Console]:
    """The console on a free port of loopback, in a demonstration home."""
    home: Path = tmp_path_factory.mktemp("home")
    (home / DEMONSTRATION_MARK).touch()
    settings = make_settings(region_database, simulated_clouds, home, pool_size=8, holidays_file=HOLIDAYS)
    handlers = logging.getLogger().handlers
    log = io.StringIO()
    configure_logging(settings, log)
    world = World(build(settings), Clock(datetime.now(UTC)), region_database, simulated_clouds.app_url)
    world.ask_health()
    app = create_app(settings)
    running = RunningServer(app, host="127.0.0.1", port=0)
    thread = threading.Thread(target=running.run, name="console", daemon=True)
    thread.start()
    wait_until(lambda: running.started)
    port = running.servers[0].sockets[0].getsockname()[1]
    server = Server(f"http://127.0.0.1:{port}", app, region_database, app.state.core.engine, log)
    yield Console(server, world)
    for client in server.clients:
        client.close()
    running.end_streams()
    running.should_exit = True
    thread.join(DEADLINE_S)
    world.app.close()
    logging.getLogger().handlers = handlers
    assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(autouse=True)
def clouds_feel_well(request: pytest.FixtureRequest) -> None:
    """As the worker asks every minute: what a cloud said ten minutes ago counts for nothing any more."""
    if "console" in request.fixturenames:
        request.getfixturevalue("console").world.feel_well()


@pytest.fixture(scope="module", autouse=True)
def clouds_felt_well_before(request: pytest.FixtureRequest) -> None:
    """The same before what a module's tests share is made."""
    if "console" in request.fixturenames:
        request.getfixturevalue("console").world.feel_well()


def todays_form(**changes: Any) -> dict[str, Any]:
    """A complete form of the education department that begins today."""
    today = datetime.now(UTC).date() + timedelta(days=1)
    dates = {"start_date": today.isoformat(), "end_date": (today + timedelta(days=364)).isoformat()}
    return form(**(dates | {"ssh_public_key": ""} | changes))


@pytest.fixture(scope="session")
def delivered(console: Console) -> UUID:
    """A request of the education department that has come the whole road and is in use."""
    console.world.clock.now = datetime.now(UTC)
    request_id = road.up_to_order(console.world, **todays_form())
    road.walk(console.world)
    assert console.world.request(request_id).state == "delivered"
    return request_id


@pytest.fixture
def submitted(console: Console) -> UUID:
    """A request of the education department that waits for its approval."""
    console.world.clock.now = datetime.now(UTC)
    return road.submit(console.world, **todays_form())


@pytest.fixture
def statements(console: Console) -> Iterator[list[str]]:
    """The SQL statements the server sends while the test runs, but for what the process itself says once a minute."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "calendar_in_use" not in statement:
            sent.append(statement)

    event.listen(console.server.engine, "before_cursor_execute", note)
    yield sent
    event.remove(console.server.engine, "before_cursor_execute", note)


def _drawn_for_nobody(page: Page, **_options: object) -> bytes:
    """In place of a picture: the page is laid out all the same."""
    page.evaluate("document.documentElement.scrollHeight")
    return b""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium without a window. It draws pictures only where somebody is to look at them."""
    found = next(path for name in BROWSERS for path in os.get_exec_path() if (Path(path) / name).exists())
    name = next(name for name in BROWSERS if (Path(found) / name).exists())
    with sync_playwright() as playwright, pytest.MonkeyPatch.context() as patch:
        if not os.environ.get("GUIYUN_SCREENSHOTS"):
            patch.setattr(Page, "screenshot", _drawn_for_nobody)
        browser = playwright.chromium.launch(
            executable_path=str(Path(found) / name), args=["--no-sandbox", "--lang=zh-CN"], timeout=300_000
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: the folder that ``GUIYUN_SCREENSHOTS`` names; without it none is drawn."""
    named = os.environ.get("GUIYUN_SCREENSHOTS", "")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder

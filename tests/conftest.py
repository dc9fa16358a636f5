"""The real database for tests: one embedded PostgreSQL a pytest process, cloned from a migrated template.

Called by: pytest. Must not: replace any of our own code, or keep anything between two tests.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from broker.db.session import make_engine
from broker.embedded.postgres import EmbeddedPostgres, libpq_url

TEMPLATE = "guiyun_template"

gc.disable()  # until everything is imported and collected: it makes a hundred thousand objects, all of which stay

# How long an example takes, or takes to be drawn, says how busy the machine is. In CI also the examples are the same
# every time (hypothesis' own profile ``ci``, see .ci/run): what was found once is not to stop whoever comes next.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

LONGEST = (
    "stories/test_faults.py",
    "embedded/test_up.py",
    "workflows/test_kills.py",
    "console/test_pages.py",
    "providers/test_conformance.py",
    "workflows/test_engine_kills.py",
    "cli/test_demo.py",
    "console/test_money_pages.py",
    "console/test_browser.py",
    "broker/chargeback/test_rated_worlds.py",
    "stories/test_twice.py",
    "stories/test_routing.py",
    "stories/test_reclaim_in_use.py",
    "stories/test_reclaim_policies.py",
    "workflows/test_workers.py",
    "stories/test_configure.py",
)
"""Begun first: `make test` gives each file whole to one of three processes, which are to end at the same time."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def openstack_is_up() -> bool:
    """Whether the laboratory of `make openstack` answers."""
    home = Path(os.environ.get("GUIYUN_OPENSTACK_HOME", Path(__file__).parent.parent / ".openstack"))
    if not (home / "adapter.json").exists():
        return False
    address = urlsplit(json.loads((home / "adapter.json").read_text())["auth_url"])
    with socket.socket() as probe:
        return probe.connect_ex((address.hostname, address.port)) == 0


def missing_parts() -> dict[str, str]:
    """Marker -> why its tests cannot run here and what helps."""
    missing = {}
    if not (
        Path(os.environ.get("GUIYUN_EXTRANET_HOME", Path(__file__).parent.parent / ".extranet")) / "state.json"
    ).exists():
        missing["extranet"] = "没有运行路由器实验环境的测试（先 make extranet，再 make test-extranet）"
    if not openstack_is_up():
        missing["openstack"] = "没有运行真实 OpenStack 的测试（先 make openstack，再 make test-openstack）"
    if not all(shutil.which(program) for program in ("prometheus", "promtool")):
        missing["prometheus"] = "没有运行 Prometheus 的测试（apt-get install --no-install-recommends prometheus）"
    if not any(shutil.which(browser) for browser in BROWSERS):
        missing["browser"] = "没有运行浏览器测试（apt-get install chromium fonts-noto-cjk）"
    return missing


def left_out(config: pytest.Config) -> dict[str, str]:
    """What cannot run here, and what takes so long that it runs only when it is asked for (``-m kills``)."""
    missing = missing_parts()
    if "kills" not in config.option.markexpr:
        missing["kills"] = "没有运行回收事项与慢速交付的 kill -9 全表（make test-kills，约四分钟）"
    return missing


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a part that is not here; ``pytest_terminal_summary`` says so. The longest files first."""
    missing = left_out(config)
    without = [item for item in items if any(item.get_closest_marker(marker) for marker in missing)]
    if without:
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]
    first = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


def pytest_collection_finish() -> None:
    """What is there now stays: it need not be looked through again and again for something to throw away."""
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for reason in left_out(terminalreporter.config).values():
        terminalreporter.write_line(f"未包括：{reason}", yellow=True)


@dataclass(frozen=True, slots=True)
class Database:
    """A database of a test's own. ``app_url``: the runtime role's; ``owner_url``: may change the schema."""

    name: str
    app_url: str
    owner_url: str


DatabaseFactory = Callable[..., Database]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One server a pytest process (with xdist: one a worker); it forgets everything with the process."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "server", durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a migrated database without connections, to be cloned."""
    postgres.create_database(TEMPLATE)
    # Imported here: the models of every room come with it, and tests without tables need none of them.
    from broker.db.migrate import upgrade

    upgrade(postgres.owner_url(TEMPLATE))
    return TEMPLATE


@pytest.fixture(scope="session")
def clone(postgres: EmbeddedPostgres, template: str) -> DatabaseFactory:
    """Makes a fresh copy of the migrated template, or of another database: ``clone()``. It lives with the server."""
    numbers = itertools.count(1)

    def make(of: str = template) -> Database:
        name = f"test_{next(numbers)}"
        with psycopg.connect(libpq_url(postgres.superuser_url()), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER guiyun_owner STRATEGY FILE_COPY").format(
                    sql.Identifier(name), sql.Identifier(of)
                )
            )
        return Database(name, postgres.app_url(name), postgres.owner_url(name))

    return make


def drop(postgres: EmbeddedPostgres, database: Database) -> None:
    """Remove a test's database, cutting what is still connected."""
    with psycopg.connect(libpq_url(postgres.superuser_url()), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database.name)))


@pytest.fixture
def database(postgres: EmbeddedPostgres, clone: DatabaseFactory) -> Iterator[Database]:
    """A fresh migrated database for this test alone."""
    made = clone()
    yield made
    drop(postgres, made)


@pytest.fixture
def blank_database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A fresh database without any table, with both roles, for this test alone."""
    name = "blank"
    postgres.create_database(name)
    made = Database(name, postgres.app_url(name), postgres.owner_url(name))
    yield made
    drop(postgres, made)


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    """The runtime role's engine on this test's own database: several connections, real commits."""
    made = make_engine(database.app_url)
    yield made
    made.dispose()


@pytest.fixture
def owner_engine(database: Database) -> Iterator[Engine]:
    """The owner's engine on this test's own database."""
    made = create_engine(database.owner_url, poolclass=NullPool)
    yield made
    made.dispose()


@pytest.fixture(scope="session")
def shared_engine(clone: DatabaseFactory) -> Iterator[Engine]:
    """The runtime role's engine on a migrated database that all ``session`` tests share and none changes."""
    made = make_engine(clone().app_url)
    yield made
    made.dispose()


@pytest.fixture
def session(shared_engine: Engine) -> Iterator[Session]:
    """A session that is rolled back; a ``commit()`` in the tested code ends only a savepoint. The fastest choice."""
    with shared_engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint") as made:
            yield made
        outer.rollback()

"""Each benchmark's own SQL, once and small: what a column more would break is not seen by running them now and then.

Nothing is measured here: a server of the tests stands where a benchmark starts one, and a writer calls a few times.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Callable, Iterator
from multiprocessing import dummy
from pathlib import Path
from typing import Any, Self

import duckdb
import psycopg
import pytest
from sqlalchemy import create_engine, text

from benchmarks import close, idle, prefixes, quota_designs, quotas, rate, road, stack
from benchmarks.prefixes import Turn
from benchmarks.writers import Hold, Rate, Server
from broker.embedded.postgres import EmbeddedPostgres, libpq_url
from tests.conftest import Database
from tests.stories.conftest import Databases

Patch = pytest.MonkeyPatch


class Standing:
    """Stands where a benchmark starts a server of its own: one database of the tests' server, whatever it is called."""

    pid = os.getpid()

    def __init__(self, server: EmbeddedPostgres, database: str) -> None:
        self._server, self._database = server, database

    def __call__(self, *_: object, **__: object) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def create_database(self, name: str) -> None: ...

    def superuser_url(self, _: str = "") -> str:
        return self._server.superuser_url(self._database)

    def owner_url(self, _: str = "") -> str:
        return self._server.owner_url(self._database)

    def app_url(self, _: str = "") -> str:
        return self._server.app_url(self._database)


@pytest.fixture
def region(databases: Databases) -> Iterator[Database]:
    with databases() as (made, _):
        yield made


@pytest.fixture
def closing(monkeypatch: Patch) -> Iterator[None]:
    """A writer's connection ends with its process; here, with the test."""
    made: list[psycopg.Connection[Any]] = []
    connect = psycopg.connect

    def connected(*given: Any, **more: Any) -> psycopg.Connection[Any]:
        made.append(connect(*given, **more))
        return made[-1]

    monkeypatch.setattr(psycopg, "connect", connected)
    yield
    for connection in made:
        connection.close()


def hammer(server: Server, hold: Hold, *, until_full: bool = False, **_: object) -> Rate:
    """A writer in this process: twice, or until it is refused."""
    granted, dice = 0, random.Random(1)
    with psycopg.connect(server.url, autocommit=True) as connection:
        for _turn in range(100 if until_full else 2):
            more = hold(connection, dice)
            granted += more
            if not more:
                break
    return Rate(1.0, 1.0, 1.0, granted)


def turn(_: int, make: Callable[..., Callable[[], object]], *arguments: object) -> Turn:
    call = make(*arguments)
    call()
    return Turn(1.0, 1.0, 1.0)


@pytest.mark.usefixtures("closing")
def test_every_way_to_hold_holds(postgres: EmbeddedPostgres, database: Database, monkeypatch: Patch) -> None:
    """Ours, the designs and the peers grant on a small tree; a tight root sells all of it and no more."""
    for name, small in (("CITIES", 2), ("COUNTIES", 4), ("LEAVES", 8)):
        monkeypatch.setattr(quota_designs, name, small)
    monkeypatch.setattr(quotas, "ROUNDS", 1)
    monkeypatch.setattr(quotas, "TIGHT", 3)
    monkeypatch.setattr(quotas, "hammer", hammer)
    monkeypatch.setattr(quotas, "EmbeddedPostgres", Standing(postgres, database.name))
    found = quotas.run("small")
    assert (found["oversold"], found["granted_of_400"], found["peer_sum_then_insert_granted_of_400"]) == (0, 3, 3)
    assert found["holds_a_commit"] == 1


@pytest.mark.usefixtures("closing")
def test_every_way_to_hand_out_prefixes_does(
    postgres: EmbeddedPostgres, database: Database, monkeypatch: Patch
) -> None:
    """A filled pool, ours alone and together, NetBox's and Neutron's ways; the plan agrees with itself."""
    monkeypatch.setattr(prefixes, "SIZES", {"small": {"1k": 2}})
    monkeypatch.setattr(prefixes, "_PEERS", prefixes._PEERS.replace(str(prefixes.PEER_PREFIXES - 1), "9"))
    monkeypatch.setattr(prefixes, "_turn", turn)
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: dummy)
    monkeypatch.setattr(prefixes, "EmbeddedPostgres", Standing(postgres, database.name))
    assert prefixes.run("small")["differences"] == 0
    with psycopg.connect(libpq_url(postgres.superuser_url(database.name))) as rows:
        peers = "SELECT (SELECT count(*) FROM peer.prefix), (SELECT count(*) FROM peer.subnet)"
        assert rows.execute(peers).fetchone() == (11, 11)


def test_a_month_is_made_and_closed_and_a_stack_prepared(
    postgres: EmbeddedPostgres, region: Database, monkeypatch: Patch
) -> None:
    """Each resource has its lines; then what the road's benchmark says to the database of a region."""
    standing = Standing(postgres, region.name)
    monkeypatch.setattr(close, "SIZES", {"small": {"10k": 20}})
    monkeypatch.setattr(close, "EmbeddedPostgres", standing)
    monkeypatch.setattr(close, "load", lambda *_, **__: None)  # it is loaded
    close.run("small")
    superuser = create_engine(standing.superuser_url())
    with superuser.begin() as connection:
        assert connection.scalar(text("SELECT count(DISTINCT resource_id) FROM broker.charge")) == 20
        connection.execute(text(stack._AT_ONCE.replace("CREATE EXTENSION pg_stat_statements;", "")))
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.execute(text(_A_REQUEST))
        connection.execute(text(road._MANY), {"rows": 3, "kinds": 1})
        assert connection.scalar(text("SELECT count(*) FROM broker.service_request")) == 4
        connection.execute(text(road._DELIVERED))
    stack.Stack(0, superuser, {}, 0, {}).client("apply.jyt")
    superuser.dispose()


_A_REQUEST = (
    road._MANY.partition("SELECT")[0]
    + """
SELECT gen_random_uuid(), 'GX-2020-999999', u.id, a.id, 'submitted', 1, '申请', NULL, c.id, u.id, u.id, u.id,
  now(), now(), now()
FROM broker.unit u, broker.account a, broker.sub_cloud c LIMIT 1
"""
)


def test_files_are_made_and_peers_agree(
    postgres: EmbeddedPostgres, database: Database, monkeypatch: Patch, tmp_path: Path
) -> None:
    """Spans that ``rate`` would read, samples that a scan would, and PostgreSQL's runs among them."""
    spans = tmp_path / "10k.parquet"
    with duckdb.connect() as connection:
        connection.execute(rate._SPANS.format(count=20, path=spans))
    assert rate._scan(spans) > 0
    assert rate._loop(spans) > 0
    made_up = idle._MADE_UP.replace(f"range({idle.DISTINCT})", "range(6)").replace(f"range({idle.DAYS} *", "range(40 *")
    monkeypatch.setattr(idle, "_MADE_UP", made_up)
    assert 5_000 < idle._make(tmp_path / "10", 10) < 10 * 40 * 24
    assert idle._floor(tmp_path / "10", idle._columns(idle.SHIPPED)) > 0
    monkeypatch.setattr(idle, "EmbeddedPostgres", Standing(postgres, database.name))
    assert idle._postgres(tmp_path / "10", tmp_path)[1] > 0

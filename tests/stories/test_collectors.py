"""A sub-cloud's samples are read hour by hour, once each however often, and what was missed is caught up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy import text

from broker.utilisation import collectors, service
from broker.utilisation.collectors import Bench, Errand
from broker.utilisation.models import Collector
from providers.contract import Provider
from providers.errors import Temporary
from tests.stories.world import World

CLOUD = "jyt"


@pytest.fixture
def store(measured: World) -> Iterator[Path]:
    """The store, empty, and a collector that has read nothing."""
    folder = measured.app.settings.home / "utilisation"
    yield folder
    for path in folder.glob("hourly/*/*.parquet"):
        path.unlink()
    with measured.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.collector SET read_until = NULL, error_code = NULL, failures = 0"))


def rows(folder: Path) -> list[Any]:
    with duckdb.connect() as db:
        return db.execute(f"SELECT * FROM '{folder}/hourly/*/*.parquet' ORDER BY vm_id, hour_utc").fetchall()


def act(world: World, providers: Any = None) -> bool:
    bench = Bench(world.app.works, world.app.settings, providers or world.app.providers)
    return collectors.collect(bench, errand(world))


def catch_up(world: World) -> None:
    """Act after act, as dispatch would, until the next one is due later."""
    while state(world).read_until is None or state(world).due_at <= world.clock():
        assert act(world)


def errand(world: World) -> Errand:
    with world.app.sessions() as session:
        return collectors.of(session, CLOUD)


def state(world: World) -> Collector:
    with world.app.sessions() as session:
        return session.get_one(Collector, errand(world).id)


def test_every_sub_cloud_has_a_collector_once(measured: World) -> None:
    """Made when it appears, first due after the hour."""
    with measured.app.works.begin() as work:
        assert collectors.make(work) == 0
        assert len(collectors.standing(work.session)) == 17


def test_hours_that_have_passed_are_read_under_the_inventorys_numbers(measured: World, store: Path) -> None:
    """The first reading goes back as far as the source does, two days an act; then it is due after the next hour."""
    catch_up(measured)
    found = rows(store)
    numbers = {r.number for r in measured.rows("SELECT number FROM broker.resource WHERE kind = 'server'")}
    assert {row[0] for row in found} == numbers
    assert len(found) == 2 * 3 * 24 - 2 + 2, "three days up to the last whole hour, the first of them in part"
    row = state(measured)
    assert row.source == "simulated"
    assert row.due_at == measured.clock().replace(hour=2, minute=5)
    assert row.outcome is not None
    assert row.outcome["left"] == []


def test_reading_again_changes_nothing(measured: World, store: Path) -> None:
    """Hours are read again for what comes late; the same hour is the same whoever asks."""
    catch_up(measured)
    before = rows(store)
    assert act(measured)
    assert rows(store) == before
    outcome = state(measured).outcome
    assert outcome is not None
    assert (outcome["added"], outcome["updated"], outcome["unchanged"]) == (0, 0, 6)


def test_another_source_is_read_from_its_beginning(measured: World, store: Path) -> None:
    """What the last one did not tell may stand in it; from its second act on it is read where it was left."""
    catch_up(measured)
    until, whole = state(measured).read_until, rows(store)
    assert until is not None
    with measured.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.collector SET source = 'prometheus'"))
    assert act(measured)
    row = state(measured)
    assert row.outcome is not None
    assert datetime.fromisoformat(row.outcome["from"]) == until - collectors.FIRST
    assert (row.source, row.read_until) == ("simulated", until - collectors.FIRST + collectors.AT_ONCE)
    catch_up(measured)
    assert (state(measured).read_until, rows(store)) == (until, whole)


def test_an_act_that_was_carried_already_does_nothing(measured: World, store: Path) -> None:
    """The engine may carry an act twice; the row has moved on."""
    old = errand(measured)
    assert act(measured)
    run = state(measured).run
    assert collectors.collect(Bench(measured.app.works, measured.app.settings, measured.app.providers), old)
    assert state(measured).run == run


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_killed_act_is_carried_again(
    measured: World, store: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before or after the import, the next attempt comes to the same rows and the same date."""
    real = service.import_file

    def dying(*args: Any, **more: Any) -> Any:
        if where == "after":
            real(*args, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(service, "import_file", dying)
    with pytest.raises(KeyboardInterrupt):
        act(measured)
    assert state(measured).read_until is None
    monkeypatch.undo()
    assert act(measured)
    assert state(measured).read_until is not None


def test_a_cloud_that_does_not_answer_is_asked_later_and_loses_nothing(measured: World, store: Path) -> None:
    """The reason is on the row, the pauses grow, and the hours of the silence are read afterwards."""
    catch_up(measured)
    read_until = state(measured).read_until

    def silent(_: str) -> Provider:
        raise Temporary("unreachable")

    for minutes in (5, 10, 20):
        assert not act(measured, silent)
        row = state(measured)
        assert (row.error_code, row.read_until) == ("unreachable", read_until)
        assert row.due_at == measured.clock() + timedelta(minutes=minutes)
    measured.clock.forward(hours=9)
    try:
        assert act(measured)
        assert state(measured).error_code is None
        outcome = state(measured).outcome
        assert outcome is not None
        assert outcome["added"] == 2 * 9
    finally:
        measured.clock.forward(hours=-9)


def test_samples_of_strangers_are_counted_and_left_out(
    measured: World, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that the inventory does not know is somebody else's or a mistake: the row says how many."""
    monkeypatch.setattr(service, "facts_of", lambda *_: {})
    catch_up(measured)
    outcome = state(measured).outcome
    assert outcome is not None
    (left,) = outcome["left"]
    assert (left["reason"], len(left["first"])) == ("sample.unknown_server", 2)
    assert rows_or_none(store) == []


def rows_or_none(folder: Path) -> list[Any]:
    return rows(folder) if list(folder.glob("hourly/*/*.parquet")) else []

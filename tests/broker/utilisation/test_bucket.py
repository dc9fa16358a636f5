"""The store in a bucket, on a real S3 server (SeaweedFS): all that a folder does, and several machines at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, Thread
from uuid import UUID
from zoneinfo import ZoneInfo

import duckdb
import pytest
from pydantic import SecretStr

from broker.errors import BrokerError, Conflict
from broker.settings import Settings
from broker.utilisation import counters, service, store
from broker.utilisation.bucket import Bucket
from broker.utilisation.counters import Looks
from broker.utilisation.engine import engine
from broker.utilisation.policy_file import parse_policies
from broker.utilisation.samples import Report
from broker.utilisation.storage import Moved
from broker.utilisation.store import Imported, hourly_files, storage_of
from broker.utilisation.values import Facts
from providers.contract import ServerCounters
from tests.broker.utilisation.files import NOW, hours, row, write_csv
from tests.broker.utilisation.oracle import Row
from tests.broker.utilisation.s3_server import KEY, SECRET, s3_server

START = datetime(2026, 10, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3")) as address:
        yield address


@pytest.fixture
def settings(address: str, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """A folder of the bucket for each test; one machine."""
    return machine(address, tmp_path / "one", request.node.name)


def machine(address: str, home: Path, folder: str, secret: str = SECRET) -> Settings:
    return Settings(
        home=home,
        utilisation_url=f"s3://samples/{folder}",
        utilisation_s3_endpoint=address,
        utilisation_s3_access_key=KEY,
        utilisation_s3_secret_key=SecretStr(secret),
    )


def another(settings: Settings, tmp_path: Path) -> Settings:
    """A second machine that shares nothing but the bucket."""
    return settings.model_copy(update={"home": tmp_path / "two"})


def take(settings: Settings, folder: Path, rows: list[Row], *, wait_s: float = 0) -> Imported:
    return service.import_file(settings, write_csv(folder / f"{id(rows)}.csv", rows), NOW, wait_s=wait_s)


def stored(settings: Settings, columns: str = "vm_id, hour_utc, cpu_avg_pct") -> list[tuple[object, ...]]:
    files = [str(path) for path in hourly_files(settings)]
    return duckdb.execute(f"SELECT {columns} FROM read_parquet({files}) ORDER BY ALL").fetchall() if files else []


def versions(settings: Settings) -> dict[str, str]:
    return {kept.name: kept.version for kept in storage_of(settings).listed("hourly")}


def test_what_one_machine_imports_another_finds(settings: Settings, tmp_path: Path) -> None:
    """Days are objects; importing again, from the other machine, changes none of them; late rows join their day."""
    rows = [row(vm, hour) for vm in ("a", "b") for hour in hours(START, 48)]
    first = take(settings, tmp_path, rows[:-10])
    assert (first.added, first.days_written) == (86, 2)
    other = another(settings, tmp_path)
    late = take(other, tmp_path, rows)
    assert (late.added, late.unchanged, late.days_written) == (10, 86, 1)
    before = versions(settings)
    assert set(before) == {f"hourly/day=2026-10-0{n}/samples.parquet" for n in (1, 2)}
    again = take(settings, tmp_path, rows)
    assert (again.added, again.updated, again.unchanged, again.days_written) == (0, 0, 96, 0)
    assert versions(settings) == before
    assert stored(settings) == stored(other)
    assert len(stored(settings)) == 96


def test_a_scan_reads_the_bucket(settings: Settings, tmp_path: Path) -> None:
    """The runs are those of the same samples in a file."""
    rows = [row("a", hour, cpu_avg_pct="1" if hour.day != 4 else "50") for hour in hours(START, 24 * 7)]
    take(settings, tmp_path, rows)
    leaf = {"metric": "cpu_avg_pct", "daily": "mean", "below": 5}
    policies = parse_policies({"policies": [{"name": "idle", "when": leaf, "days": 3}]})
    facts = {"a": Facts("a", "a", "server", "", "", "jyt", 1, None)}
    when = (ZoneInfo("UTC"), NOW)
    found = list(service.scan_store(another(settings, tmp_path), facts, policies, when, Report()))
    assert [(each.run.first_day.day, each.run.last_day.day) for each in found] == [(1, 3), (5, 7)]


def test_two_machines_at_once_lose_nothing(settings: Settings, tmp_path: Path) -> None:
    """Both add to one day at one moment, again and again: whoever is second reads what the first has written."""
    start = Barrier(2)

    def both(which: int) -> int:
        mine = settings if which == 0 else another(settings, tmp_path)
        added = 0
        for hour in hours(START, 3):
            start.wait()
            added += take(mine, tmp_path, [row(f"vm-{which}", hour)], wait_s=60).added
        return added

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(both, (0, 1))) == [3, 3]
    assert len(stored(settings)) == 6


def test_a_day_that_somebody_else_changes_meanwhile_is_not_overwritten(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading and writing the other machine writes: ours says it is busy, and nothing of theirs is lost."""
    take(settings, tmp_path, [row("a", START)])
    real = store._write
    other = another(settings, tmp_path)

    def slow(*given: object) -> None:
        real(*given)  # type: ignore[arg-type]
        monkeypatch.undo()
        take(other, tmp_path, [row("theirs", START)])

    monkeypatch.setattr(store, "_write", slow)
    with pytest.raises(Conflict) as caught:
        take(settings, tmp_path, [row("ours", START)])
    assert caught.value.code == "store.busy"
    assert [found[0] for found in stored(settings)] == ["a", "theirs"]
    assert take(settings, tmp_path, [row("ours", START)]).added == 1


def test_old_days_are_thinned_and_what_came_too_late_does_not_undo_it(settings: Settings, tmp_path: Path) -> None:
    """A day that another machine had still open is thinned again, and keeps what was there."""
    old = datetime(2025, 6, 1, tzinfo=UTC)
    take(settings, tmp_path, [row(vm, hour) for vm in ("a", "b") for hour in hours(old, 24)])
    assert take(settings, tmp_path, [row("a", START)]).days_thinned == 1
    storage = storage_of(settings)
    draft = tmp_path / "again.parquet"
    only_c = write_csv(tmp_path / "c.csv", [row("c", hour) for hour in hours(old, 24)])
    select = f"SELECT * REPLACE (CAST(left(hour_utc, 13) || ':00:00' AS TIMESTAMP) AS hour_utc) FROM '{only_c}'"
    duckdb.execute(f"COPY ({select}) TO '{draft}' (FORMAT parquet)")
    storage.replace("hourly/day=2025-06-01/samples.parquet", draft, None)
    assert take(settings, tmp_path, [row("b", START)]).days_thinned == 1
    daily = storage.local(storage.listed("daily"))
    found = duckdb.execute(f"SELECT vm_id, n_samples FROM '{daily[0]}' ORDER BY 1").fetchall()
    assert found == [("a", 288), ("b", 288), ("c", 288)]
    assert list(versions(settings)) == ["hourly/day=2026-10-01/samples.parquet"]


@pytest.mark.parametrize("dies", [False, True])
def test_what_comes_into_a_day_while_it_is_thinned_is_not_lost(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dies: bool,  # noqa: FBT001 - a case
) -> None:
    """Another machine, which has not seen the newest sample yet, writes between reading and deleting.

    A day that has been thinned takes nothing in until it is gone, also when who thinned it died in between.
    """
    old = datetime(2025, 6, 1, tzinfo=UTC)
    take(settings, tmp_path, [row("a", hour) for hour in hours(old, 24)])
    real, other, name = store._write, storage_of(another(settings, tmp_path)), "hourly/day=2025-06-01/samples.parquet"

    def slow(*given: object) -> None:
        real(*given)  # type: ignore[arg-type]
        if "LIMIT 0" in str(given[1]):
            monkeypatch.undo()
            (theirs,) = other.listed("hourly/day=2025-06-01")
            draft = tmp_path / "theirs.parquet"
            there = f"FROM '{other.local([theirs])[0]}'"
            both = f"SELECT * {there} UNION ALL SELECT * REPLACE ('b' AS vm_id) {there}"
            duckdb.execute(f"COPY ({both}) TO '{draft}'")
            other.replace(name, draft, theirs)
            if dies:
                monkeypatch.setattr(Bucket, "remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))

    monkeypatch.setattr(store, "_write", slow)
    if dies:
        with pytest.raises(KeyboardInterrupt):
            take(settings, tmp_path, [row("a", START)], wait_s=60)
        monkeypatch.undo()
        with engine() as scratch, pytest.raises(Moved):
            store._merge_day(scratch, other, old.date(), correct=False)
        assert take(settings, tmp_path, [row("a", START)]).days_thinned == 1
    else:
        assert take(settings, tmp_path, [row("a", START)], wait_s=60).days_thinned == 1
    (daily,) = other.local(other.listed("daily"))
    assert duckdb.execute(f"SELECT vm_id FROM '{daily}' ORDER BY 1").fetchall() == [("a",), ("b",)]
    assert list(versions(settings)) == ["hourly/day=2026-10-01/samples.parquet"]


def test_looks_of_any_machine_make_the_hour(settings: Settings, tmp_path: Path) -> None:
    """Two workers take turns at asking a cloud: the rates are those of all looks."""
    server = UUID("0190aaaa-0000-7000-8000-000000000001")
    both = [Looks(storage_of(each), "jyt") for each in (settings, another(settings, tmp_path))]
    for n in range(13):
        look = ServerCounters(server, True, 2, 4, cpu_s=1000 + 30 * n, memory_used_gib=1, disk_bytes=0, net_bytes=0)
        counters.keep(both[n % 2], START + n * counters.EVERY, [look])
    (found,) = counters.hours(both[0], START, START + timedelta(hours=1))
    assert (found["n_samples"], float(found["cpu_avg_pct"])) == ("12", 5)


def test_what_was_fetched_is_not_fetched_again_and_gives_way(settings: Settings, tmp_path: Path) -> None:
    """A version is fetched once; beyond the limit what was not read for longest goes, and comes back when asked for."""
    take(settings, tmp_path, [row("a", hour) for hour in hours(START, 48)])
    other = another(settings, tmp_path)
    files = hourly_files(other)
    inodes = [path.stat().st_ino for path in files]
    assert [path.stat().st_ino for path in hourly_files(other)] == inodes
    whole = storage_of(other)
    assert isinstance(whole, Bucket)
    small = replace(whole, most=1)
    os.utime(files[0], (0, 0))
    small.local(small.listed("hourly/day=2026-10-02"))
    assert [path.exists() for path in files] == [False, True], "what was read within the hour stays"
    assert len(hourly_files(other)) == 2


def test_a_wrong_key_is_refused_and_told_to_nobody(
    address: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One code, no address and no key in what is said."""
    settings = machine(address, tmp_path, "x", "a-wrong-secret")
    with pytest.raises(BrokerError) as caught:
        hourly_files(settings)
    assert caught.value.code == "store.refused"
    with pytest.raises(BrokerError) as caught:
        take(settings, tmp_path, [row("a", START)])
    assert caught.value.code == "store.refused"
    said = "".join((str(caught.value), repr(caught.value), repr(storage_of(settings)), *capfd.readouterr()))
    assert "a-wrong-secret" not in said
    assert KEY not in said


def test_a_store_that_does_not_answer_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few tries: who collects comes back later."""
    monkeypatch.setattr("broker.utilisation.bucket.RETRY", {"max_retries": 0})
    with pytest.raises(BrokerError) as caught:
        hourly_files(machine("http://127.0.0.1:9", tmp_path, "x"))
    assert (caught.value.code, caught.value.status) == ("store.unreachable", 503)


def test_a_store_that_passes_over_conditions_is_refused(tmp_path: Path) -> None:
    """Two writers would lose each other's rows there. Seen at the wire: a server that takes whatever it is given."""
    asked: list[str] = []

    class Careless(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.headers["If-None-Match"] or self.headers["If-Match"])
            self.send_response(200)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Careless) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        settings = machine(f"http://127.0.0.1:{server.server_port}", tmp_path, "x")
        with pytest.raises(BrokerError) as caught:
            take(settings, tmp_path, [row("a", START)])
        server.shutdown()
    assert caught.value.code == "store.no_conditions"
    assert asked[0] == "*"

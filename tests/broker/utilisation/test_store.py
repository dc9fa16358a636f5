"""The store: an import says what it did with every row, changes nothing when repeated, and leaves whole days behind."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from itertools import permutations
from pathlib import Path

import duckdb
import pytest

from broker.errors import BrokerError, Conflict
from broker.settings import Settings
from broker.utilisation import service, store
from broker.utilisation.store import Imported, hourly_files, keep_from, storage_of
from tests.broker.utilisation.files import NOW, hours, line, row, write_csv
from tests.broker.utilisation.oracle import Row

START = datetime(2026, 10, 1, tzinfo=UTC)
Take = Callable[..., Imported]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def take(settings: Settings, tmp_path: Path) -> Take:
    """Import rows, and lines as they stand."""

    def take(rows: Iterable[Row], *extra: str) -> Imported:
        return service.import_file(settings, write_csv(tmp_path / "m.csv", rows, extra), NOW)

    return take


def files(settings: Settings) -> dict[str, bytes]:
    folder = settings.home / "utilisation"
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.parquet"))}


def stored(
    settings: Settings, columns: str = "vm_id, hour_utc, cpu_avg_pct", kind: str = "hourly"
) -> list[tuple[object, ...]]:
    pattern = settings.home / "utilisation" / kind / "*" / "*.parquet"
    with duckdb.connect() as db:
        return db.execute(f"SELECT {columns} FROM '{pattern}' ORDER BY ALL").fetchall()


def test_a_day_is_a_file_and_importing_again_changes_none(settings: Settings, take: Take) -> None:
    """Idempotent to the byte: the second import finds everything as it is."""
    rows = [row(vm, hour) for vm in ("a", "b") for hour in hours(START, 48)]
    first = take(rows)
    assert (first.added, first.updated, first.unchanged, first.days_written) == (96, 0, 0, 2)
    before = files(settings)
    assert set(before) == {"hourly/day=2026-10-01/samples.parquet", "hourly/day=2026-10-02/samples.parquet"}
    again = take(rows)
    assert (again.added, again.updated, again.unchanged, again.days_written) == (0, 0, 96, 0)
    assert files(settings) == before


def test_late_rows_join_their_day_in_any_order(settings: Settings, take: Take) -> None:
    """What comes late is as good as what came in time."""
    rows = [row("a", hour, cpu_avg_pct=str(n)) for n, hour in enumerate(hours(START, 48))]
    take(rows[30:])
    late = take(rows[:30])
    assert (late.added, late.unchanged) == (30, 0)
    assert [r[2] for r in stored(settings)] == [float(n) for n in range(48)]


def test_jittered_rows_of_an_hour_become_one(settings: Settings, take: Take) -> None:
    """Means by samples, the greatest maximum, the sum of samples; an equal row counts once."""
    halves = [
        "a,2026-10-01T05:02:11Z,2,4,10,30,0.5,8,1,4,0",
        "a,2026-10-01T05:32:09Z,2,4,1,90,0.5,8,1,8,0",
        "a,2026-10-01T05:32:09Z,2,4,1,90,0.5,8,1,8,0",
    ]
    done = take([], *halves)
    assert (done.added, done.merged, done.jittered) == (1, 1, 3)
    assert [(left.reason, left.count) for left in done.intake.left] == [("sample.duplicate", 1)]
    assert stored(settings, "hour_utc, cpu_avg_pct, cpu_max_pct, n_samples") == [(datetime(2026, 10, 1, 5), 4, 90, 12)]  # noqa: DTZ001 - as stored, UTC


def test_the_fuller_hour_wins_and_a_correction_does(settings: Settings, take: Take, tmp_path: Path) -> None:
    """A partial hour does not replace a whole one, nor one that is as whole and lower, unless it is said to."""
    take([row("a", START, cpu_avg_pct="50")])
    partial = take([row("a", START, cpu_avg_pct="1", n_samples="3")])
    assert (partial.fuller, partial.days_written) == (1, 0)
    as_whole = [row("a", START, cpu_avg_pct="40")]
    lower = take(as_whole)
    assert (lower.lower, lower.days_written) == (1, 0)
    corrected = service.import_file(settings, write_csv(tmp_path / "c.csv", as_whole), NOW, correct=True)
    assert corrected.updated == 1
    assert [r[2] for r in stored(settings)] == [40.0]


def test_the_order_of_imports_decides_nothing(tmp_path: Path) -> None:
    """Three files of the same hours, some as full as others, in every order and again: the same rows."""
    start, values = hours(START, 3), ("cpu_avg_pct", "net_kbps", "n_samples")
    told: tuple[dict[int, tuple[str, str, str]], ...] = (
        {0: ("50", "1", "12"), 1: ("5", "", "12")},
        {0: ("40", "9", "12"), 1: ("5", "2", "12"), 2: ("7", "7", "3")},
        {0: ("50", "2", "12"), 2: ("1", "1", "")},
    )
    rows = [[row("a", start[n], **dict(zip(values, v, strict=True))) for n, v in each.items()] for each in told]
    found = set()
    for number, order in enumerate(permutations(range(3))):
        settings = Settings(home=tmp_path / str(number))
        for which in (*order, *reversed(order)):
            service.import_file(settings, write_csv(tmp_path / f"{which}.csv", rows[which]), NOW)
        found.add(tuple(stored(settings, "*")))
        assert stored(settings, "cpu_avg_pct, net_kbps") == [(5.0, 2.0), (7.0, 7.0), (50.0, 2.0)]
    assert len(found) == 1


def test_an_old_file_that_comes_again_is_not_the_later_one(settings: Settings, tmp_path: Path) -> None:
    """Files a, b, and a again: what b put right stays right; an hour that is not there any more comes back."""
    a = write_csv(tmp_path / "a.csv", [row("a", hour, cpu_avg_pct="50") for hour in hours(START, 2)])
    b = write_csv(tmp_path / "b.csv", [row("a", START, cpu_avg_pct="40")])

    def take_file(path: Path) -> Imported:
        return service.import_file(settings, path, NOW, remember=True)

    assert (take_file(a).added, service.import_file(settings, b, NOW, remember=True, correct=True).updated) == (2, 1)
    for path, older in ((a, 1), (b, 0), (a, 1)):
        again = take_file(path)
        assert (again.updated, again.older, again.days_written) == (0, older, 0)
    assert [r[2] for r in stored(settings)] == [40.0, 50.0]
    folder = tmp_path / "both"
    folder.mkdir()
    a.rename(folder / "a.csv")
    a = folder / "a.csv"
    write_csv(folder / "c.csv", [row("b", START)])
    together = take_file(folder)
    assert (together.added, together.updated, together.older) == (1, 0, 1), "beside a new file it is as old as alone"
    assert [r[2] for r in stored(settings)][:2] == [40.0, 50.0]
    for path in hourly_files(settings):
        path.unlink()
    assert take_file(a).added == 2


def test_everything_left_out_is_told(take: Take) -> None:
    """Counts per reason, the first lines named; the good rows are in."""
    done = take(
        [row("a", hour) for hour in hours(START, 3)],
        "a,2026-10-01T07Z,2,4,-1,1,1,1,1,12,0",
        "a,2026-10-01T08Z,2,4,-1,1,1,1,1,12,0",
        "a,nonsense",
        "a,2099-10-01T08Z,2,4,1,1,1,1,1,12,0",
        "a,2020-10-01T08Z,2,4,1,1,1,1,1,12,0",
    )
    assert (done.intake.rows, done.added, done.intake.dropped) == (8, 3, 5)
    assert {left.reason: (left.count, left.first) for left in done.intake.left} == {
        "sample.negative": (2, ("m.csv:5", "m.csv:6")),
        "sample.broken": (1, ("m.csv:7",)),
        "sample.future": (1, ("m.csv:8",)),
        "sample.too_old": (1, ("a 2020-10-01T08Z",)),
    }


def test_hours_without_rows_are_counted(take: Take) -> None:
    """Between a resource's first and last hour."""
    held = hours(START, 10)
    assert take([row("a", hour) for hour in [*held[:2], *held[5:]]]).missing_hours == 3


def test_a_row_with_an_open_quote_takes_no_other_with_it(take: Take) -> None:
    """It is told; the hours after it are there and none is missing."""
    held = hours(START, 10)
    rest = [",".join(line(row("a", hour))) for hour in held[2:]]
    done = take([row("a", hour) for hour in held[:2]], '"a,2026-10-01T02Z,2,4,1,1,1,1,1,12,0', *rest)
    assert (done.intake.rows, done.added, done.missing_hours) == (11, 10, 0)
    assert [(left.reason, left.first) for left in done.intake.left] == [("sample.broken", ("m.csv:4",))]


def test_old_days_are_thinned_to_one_row_a_resource(settings: Settings, take: Take) -> None:
    """15 months of hours are kept, counted from the newest sample; a thinned day takes no late rows."""
    old = [row("a", hour, cpu_avg_pct=str(n)) for n, hour in enumerate(hours(datetime(2025, 6, 1, tzinfo=UTC), 24))]
    take(old)
    assert take([row("a", datetime(2025, 7, 1, tzinfo=UTC))]).days_thinned == 0
    done = take([row("a", datetime(2026, 10, 1, tzinfo=UTC))])
    assert done.days_thinned == 1
    assert [f"{each.parent.name}" for each in hourly_files(settings)] == [
        "day=2025-07-01",
        "day=2026-10-01",
    ]
    assert stored(settings, "vm_id, cpu_avg_pct, n_samples", "daily") == [("a", 11.5, 288)]
    late = take(old)
    assert [(left.reason, left.count) for left in late.intake.left] == [("sample.too_old", 24)]


def test_keeping_is_counted_in_whole_months() -> None:
    """15 months before any day of November 2026: from August 2025 on."""
    assert keep_from(date(2026, 11, 30), 15) == date(2025, 8, 1)
    assert keep_from(date(2026, 1, 1), 1) == date(2025, 12, 1)


def test_two_imports_at_once_are_refused(settings: Settings, take: Take) -> None:
    """The second may come again; nothing is torn."""
    folder = settings.home / "utilisation"
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Conflict) as caught:
            take([row("a", START)])
    assert caught.value.code == "store.busy"


def test_an_import_that_dies_leaves_whole_days(settings: Settings, take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two days: the first is whole, the second as it was; importing again finishes."""
    rows = [row("a", hour) for hour in hours(START, 48)]
    real = store._merge_day
    days: list[date] = []

    def dies(*given: object, **how: bool) -> dict[str, int]:
        days.append(given[2])  # type: ignore[arg-type]
        if len(days) == 2:
            raise KeyboardInterrupt
        return real(*given, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "_merge_day", dies)
    with pytest.raises(KeyboardInterrupt):
        take(rows)
    assert len(stored(settings)) == 24
    monkeypatch.undo()
    done = take(rows)
    assert (done.added, done.unchanged) == (24, 24)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://host/x", "store.scheme"),
        ("file://elsewhere/x", "store.scheme"),
        ("s3://key:secret@bucket/x", "store.bucket"),
        ("s3:///x", "store.bucket"),
        ("s3://bucket/x", "store.endpoint"),
    ],
)
def test_a_place_that_cannot_be_is_refused(tmp_path: Path, url: str, code: str) -> None:
    """Said plainly, with a code; credentials do not belong into an address."""
    with pytest.raises(BrokerError) as caught:
        storage_of(Settings(home=tmp_path, utilisation_url=url))
    assert caught.value.code == code

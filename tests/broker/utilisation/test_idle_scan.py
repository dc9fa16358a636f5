"""``guiyun idle scan --metrics``: files in, one JSON object a line out, every bad row told, the rest read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from api.cli.main import build
from tests.broker.utilisation.files import COLUMNS, hours, row, write_csv, write_parquet
from tests.broker.utilisation.oracle import Row

START = datetime(2026, 6, 30, 16, tzinfo=UTC)  # midnight of 1 July in Asia/Shanghai
POLICY = {
    "name": "idle",
    "kind": "server",
    "when": {"all": [{"metric": "cpu_avg_pct", "daily": "mean", "below": 5}]},
    "days": 3,
    "min_samples_per_day": 1,
    "missing_day": "break",
}


def idle(count: int = 72, resource: str = "7") -> list[Row]:
    return [row(resource, hour) for hour in hours(START, count)]


def scan(metrics: Path, *options: str, policy: Mapping[str, Any] = POLICY) -> Result:
    file = metrics.parent / "policy.yaml"
    file.write_text(json.dumps({"policies": [dict(policy)]}))
    return CliRunner().invoke(
        build(["api.cli.idle"]), ["idle", "scan", "--metrics", str(metrics), "--policy", str(file), *options]
    )


def found(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_run_is_one_line_with_its_evidence(tmp_path: Path) -> None:
    """Contract: resource_id, policy, first_day, last_day, days; days are Asia/Shanghai's unless told otherwise."""
    file = write_csv(tmp_path / "m.csv.gz", idle())
    assert found(scan(file, "--json")) == [
        {
            "resource_id": "7",
            "policy": "idle",
            "first_day": "2026-07-01",
            "last_day": "2026-07-03",
            "days": 3,
            "evidence": [
                {"metric": "cpu_avg_pct", "daily": "mean", "below": 5.0, "least": 1.5, "greatest": 1.5, "mean": 1.5}
            ],
        }
    ]
    (in_utc,) = found(scan(file, "--json", "--timezone", "UTC"))
    assert (in_utc["first_day"], in_utc["last_day"], in_utc["days"]) == ("2026-06-30", "2026-07-03", 4)


def test_people_are_told_in_words(tmp_path: Path) -> None:
    """What was measured, against which limit, whose rule it is."""
    told = scan(write_csv(tmp_path / "m.csv", idle())).stdout
    assert "2026-07-01 至 2026-07-03" in told
    assert "CPU 平均利用率日均低于 5%：实测 1.5%" in told
    assert "自定规则" in told


@pytest.mark.parametrize(
    "types",
    [
        {},
        {"hour_utc": "VARCHAR"},
        {"hour_utc": "TIMESTAMPTZ"},
        {"hour_utc": "TIMESTAMP_NS"},
        {"vm_id": "BIGINT"},
        {"cpu_avg_pct": "FLOAT", "n_samples": "INTEGER"},
        {"cpu_avg_pct": "DECIMAL(9,2)"},
    ],
)
def test_parquet_in_any_plain_type_gives_the_same(tmp_path: Path, types: dict[str, str]) -> None:
    """Others write ids as numbers and times as text."""
    (run,) = found(scan(write_parquet(tmp_path / "m.parquet", idle(), types), "--json"))
    assert (run["resource_id"], run["first_day"], run["days"]) == ("7", "2026-07-01", 3)


def test_a_folder_may_mix_formats(tmp_path: Path) -> None:
    """CSV and Parquet, numbers and text as ids: one set of samples."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    rows = idle()
    write_csv(folder / "a.csv", rows[:24])
    write_parquet(folder / "b.parquet", rows[24:48], {"vm_id": "BIGINT"})
    write_parquet(folder / "c.parquet", rows[48:], {"hour_utc": "VARCHAR"})
    (run,) = found(scan(folder, "--json"))
    assert (run["resource_id"], run["days"]) == ("7", 3)


BAD_LINES = {
    "sample.broken": "7,2026-07-01T00Z,2",
    "sample.resource_missing": ",2026-07-01T00Z,2,4,1,1,1,1,1,12,0",
    "sample.hour": "7,yesterday,2,4,1,1,1,1,1,12,0",
    "sample.number": "7,2026-07-01T00Z,2,4,high,1,1,1,1,12,0",
    "sample.negative": "7,2026-07-01T00Z,2,4,-1,1,1,1,1,12,0",
    "sample.too_large": "7,2026-07-01T00Z,2,4,1000000000,1,1,1,1,12,0",
    "sample.future": "7,2999-07-01T00Z,2,4,1,1,1,1,1,12,0",
}


@pytest.mark.parametrize(("reason", "line"), BAD_LINES.items())
def test_a_bad_row_is_told_and_the_rest_is_read(tmp_path: Path, reason: str, line: str) -> None:
    """The reason, how many, and the line in the file; the result is that of the good rows."""
    result = scan(write_csv(tmp_path / "m.csv", idle(), extra=[line]), "--json")
    assert [run["days"] for run in found(result)] == [3]
    told = json.loads(result.stderr)
    assert (told["rows"], told["dropped"]) == (73, 1)
    assert told["left"] == [{"reason": reason, "count": 1, "first": ["m.csv:74"]}]


OPEN_QUOTES = {
    "before the id": '"7,2026-07-01T03Z,2,4,1,1,1,1,1,12,0',
    "before a number": '7,2026-07-01T03Z,2,4,"1,1,1,1,1,12,0',
    "within the id": '7"7,2026-07-01T03Z,2,4,1,1,1,1,1,12,0',
    "after what was quoted": '"7"7,2026-07-01T03Z,2,4,1,1,1,1,1,12,0',
}


@pytest.mark.parametrize("name", ["m.csv", "m.csv.gz"])
@pytest.mark.parametrize("line", OPEN_QUOTES.values(), ids=OPEN_QUOTES)
def test_a_quote_that_is_not_closed_spoils_its_own_line(tmp_path: Path, line: str, name: str) -> None:
    """The rows after it are read, to the last; what is quoted properly is a row, with commas and quotes in it."""
    file = write_csv(tmp_path / name, idle())
    opener = gzip.open if name.endswith("gz") else open
    with opener(file, "rt", encoding="utf-8") as read:
        lines = read.read().splitlines()
    good = ['"7","2026-07-01T04Z","2",4,1,1,1,1,1,12,0', '"a ""b"", c",2026-07-01T04Z,2,4,1,1,1,1,1,12,0', ""]
    with opener(file, "wt", encoding="utf-8", newline="") as out:
        out.write("\r\n".join([*lines[:40], line, *good, *lines[40:]]))
    result = scan(file, "--json", policy=POLICY | {"days": 1})
    assert {(run["resource_id"], run["days"]) for run in found(result)} == {("7", 3), ('a "b", c', 1)}
    told = json.loads(result.stderr)
    assert (told["rows"], told["dropped"]) == (75, 1)
    assert told["left"] == [{"reason": "sample.broken", "count": 1, "first": [f"{name}:41"]}]


ENDS = {
    "one of another kind": lambda lines: "\n".join(lines[:40]) + "\r\n" + "\n".join(lines[40:]),
    "all but one": lambda lines: "\r\n".join(lines[:40]) + "\n" + "\r\n".join(lines[40:]),
    "the header's": lambda lines: lines[0] + "\r\n" + "\n".join(lines[1:]),
    "all alike": lambda lines: "\r\n".join(lines) + "\r\n",
}


@pytest.mark.parametrize("written", ENDS.values(), ids=ENDS)
def test_lines_need_not_end_alike(tmp_path: Path, written: Callable[[list[str]], str]) -> None:
    """A file that was put together on two systems is read to the last row."""
    file = write_csv(tmp_path / "m.csv", idle())
    file.write_bytes(written(file.read_text().splitlines()).encode())
    result = scan(file, "--json", policy=POLICY | {"min_samples_per_day": 24})
    assert [run["days"] for run in found(result)] == [3]
    assert result.stderr == "", "nothing is left out"


def test_a_carriage_return_within_a_line_spoils_no_other(tmp_path: Path) -> None:
    """In a row it is that row's; in the header nothing can be read, and that is said."""
    file = write_csv(tmp_path / "m.csv", idle())
    lines = file.read_text().splitlines()
    lines[40] = lines[40].replace(",4,", ",\r4,")
    file.write_bytes("\n".join(lines).encode())
    result = scan(file, "--json", policy=POLICY | {"days": 1})
    assert [run["days"] for run in found(result)] == [3]
    file.write_bytes("\r".join(lines).encode())
    result = scan(file)
    assert result.exit_code == 1
    assert "m.csv:1" in result.stderr


def test_lines_are_counted_past_broken_ones(tmp_path: Path) -> None:
    """The place named is the line an editor shows; only three of a kind are named."""
    extra = [BAD_LINES["sample.broken"], *[BAD_LINES["sample.negative"]] * 4, BAD_LINES["sample.broken"]]
    result = scan(write_csv(tmp_path / "m.csv", idle(), extra=extra))
    assert "sample.negative：4 行" in result.stderr
    assert "m.csv:75、m.csv:76、m.csv:77）" in result.stderr
    assert "m.csv:74、m.csv:79" in result.stderr


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("sample.negative", "cpu_avg_pct = -1"),
        ("sample.too_large", "cpu_avg_pct = 1e9"),
        ("sample.number", "cpu_avg_pct = 'nan'::DOUBLE"),
        ("sample.future", "hour_utc = TIMESTAMP '2999-01-01'"),
        ("sample.hour", "hour_utc = NULL"),
        ("sample.resource_missing", "vm_id = NULL"),
    ],
)
def test_parquet_is_checked_as_well(tmp_path: Path, reason: str, change: str) -> None:
    """Not only CSV can hold what cannot be."""
    import duckdb

    file = write_parquet(tmp_path / "m.parquet", idle(73))
    with duckdb.connect() as db:
        db.execute(f"CREATE TABLE t AS FROM '{file}'")
        db.execute(f"UPDATE t SET {change} WHERE hour_utc = (SELECT max(hour_utc) FROM t)")
        db.execute(f"COPY t TO '{file}' (FORMAT parquet)")
    result = scan(file, "--json")
    assert [run["days"] for run in found(result)] == [3]
    (left,) = json.loads(result.stderr)["left"]
    assert (left["reason"], left["count"]) == (reason, 1)


def test_a_metric_that_was_not_measured_is_no_reason_to_drop_a_row(tmp_path: Path) -> None:
    """Not every cloud tells everything; but what was not measured is not idle."""
    rows = [row("7", hour, cpu_avg_pct=None if n < 24 else "1") for n, hour in enumerate(hours(START, 96))]
    result = scan(write_csv(tmp_path / "m.csv", rows), "--json")
    assert [(run["first_day"], run["days"]) for run in found(result)] == [("2026-07-02", 3)]
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("m.csv", b"", "metrics.empty"),
        ("m.csv", b"a,b,c\n1,2,3\n", "metrics.column_missing"),
        ("m.csv", ",".join([*COLUMNS, "net_kbps"]).encode(), "metrics.column_twice"),
        ("m.csv", b"\xff\xfe\x00", "metrics.not_utf8"),
        ("m.csv.gz", b"not gzip", "metrics.broken"),
        ("m.parquet", b"not parquet", "metrics.broken"),
        ("m.txt", b"", "metrics.format"),
        ("m.csv", ",".join(COLUMNS).encode() + b"\n7,x,1,1,1,1,1,1,1,1,1\n", "metrics.nothing_read"),
    ],
)
def test_a_file_that_holds_no_samples_is_refused(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    """Exit 1 and a stable code; nothing on standard output."""
    file = tmp_path / name
    file.write_bytes(content)
    result = scan(file, "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert code in result.stderr


def test_an_empty_folder_and_an_unknown_zone_are_refused(tmp_path: Path) -> None:
    """Each with its code."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    assert "metrics.no_files" in scan(folder).stderr
    write_csv(folder / "m.csv", idle())
    assert "timezone.unknown" in scan(folder, "--timezone", "Mars/Olympus").stderr


def test_a_bad_policy_is_refused(tmp_path: Path) -> None:
    """Before anything is read."""
    result = scan(write_csv(tmp_path / "m.csv", idle()), policy={**POLICY, "days": 0})
    assert (result.exit_code, result.stdout) == (1, "")
    assert "policy.no_days" in result.stderr


def test_the_shipped_policies_find_what_is_idle_and_what_is_off(tmp_path: Path) -> None:
    """Without --policy; a busy one is not found."""
    off = {"vcpu": "0", "cpu_avg_pct": "0", "n_off": "12"}
    rows = [
        *idle(31 * 24, "quiet"),
        *(row("off", hour, **off) for hour in hours(START, 16 * 24)),
        *(row("busy", hour, cpu_avg_pct="60", cpu_max_pct="90") for hour in hours(START, 31 * 24)),
    ]
    file = write_csv(tmp_path / "m.csv", rows)
    result = CliRunner().invoke(build(["api.cli.idle"]), ["idle", "scan", "--metrics", str(file), "--json"])
    assert sorted((run["resource_id"], run["policy"], run["days"]) for run in found(result)) == [
        ("off", "powered-off", 16),
        ("quiet", "idle-server", 31),
    ]


def longest(runs: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    best: dict[tuple[str, str], int] = {}
    for run in runs:
        key = (run["resource_id"], run["policy"])
        best[key] = max(best.get(key, 0), run["days"])
    return best


def test_a_trace_with_gaps_power_offs_and_peaks_above_100(tmp_path: Path) -> None:
    """A small trace in the shape of a real one, its longest runs counted by hand."""
    rows: list[Row] = []
    for n, hour in enumerate(hours(START, 12 * 24)):
        day = n // 24
        if day == 5:
            continue  # a gap of a day
        busy = day == 9
        rows.append(row("gap", hour, cpu_avg_pct="7" if busy else "1"))
        rows.append(row("peaks", hour, cpu_avg_pct="4", cpu_max_pct="182.1" if n % 24 == 0 else "6"))
        rows.append(row("off", hour, vcpu="0" if day >= 6 else "2", cpu_avg_pct="0" if day >= 6 else "40"))
    policies = [
        {**POLICY, "name": "mean", "days": 1},
        {**POLICY, "name": "skip", "days": 1, "missing_day": "skip"},
        {**POLICY, "name": "max", "days": 1, "when": {"all": [{"metric": "cpu_max_pct", "daily": "max", "below": 10}]}},
        {**POLICY, "name": "p95", "days": 1, "when": {"all": [{"metric": "cpu_max_pct", "daily": "p95", "below": 10}]}},
    ]
    file = write_csv(tmp_path / "m.csv", rows)
    (tmp_path / "several.yaml").write_text(json.dumps({"policies": policies}))
    result = CliRunner().invoke(
        build(["api.cli.idle"]),
        ["idle", "scan", "--metrics", str(file), "--policy", str(tmp_path / "several.yaml"), "--json"],
    )
    best = longest(found(result))
    assert {key: best.get(key, 0) for key in [("gap", "mean"), ("gap", "skip"), ("off", "mean")]} == {
        ("gap", "mean"): 5,
        ("gap", "skip"): 8,
        ("off", "mean"): 6,
    }
    # One hour in 24 above the limit is more than 5 % of the day: the 95th percentile is still the 23rd of 24.
    assert (best.get(("peaks", "max"), 0), best[("peaks", "p95")]) == (0, 6)


@pytest.mark.parametrize(("rows", "high", "holds"), [(20, 1, True), (20, 2, False), (24, 1, True), (24, 2, False)])
def test_the_95th_percentile_is_by_nearest_rank(tmp_path: Path, rows: int, high: int, *, holds: bool) -> None:
    """Of 20 rows the 19th smallest, of 24 the 23rd; a limit itself is not below it."""
    day = [row("7", hour, cpu_avg_pct="5" if n < high else "4.99") for n, hour in enumerate(hours(START, rows))]
    p95 = {"all": [{"metric": "cpu_avg_pct", "daily": "p95", "below": 5}]}
    result = scan(write_csv(tmp_path / "m.csv", day), "--json", policy={**POLICY, "days": 1, "when": p95})
    assert bool(found(result)) is holds

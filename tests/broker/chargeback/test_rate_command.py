"""``guiyun rate``: files in, files out, every amount exact, every mistake with its line."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import broker.chargeback
from api.cli.main import build
from api.texts.files import SENTENCES
from broker.chargeback.problems import MOST, Problems
from broker.errors import Invalid

HEADER = "resource_id,payer_id,city_code,sub_cloud,meter,quantity,start_at,end_at"
SPAN = "vm1,p1,450100,main,vcpu,4,2026-10-01T00:00:00Z,2026-10-02T00:00:00Z"
TARIFF = """
prices:
  - {meter: vcpu, price_cny: 0.096, per: hour, valid_from: 2026-01-01T00:00:00+08:00, valid_to: "2026-10-15T04:00:01Z"}
  - {meter: vcpu, price_cny: "0.1", per: hour, valid_from: 2026-10-15 12:00:01+08:00}
  - {meter: disk, price_cny: 0.00000001, per: month, valid_from: 2026-01-01T00:00:00+08:00, valid_to: null}
"""
Row = dict[str, str]


def run(
    folder: Path, *rows: str, tariff: str | bytes = TARIFF, more: tuple[str, ...] = (), header: str = HEADER
) -> Result:
    """Rate October 2026 from rows of CSV."""
    (folder / "spans.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    (folder / "tariff.yaml").write_bytes(tariff.encode() if isinstance(tariff, str) else tariff)
    return call(folder, *more)


def call(folder: Path, *more: str, month: str = "2026-10", spans: str = "spans.csv") -> Result:
    files = ["--spans", str(folder / spans), "--tariff", str(folder / "tariff.yaml"), "--out", str(folder / "out")]
    return CliRunner().invoke(build(["api.cli.rate"]), ["rate", *files, "--month", month, *more])


def read(folder: Path, name: str) -> list[Row]:
    with (folder / "out" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_price_change_makes_two_lines_and_totals_are_their_sums(tmp_path: Path) -> None:
    """Columns, order and names as scripts rely on; ``valid_from`` as the tariff writes it."""
    done = run(
        tmp_path,
        "vm1,p1,450100,main,vcpu,4,2026-10-15T03:00:00Z,2026-10-15T05:00:00Z",
        "vm2,p1,450100,main,vcpu,0.5,2026-10-01T00:00:00Z,2026-10-01T00:00:03Z",
        "vm1,p2,,main,vcpu,1,2026-10-20T00:00:00Z,2026-10-20T01:00:00Z",
    )
    assert (done.exit_code, done.stderr) == (0, "")
    assert (tmp_path / "out" / "lines.csv").read_text().splitlines() == [
        "payer_id,resource_id,meter,valid_from,quantity_seconds,amount_fen,price",
        "p1,vm1,vcpu,2026-01-01T00:00:00+08:00,14404,38,1",  # 38.410...
        "p1,vm1,vcpu,2026-10-15 12:00:01+08:00,14396,40,2",  # 39.98...
        "p1,vm2,vcpu,2026-01-01T00:00:00+08:00,1.5,0,1",
        "p2,vm1,vcpu,2026-10-15 12:00:01+08:00,3600,10,2",
    ]
    assert (tmp_path / "out" / "totals.csv").read_text().splitlines() == [
        "payer_id,city_code,amount_fen",
        "p1,450100,78",
        "p2,,10",
    ]


def test_a_price_per_month_counts_the_seconds_of_that_month_in_shanghai(tmp_path: Path) -> None:
    """A whole month costs the price, in February as in October; what lies outside is cut off."""
    tariff = "prices: [{meter: m, price_cny: 31, per: month, valid_from: 2020-01-01T00:00:00Z}]"
    whole = "r,p,c,s,m,1,2020-01-01T00:00:00Z,2030-01-01T00:00:00Z"
    day = "q,p,c,s,m,1,2026-10-30T16:00:00Z,2030-01-01T00:00:00Z"
    before = "x,p,c,s,m,1,2026-09-01T00:00:00Z,2026-09-30T16:00:00Z"
    empty = "y,p,c,s,m,1,2026-10-05T00:00:00Z,2026-10-05T00:00:00Z"
    assert run(tmp_path, whole, day, before, empty, tariff=tariff).exit_code == 0
    assert [(x["resource_id"], x["amount_fen"]) for x in read(tmp_path, "lines.csv")] == [("q", "100"), ("r", "3100")]
    for month in ("2024-02", "2026-02", "2026-12"):
        assert call(tmp_path, month=month).exit_code == 0
        assert [x["amount_fen"] for x in read(tmp_path, "lines.csv") if x["resource_id"] == "r"] == ["3100"]


def test_a_price_is_read_as_written_never_as_a_float(tmp_path: Path) -> None:
    """Unquoted YAML numbers with 18 digits: a float would keep about 16."""
    tariff = "prices: [{meter: m, price_cny: 9007199.25474099, per: hour, valid_from: 2020-01-01T00:00:00Z}]"
    done = run(tmp_path, "r,p,c,s,m,10000,2026-10-05T00:00:00Z,2026-10-05T01:00:00Z", tariff=tariff)
    assert done.exit_code == 0
    assert read(tmp_path, "lines.csv")[0]["amount_fen"] == "9007199254741"


def test_two_prices_that_begin_at_one_time_are_told_apart(tmp_path: Path) -> None:
    """``price`` is the version's place in the tariff; times in either spelling."""
    tariff = """
prices:
  - {meter: m, price_cny: 1, per: hour, valid_from: 2026-01-01T00:00:00Z}
  - {meter: m, sub_cloud: gat, price_cny: 5, per: hour, valid_from: 2026-01-01T00:00:00Z}
"""
    rows = [f"{cloud},p,c,{cloud},m,1,2026-10-04T23:00:00Z,2026-10-05T00:00:00Z" for cloud in ("gat", "main")]
    for spelled in ("Z", "+00:00"):
        assert run(tmp_path, *(row.replace("Z", spelled) for row in rows), tariff=tariff).exit_code == 0
        found = [(x["resource_id"], x["amount_fen"], x["price"]) for x in read(tmp_path, "lines.csv")]
        assert found == [("gat", "500", "2"), ("main", "100", "1")]


def test_a_sub_clouds_own_price_wins(tmp_path: Path) -> None:
    """While it is valid; the general one holds elsewhere and at other times."""
    tariff = """
prices:
  - {meter: m, price_cny: 1, per: hour, valid_from: 2020-01-01T00:00:00Z}
  - {meter: m, sub_cloud: gat, price_cny: 5, per: hour, valid_from: 2026-10-05T00:00Z, valid_to: 2026-10-05T01:00Z}
"""
    rows = [f"{cloud},p,c,{cloud},m,1,2026-10-04T23:00:00Z,2026-10-05T02:00:00Z" for cloud in ("gat", "main")]
    assert run(tmp_path, *rows, tariff=tariff).exit_code == 0
    lines = {(x["resource_id"], x["valid_from"]): x["amount_fen"] for x in read(tmp_path, "lines.csv")}
    assert lines == {
        ("gat", "2020-01-01T00:00:00Z"): "200",
        ("gat", "2026-10-05T00:00Z"): "500",
        ("main", "2020-01-01T00:00:00Z"): "300",
    }


def test_a_stopped_server_costs_what_the_close_would_charge(tmp_path: Path) -> None:
    """Processors and memory nothing, all else its price, unless the tariff says otherwise (0005, rule 6)."""
    said = {
        "vcpu_x86_64": "",
        "memory_gib": ", charged_when_stopped: true",
        "disk": "",
        "gpu": ", charged_when_stopped: false",
    }
    prices = "".join(
        f"\n - {{meter: {meter}, price_cny: 1, per: hour, valid_from: 2020-01-01T00:00:00Z{more}}}"
        for meter, more in said.items()
    )
    rows = [f"r,p,c,s,{meter},1,2026-10-05T00:00:00Z,2026-10-05T02:00:00Z,stopped" for meter in said]
    done = run(tmp_path, *rows, tariff=f"prices:{prices}", header=f"{HEADER},state")
    assert (done.exit_code, done.stderr) == (0, "")
    assert {row["meter"]: row["amount_fen"] for row in read(tmp_path, "lines.csv")} == {
        "memory_gib": "200",
        "disk": "200",
    }


def test_an_amount_of_ten_trillion_fen_is_billed_and_one_more_refused(tmp_path: Path) -> None:
    """The limit itself is allowed."""
    tariff = "prices: [{meter: m, price_cny: 0.01, per: hour, valid_from: 2020-01-01T00:00:00Z}]"
    hour = "2026-10-05T00:00:00Z,2026-10-05T01:00:00Z"
    assert run(tmp_path, f"r,p,c,s,m,{10**13},{hour}", tariff=tariff).exit_code == 0
    assert read(tmp_path, "totals.csv")[0]["amount_fen"] == str(10**13)
    refused = run(tmp_path, f"r,p,c,s,m,{10**13 + 1},{hour}", tariff=tariff)
    assert (refused.exit_code, "line.limit" in refused.stderr) == (1, True)


def test_columns_may_stand_in_any_order_beside_others(tmp_path: Path) -> None:
    """A byte-order mark, CRLF, blank lines and quoted fields are what spreadsheets write."""
    header = "\ufeffnote,end_at,start_at,quantity,meter,sub_cloud,city_code,payer_id,resource_id"
    row = '"a, b",2026-10-01T01:00:00Z,2026-10-01T00:00:00Z,10,vcpu,main,450100,p1,"vm ""1"""\r'
    assert run(tmp_path, row, "", header=header + "\r").exit_code == 0
    assert [(x["resource_id"], x["amount_fen"]) for x in read(tmp_path, "lines.csv")] == [('vm "1"', "96")]


def test_a_comma_at_a_row_s_end_is_nothing_whatever_else_is_in_the_file(tmp_path: Path) -> None:
    """In columns as row by row, where an absurdly fine quantity sends the whole file; a cell with something is one."""
    fine = f"vm9,p1,450100,main,vcpu,0.{'0' * 22}1,{OCT}"
    assert run(tmp_path, SPAN + ",").exit_code == 0
    assert run(tmp_path, SPAN + ',,""', fine).exit_code == 0
    for rows in ((SPAN + ",,x",), (SPAN + ",,x", fine)):
        assert "spans.csv:2: span.columns: " in run(tmp_path, *rows).stderr


def test_a_line_is_the_city_s_that_had_the_resource_last(tmp_path: Path) -> None:
    """Whatever the order of the rows: a resource went from a city to a county of the same payer."""
    tariff = "prices: [{meter: m, price_cny: 1, per: hour, valid_from: 2020-01-01T00:00:00Z}]"
    spans = [
        f"vm1,p1,450{code},main,m,1,2026-10-0{day}T00:00:00Z,2026-10-0{day}T01:00:00Z"
        for code, day in (("100", 1), ("102", 5), ("100", 3))
    ]
    for quantity in ("1", f"1.{'0' * 23}"):
        rows = [row.replace(",m,1,", f",m,{quantity},") for row in spans]
        assert run(tmp_path, *rows, tariff=tariff).exit_code == 0
        assert [tuple(row.values()) for row in read(tmp_path, "totals.csv")] == [("p1", "450102", "300")]


def test_json_says_what_was_done(tmp_path: Path) -> None:
    """One object on stdout."""
    done = run(tmp_path, SPAN, more=("--json",))
    assert json.loads(done.stdout) == {
        "month": "2026-10",
        "spans": 1,
        "lines": 1,
        "payers": 1,
        "amount_fen": 922,
        "out": str(tmp_path / "out"),
    }


OCT = "2026-10-01T00:00:00Z,2026-10-02T00:00:00Z"


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (f"vm2,p1,c,main,gpu,1,{OCT}", "span.meter_unknown"),
        ("vm2,p1,c,main,vcpu,1,2026-10-02T00:00:00Z,2026-10-01T00:00:00Z", "span.ends_before_start"),
        (f"vm2,p1,c,main,vcpu,-1,{OCT}", "span.quantity_negative"),
        (f"vm2,p1,c,main,vcpu,1e3,{OCT}", "span.quantity"),
        (f"vm2,p1,c,main,vcpu,NaN,{OCT}", "span.quantity"),
        (f"vm2,p1,c,main,vcpu,１,{OCT}", "span.quantity"),
        (f"vm2,p1,c,main,vcpu,,{OCT}", "span.quantity"),
        ("vm2,p1,c,main,vcpu,1,2026-10-01T00:00:00,2026-10-02T00:00:00Z", "span.time"),
        ("vm2,p1,c,main,vcpu,1,2026-10-01T00:00:00.5Z,2026-10-02T00:00:00Z", "span.time"),
        ("vm2,p1,c,main,vcpu,1,2026-10-01T00:00:00Z,2026-02-30T00:00:00Z", "span.time"),
        ("vm2,p1,c,main,vcpu,1,2026-10-01T00:00:00+08:00,2026-10-02T00:00:00Z", "span.time"),
        (f",p1,c,main,vcpu,1,{OCT}", "span.empty"),
        (f"vm2,,c,main,vcpu,1,{OCT}", "span.empty"),
        (f"vm2,p1,c,main,,1,{OCT}", "span.empty"),
        (f"vm2,p1,c,main,vcpu,1,{OCT},extra", "span.columns"),
        ("vm2,p1", "span.columns"),
        ("vm1,p9,c,main,vcpu,1,2026-10-01T23:59:59Z,2026-10-03T00:00:00Z", "span.overlap"),
        (f'vm2,p1,c,main,vcpu,1,"x"y,{OCT}', "spans.broken"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_nothing_is_written(tmp_path: Path, row: str, code: str) -> None:
    """Exit 1, the code and the place on stderr, in Chinese; no half result."""
    done = run(tmp_path, SPAN, row)
    assert done.exit_code == 1
    assert f"spans.csv:3: {code}: " in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("tariff", "code", "line"),
    [
        (
            "prices:\n- {meter: vcpu, price_cny: 1, per: hour, valid_from: 2026-10-01T12:00:00Z}",
            "span.price_missing",
            2,
        ),
        (
            "prices:\n- {meter: vcpu, price_cny: 0.123456789, per: hour, valid_from: 2020-01-01T00:00:00Z}",
            "tariff.price_decimals",
            2,
        ),
        (
            "prices:\n- {meter: vcpu, price_cny: -1, per: hour, valid_from: 2020-01-01T00:00:00Z}",
            "tariff.price_negative",
            2,
        ),
        ("prices:\n- {meter: vcpu, price_cny: .inf, per: hour, valid_from: 2020-01-01T00:00:00Z}", "tariff.price", 2),
        (
            "prices:\n- {meter: vcpu, price_cny: 10000000000, per: hour, valid_from: 2020-01-01T00:00:00Z}",
            "tariff.price_limit",
            2,
        ),
        ("prices:\n- {meter: vcpu, price_cny: 1, per: day, valid_from: 2020-01-01T00:00:00Z}", "tariff.per", 2),
        ("prices:\n- {meter: vcpu, price_cny: 1, per: hour, valid_from: 2020-01-01}", "tariff.time", 2),
        ("prices:\n- {meter: vcpu, price_cny: 1, per: hour, valid_from: 2020-01-01T00:00:00}", "tariff.time", 2),
        ("prices:\n- {meter: vcpu, price_cny: 1, per: hour, valid_from: 0001-01-01T00:00:00+08:00}", "tariff.time", 2),
        ("prices:\n- {meter: vcpu, price_cny: 1, per: hour, valid_from: 9999-12-31T23:59:59-08:00}", "tariff.time", 2),
        (
            "prices:\n- {meter: v, price_cny: 1, per: hour, valid_from: 2020-01-01T00:00:00Z, term_months: 1201}",
            "tariff.condition",
            2,
        ),
        ("prices:\n- {meter: vcpu, price_cny: 1, per: hour}", "tariff.key_missing", 2),
        (
            "prices:\n- meter: vcpu\n  price_cny: 1\n  price_cny: 2\n  per: hour\n  valid_from: 2020-01-01T00:00:00Z",
            "tariff.key_twice",
            4,
        ),
        (
            "prices:\n- {meter: vcpu, price_cny: 1, per: hour, valid_from: 2020-01-01T00:00:00Z, rebate: 0.9}",
            "tariff.key_unknown",
            2,
        ),
        (TARIFF + "  - {meter: vcpu, price_cny: 1, per: hour, valid_from: 2026-05-01T00:00:00Z}", "tariff.overlap", 6),
        (
            "prices:\n- {meter: m, price_cny: 1, per: hour, valid_from: 2026-05-01 01Z, valid_to: 2026-05-01 09+08:00}",
            "tariff.ends_before_start",
            2,
        ),
        ("prices: []", "tariff.empty", 1),
        ("# nothing", "tariff.empty", 0),
        ("- a\n- b", "tariff.shape", 1),
        ("prices: {a: b}", "tariff.shape", 1),
        ("prices:\n- [1]", "tariff.shape", 2),
        ("prices:\n- {meter: [vcpu]}", "tariff.shape", 2),
        ("prices:\n- {meter: vcpu", "tariff.broken", 2),
        ("prices: \x00", "tariff.broken", 0),
        (b"prices: \xff", "tariff.not_utf8", 0),
        ("{" * 5000, "tariff.broken", 0),
    ],
)
def test_a_bad_tariff_is_refused_with_its_line(tmp_path: Path, tariff: str | bytes, code: str, line: int) -> None:
    """What the tariff does not say is never guessed, what it says twice never chosen from."""
    done = run(tmp_path, SPAN, tariff=tariff)
    assert done.exit_code == 1
    assert f": {code}: " in done.stderr
    assert not line or f":{line}: {code}" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "spans.empty"),
        (HEADER.replace("city_code,", "").encode() + b"\n", "spans.column_missing"),
        (f"{HEADER},meter\n".encode(), "spans.column_twice"),
        (f"{HEADER}\n\xff\n".encode("latin-1"), "spans.not_utf8"),
        (b"PAR1\x15\x04", "spans.parquet"),
    ],
)
def test_a_file_that_is_no_table_of_spans_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    """A Parquet file that is none among them."""
    run(tmp_path)
    (tmp_path / "spans.bin").write_bytes(content)
    done = call(tmp_path, spans="spans.bin")
    assert (done.exit_code, code in done.stderr) == (1, True)


@pytest.mark.parametrize("term", ["11.5", "1.2e1", "0x0c", "1_2", " 12", "-1", "12345"])
def test_a_term_is_digits_and_nothing_else(tmp_path: Path, term: str) -> None:
    """What a database would round or guess at is refused."""
    done = run(tmp_path, f"{SPAN},{term}", header=f"{HEADER},term_months")
    assert (done.exit_code, "spans.csv:2: span.term: " in done.stderr) == (1, True)


def test_a_result_that_cannot_be_written_is_refused_with_its_code(tmp_path: Path) -> None:
    """A file stands where the folder should be made."""
    run(tmp_path)
    done = call(tmp_path, "--out", str(tmp_path / "spans.csv" / "out"))
    assert (done.exit_code, ": rate.files: 文件无法读写：" in done.stderr) == (1, True)


def test_many_mistakes_are_shown_at_once_but_not_without_end(tmp_path: Path) -> None:
    """A person is shown twenty and told how many there are; with --json all are one object on stderr."""
    rows = [f"vm{n},p1,c,main,vcpu,-1,{OCT}" for n in range(1000)]
    done = run(tmp_path, *rows, more=("--json",))
    told = json.loads(done.stderr)
    assert (done.exit_code, done.stdout, told["code"], told["total"]) == (1, "", "rate.refused", 1000)
    assert [p["place"] for p in told["problems"]] == [f"spans.csv:{n}" for n in range(2, 1002)]
    shown = run(tmp_path, *rows).stderr.splitlines()
    assert (len(shown), "共 1000 处有误" in shown[-1]) == (21, True)


def test_beyond_ten_thousand_mistakes_are_only_counted() -> None:
    """A file of millions of wrong rows does not fill the memory."""
    problems = Problems()
    for number in range(MOST + 5):
        problems.add("span.time", f"spans.csv:{number}")
    with pytest.raises(Invalid) as refused:
        problems.stop_if_any()
    assert (len(refused.value.problems), refused.value.total) == (MOST, MOST + 5)


def test_what_was_there_before_a_refusal_stays(tmp_path: Path) -> None:
    """A refused run neither removes nor half-overwrites an earlier result."""
    assert run(tmp_path, SPAN).exit_code == 0
    before = (tmp_path / "out" / "lines.csv").read_bytes()
    assert run(tmp_path, SPAN, f"x,p,c,m,gpu,1,{OCT}").exit_code == 1
    assert (tmp_path / "out" / "lines.csv").read_bytes() == before
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["lines.csv", "totals.csv"]


@pytest.mark.parametrize("month", ["2026-13", "2026", "october", "2026-1"])
def test_what_is_no_month_is_wrong_usage(tmp_path: Path, month: str) -> None:
    """Exit 2, as for a file that is not there."""
    run(tmp_path, SPAN)
    assert call(tmp_path, month=month).exit_code == 2
    assert call(tmp_path, spans="nowhere.csv").exit_code == 2


def test_every_sentence_is_chinese() -> None:
    """Texts that people see are Chinese."""
    assert all(any("\u4e00" <= c <= "\u9fff" for c in text) for text in SENTENCES.values())


def test_every_code_has_its_sentence() -> None:
    """Each code that a reader or the rating can give is in the list of texts, and no other of their kind."""
    room = Path(broker.chargeback.__file__).parent
    rooms = ("columnar", "offline", "rating", "rules", "span_file", "span_source", "tariff_file")
    source = "".join((room / f"{name}.py").read_text() for name in rooms)
    assert set(re.findall(r'(?:Problem|add)\(\s*"([a-z0-9_.]+)"', source)) == {
        code for code in SENTENCES if code.split(".")[0] in {"line", "rate", "span", "spans", "tariff"}
    }

"""Usage by file over HTTP: a verdict on every line, all or nothing, and twice says nothing new."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
from sqlalchemy import text

from broker.db.session import make_sessions
from broker.metering import service as metering
from broker.pricing.months import Month
from broker.tenancy.values import SYSTEM
from broker.tenancy.work import Work
from broker.workdays import load_calendar
from tests.api.server import Server

API = "/api/v1/usage"
MINE, OTHERS = "ZY-90000000", "ZY-90000009"
"""A server on the main cloud, for which the Center delivers, and one on an industry cloud, for which it does not."""


def upload(person: httpx.Client, kind: str, content: str | bytes, name: str = "用量.csv") -> httpx.Response:
    raw = content if isinstance(content, bytes) else content.encode()
    return person.post(f"{API}/{kind}/imports", files={"file": (name, raw)})


def apply(person: httpx.Client, looked: dict[str, Any]) -> httpx.Response:
    return person.post(f"{API}/imports/{looked['id']}/apply", json={"digest": looked["digest"]})


def bring(person: httpx.Client, kind: str, content: str | bytes) -> dict[str, Any]:
    """Look at a file and apply it; what the verdict counted."""
    looked = upload(person, kind, content)
    assert looked.status_code == 201, looked.text
    done = apply(person, looked.json())
    assert done.status_code == 200, done.text
    counts: dict[str, Any] = done.json()["counts"]
    return counts


def spans_of(server: Server, meter: str) -> list[Any]:
    with server.engine.connect() as connection:
        found = connection.execute(
            text("SELECT quantity, start_at, end_at FROM broker.usage_span WHERE meter = :m ORDER BY start_at"),
            {"m": meter},
        )
        return [tuple(row) for row in found]


def at(month: Month, hours: int) -> str:
    return (month.start + timedelta(hours=hours)).isoformat()


def test_a_file_is_looked_at_applied_once_and_says_nothing_new_when_brought_again(
    server: Server, months: list[Month]
) -> None:
    """New, then the same; another quantity or end changes the row, zero takes it back; it is written out again."""
    person, month = server.person("deliver.1"), months[1]
    head = "资源编号,计量项,数量,开始时间,结束时间\n"
    first = f"{head}{MINE},gpu,2,{at(month, 1)},{at(month, 9)}\n{MINE},gpu,3,{at(month, 9)},\n"
    assert bring(person, "records", first) == {"new": 2, "change": 0, "same": 0, "wrong": 0}
    assert bring(person, "records", first)["same"] == 2
    changed = f"{head}{MINE},gpu,2,{at(month, 1)},{at(month, 5)}\n{MINE},gpu,4,{at(month, 5)},{at(month, 9)}\n"
    looked = upload(person, "records", changed).json()
    assert [(line["kind"], (line["was"] or {}).get("end", "")[-10:]) for line in looked["lines"]] == [
        ("change", "T01:00:00Z"), ("new", ""),
    ]  # fmt: skip
    assert len(spans_of(server, "gpu")) == 2  # a look writes nothing
    assert apply(person, looked).status_code == 200
    assert apply(person, looked).json()["code"] == "import.applied"
    assert [row[0] for row in spans_of(server, "gpu")] == [2, 4, 3]
    file = person.get(f"{API}/records/file", params={"resource": MINE}).content
    assert bring(person, "records", file)["same"] == 3
    assert bring(person, "records", f"{head}{MINE},gpu,0,{at(month, 5)},{at(month, 9)}\n")["change"] == 1
    assert [row[0] for row in spans_of(server, "gpu")] == [2, 3]


def test_everything_wrong_is_told_at_once_and_nothing_is_written(server: Server, months: list[Month]) -> None:
    """Each line with its codes; one wrong line keeps all others out."""
    person, month = server.person("deliver.1"), months[1]
    lines = {
        f"{MINE},public_ip,1,{at(month, 0)},{at(month, 9)}": set(),
        f"{MINE},public_ip,2,{at(month, 8)},{at(month, 10)}": {"usage.overlap_line"},
        f"{MINE},public_ip,3,{at(month, 0)},{at(month, 9)}": {"usage.line_twice"},
        f"{MINE},memory_gib,1,{at(month, 0)},": {"usage.meter_of_size"},
        f"{MINE},moon_rocks,1,{at(month, 0)},": {"usage.meter_unknown"},
        f"{MINE},object_gib,1.5,2026-10-01 10:00,": {"usage.quantity", "usage.time"},
        f"{MINE},object_gib,-1,{at(month, 3)},{at(month, 2)}": {"usage.quantity", "usage.end_before_start"},
        f"{MINE},object_gib,1,2001-01-01T00:00:00Z,2001-01-02T00:00:00Z": {"usage.before_use"},
        f"{MINE},object_gib,1,2999-01-01T00:00:00Z,": {"usage.future"},
        f"{OTHERS},object_gib,1,{at(month, 400)},": {"usage.resource_unknown"},
        "ZY-0,object_gib,,,": {"usage.cell_missing"},
    }
    looked = upload(person, "records", "\n".join(["resource,meter,quantity,start_at,end_at", *lines])).json()
    assert [{error["code"] for error in line["errors"]} for line in looked["lines"]] == list(lines.values())
    refused = apply(person, looked)
    assert refused.status_code == 422
    assert len(refused.json()["errors"]) == sum(len(line["errors"]) for line in looked["lines"])
    assert spans_of(server, "public_ip") == spans_of(server, "object_gib") == []
    heading = upload(person, "records", "resource,price,meter,meter\n").json()
    assert {e["code"] for e in heading["errors"]} == {
        "import.unknown_column", "import.column_twice", "import.missing_column",
    }  # fmt: skip
    for login, status in (("finance", 403), ("cloud.operator", 403), ("audit", 403)):
        assert upload(server.person(login), "records", first_line()).status_code == status
    assert server.person("audit").get(f"{API}/records/file").status_code == 200
    assert upload(person, "prices", first_line()).status_code == 404


def first_line() -> str:
    return "resource,meter,quantity,start_at\n"


def test_parquet_brings_what_csv_does_and_a_float_is_refused(
    server: Server, months: list[Month], tmp_path: Path
) -> None:
    """Typed columns, an instant without a zone being UTC."""
    person, month = server.person("deliver.1"), months[1]
    for quantity, status in (("CAST(5 AS DECIMAL(9, 2))", 201), ("5.0::DOUBLE", 422)):
        looked = upload(person, "records", parquet(tmp_path, "object_gib", quantity, month), "用量.parquet")
        assert looked.status_code == status, looked.text
        if status == 201:
            assert looked.json()["lines"][0]["cells"]["quantity"] == "5"
            assert apply(person, looked.json()).json()["counts"]["new"] == 1
        else:
            assert looked.json()["errors"][0]["code"] == "import.parquet_type"
    assert upload(person, "records", b"PAR1 no file", "x.parquet").json()["errors"][0]["code"] == "import.parquet"
    assert spans_of(server, "object_gib") == [(5, month.start + timedelta(hours=7), None)]


def parquet(folder: Path, meter: str, quantity: str, month: Month) -> bytes:
    start = (month.start + timedelta(hours=7)).strftime("%Y-%m-%d %H:%M:%S")
    with duckdb.connect() as connection:
        rows = (
            f"SELECT '{MINE}' AS resource, '{meter}' AS meter, {quantity} AS quantity,"
            f" TIMESTAMP '{start}' AS start_at, CAST(NULL AS TIMESTAMP) AS end_at"
        )
        path = folder / f"usage-{month}.parquet"
        connection.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet)")
    return path.read_bytes()


def test_items_need_a_price_by_the_piece_and_terms_may_run_on(server: Server, months: list[Month]) -> None:
    """An item of a meter charged by time is refused; a term ends in the future, and with its resource at the latest."""
    person, month = server.person("deliver.1"), months[1]
    wrong = upload(person, "items", f"resource,meter,quantity,at,note\n{MINE},gpu,1,{at(month, 3)},迁移\n").json()
    assert [e["code"] for e in wrong["lines"][0]["errors"]] == ["usage.meter_by_time"]
    terms = f"resource,term_months,start_at,end_at\n{MINE},12,{at(month, 3)},2999-01-01T00:00:00Z\n"
    assert bring(person, "terms", terms)["new"] == 1
    assert bring(person, "terms", terms)["same"] == 1
    twice = upload(person, "terms", f"resource,term_months,start_at\n{MINE},36,{at(month, 30)}\n").json()
    assert [e["code"] for e in twice["lines"][0]["errors"]] == ["usage.overlap"]


def test_what_is_open_ends_with_its_resource(server: Server, months: list[Month]) -> None:
    """Given back: no address is charged for a server that is gone."""
    assert spans_of(server, "object_gib"), "the test before left an open one"
    with make_sessions(server.engine)() as session:
        found = session.execute(text("SELECT id FROM broker.resource WHERE number = :n"), {"n": MINE}).scalar_one()
        now = months[1].start + timedelta(hours=20, microseconds=7)
        metering.end(Work(session, SYSTEM, now, load_calendar(None)), [found])
        spans = session.execute(text("SELECT end_at FROM broker.usage_span WHERE meter = 'object_gib'")).scalars().all()
        assert spans == [months[1].start + timedelta(hours=20)]
        session.rollback()

"""``guiyun bill``: a month closed, opened again by two people, closed anew and recounted, over HTTP and on the spot."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from broker.db.session import make_sessions
from broker.pricing.months import Month
from tests.api.server import Server
from tests.cli.typist import Typist
from tests.console.billing import bill_months


@pytest.fixture(scope="module")
def month(server: Server) -> Month:
    """The last month that was closed; a later one is not."""
    with make_sessions(server.engine).begin() as session:
        return bill_months(session, datetime.now(UTC), 2)[0]


@pytest.fixture
def owner(server: Server) -> Iterator[Engine]:
    """Somebody who may change the schema, and so can do what the runtime role cannot."""
    engine = create_engine(server.database.owner_url)
    yield engine
    engine.dispose()


def test_two_people_reopen_a_month_and_it_is_closed_anew(typist: Typist, server: Server, month: Month) -> None:
    """One asks with a reason, another agrees; HTTP and the command line close the same books, once."""
    one, which = server.person("finance"), str(month)
    assert one.post(f"/api/v1/billing-months/{which}/close").json()["code"] == "month.closed"
    assert "month.closed" in typist.refused("bill", "close", which)
    assert "reopening.not_asked" in typist.refused("bill", "reopen", which, "--agree", as_="admin")
    assert typist.types("bill", "reopen", which, as_="finance").status == 2
    typist.does("bill", "reopen", which, "--reason", "价格有误", as_="finance")
    assert "reopening.same_person" in typist.refused("bill", "reopen", which, "--agree", as_="finance")
    typist.does("bill", "reopen", which, "--agree", as_="admin")
    closed = one.post(f"/api/v1/billing-months/{which}/close")
    assert (closed.status_code, closed.json()["version"]) == (200, 2)
    listed = one.get("/api/v1/billing-months").json()
    assert [(m["version"], m["reopened_at"] is None) for m in listed if m["month"].startswith(which)] == [
        (2, True), (1, False),
    ]  # fmt: skip
    assert server.person("approve.1").post(f"/api/v1/billing-months/{which}/close").status_code == 403


def test_a_month_is_previewed_everywhere_the_same_and_by_who_may_close_it(
    typist: Typist, server: Server, month: Month, tmp_path: Path
) -> None:
    """At a terminal and over HTTP, with what stops it as CSV; the Bureau closes nothing and previews nothing."""
    which, file = str(month.next), tmp_path / "obstacles.csv"
    said = typist.types("bill", "preview", which, "--csv", str(file), "--json")
    finance, at = server.person("finance"), f"/api/v1/billing-months/{which}"
    shown, sent = finance.get(f"{at}/preview").json(), finance.get(f"{at}/obstacles")
    same = ("problems_total", "unsettled", "adjustments")
    assert [said.json[name] for name in same] == [shown[name] for name in same]
    assert [one["code"] for one in said.json["problems"]] == [one["code"] for one in shown["problems"]]
    assert (said.status == 1) == bool(shown["problems"])
    assert sent.headers["content-type"].startswith("text/csv")
    assert sent.content == file.read_bytes()
    assert server.person("approve.1").get(f"{at}/preview").status_code == 403
    audit = server.person("audit")  # reads everything, changes nothing (Art. 16(3))
    assert audit.get(f"{at}/preview").json()["problems"] == shown["problems"]
    assert audit.get(f"{at}/obstacles").content == sent.content
    assert audit.get("/api/v1/books-beginning").json() == finance.get("/api/v1/books-beginning").json()
    assert {audit.post(f"{at}/{act}").status_code for act in ("close", "beginning/agreement", "beginning/drop")} == {
        403
    }


def test_where_the_books_begin_is_asked_for_by_name_and_stays(typist: Typist, server: Server, month: Month) -> None:
    """One of three words; closed months have said it already; nobody agrees to what nobody asked."""
    which = str(month.next)
    assert typist.types("bill", "begin", which, as_="finance").status == 2
    assert "books.begun" in typist.refused("bill", "begin", which, "--reason", "试运行", as_="finance")
    assert "beginning.not_asked" in typist.refused("bill", "begin", which, "--agree", as_="admin")
    assert "beginning.not_asked" in typist.refused("bill", "begin", which, "--drop", as_="finance")
    shown = server.person("finance").get("/api/v1/books-beginning").json()
    assert (shown["month"] <= month.first_day.isoformat(), shown["stated"], shown["asked"]) == (True, False, [])


_LINE = """
WHERE id = (SELECT max(c.id) FROM broker.charge c JOIN broker.statement s ON s.id = c.statement_id
            WHERE s.close_id IS NOT NULL)
"""


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("broker.charge SET amount_fen = amount_fen {by}" + _LINE, "statement.total"),
        (
            "broker.statement_sum SET lines = lines {by}" + _LINE.replace("broker.charge c", "broker.statement_sum c"),
            "statement.sums",
        ),
        ("broker.month_close SET total_fen = total_fen {by}", "close.total"),
    ],
)
def test_a_recount_names_what_differs(typist: Typist, owner: Engine, month: Month, change: str, code: str) -> None:
    """Exit 0 while all adds up; 1 after somebody changed the books past the broker, with the very statement."""
    which = str(month)
    assert typist.does("bill", "verify", which, "--json").json["differences"] == []
    with owner.begin() as connection:
        connection.execute(text(f"UPDATE {change.format(by='+ 1')}"))
    try:
        said = typist.types("bill", "verify", which, "--json")
    finally:
        with owner.begin() as connection:
            connection.execute(text(f"UPDATE {change.format(by='- 1')}"))
    assert said.status == 1
    assert code in {d["code"] for d in said.json["differences"]}
    assert all(d["subject"] for d in said.json["differences"])
    assert all(d["about"] for d in said.json["differences"] if d["code"].startswith("statement."))
    assert "bill.differs" in said.err


def test_budgets_and_the_step_down_are_set_and_seen(typist: Typist, server: Server, month: Month) -> None:
    """Spent by closed months, with the year's end as things stand; only clouds outside unified management step down."""
    year, set_ = str(month.year), ("--payer", "450100", "--yuan", "1,234,567.89")
    assert typist.types("bill", "budget", year, "--payer", "450100").status == 2
    assert typist.types("bill", "budget", year, "--payer", "450100", "--yuan", "0.001").status == 2
    assert "budget.amount" in typist.refused("bill", "budget", year, "--payer", "450100", "--yuan", "0")
    [state] = typist.does("bill", "budget", year, *set_, "--json").json
    assert (state["amount_fen"], state["months"] >= 1) == (123456789, True)
    assert state["forecast_fen"] == state["spent_fen"] + state["forecast"]["open_fen"] + state["forecast"]["later_fen"]
    assert "1,234,567.89" in typist.does("bill", "budget", year).out
    assert "funding_step.cloud" in typist.refused("bill", "step-down", year, "--cloud", "main", "--yuan", "5")
    assert "sub_cloud.unknown" in typist.refused("bill", "step-down", year, "--cloud", "nowhere", "--yuan", "5")
    with server.engine.connect() as connection:
        outside = "SELECT min(code) FROM broker.sub_cloud WHERE tier = 'industry' AND NOT unified_management"
        code = connection.scalar(text(outside))
    for yuan in ("500000", "300000.5"):
        found = typist.does("bill", "step-down", year, "--cloud", code, "--yuan", yuan, "--json").json
    assert [(one["code"], one["year"], one["amount_fen"]) for one in found] == [(code, month.year, 30000050)]
    clouds = server.person("finance").get("/api/v1/industry-clouds").json()["clouds"]
    assert [c["ceilings"] for c in clouds if c["ceilings"]] == [{year: 30000050}]


def test_a_payer_objects_and_another_person_answers(typist: Typist, server: Server, month: Month) -> None:
    """Raised, listed and shown at a terminal; nobody answers his own."""
    rows = """
    SELECT s.id, min(c.id) AS line FROM broker.charge c JOIN broker.statement s ON s.id = c.statement_id
    JOIN broker.month_close m ON m.id = s.close_id JOIN broker.unit u ON u.id = s.payer_unit_id
    WHERE m.month = :month AND m.reopened_at IS NULL AND u.kind = 'region' GROUP BY s.id
    """
    with server.engine.connect() as connection:
        statement, line = connection.execute(text(rows), {"month": month.first_day}).one()
    objects = ("bill", "dispute", str(statement), "--line", str(line), "--reason", "停机仍计费", "--json")
    assert typist.types(*objects[:5], as_="finance").status == 2
    assert "role.missing" in typist.refused(*objects, as_="admin")
    made = typist.does(*objects, as_="finance").json["id"]
    assert "停机仍计费" in typist.does("bill", "dispute", made, as_="finance").out
    assert "待答复" in typist.does("bill", "disputes", "--open", as_="finance").out
    answers = ("bill", "answer", made, "accepted", "--reason", "属实", "--yuan", "-0.01")
    assert "duty.separated" in typist.refused(*answers, as_="finance")


def test_a_closed_month_is_exported_and_rated_to_its_total(
    typist: Typist, server: Server, month: Month, tmp_path: Path
) -> None:
    """``bill export`` writes what ``rate`` reads; the sums are the same."""
    out = tmp_path / "audit"
    typist.does("bill", "export", str(month), "--out", str(out))
    files = ["--spans", str(out / "spans.csv"), "--tariff", str(out / "tariff.yaml"), "--out", str(out)]
    rated = typist.does("rate", *files, "--month", str(month), "--json").json
    with server.engine.connect() as connection:
        closed = "SELECT total_fen FROM broker.month_close WHERE month = :month AND reopened_at IS NULL"
        assert rated["amount_fen"] == connection.scalar(text(closed), {"month": month.first_day})

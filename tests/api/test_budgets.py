"""Budgets and ceilings over HTTP: who sets and who sees them, and every mistake of a form at once."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from broker.pricing.months import Month
from tests.api.server import Server


@pytest.fixture
def year(months: list[Month]) -> int:
    """The year of a month that is closed."""
    return months[0].year


def test_the_regions_finance_sets_a_budget_and_sees_the_forecast(
    server: Server, months: list[Month], year: int
) -> None:
    """What closed months have used, and what the others will; others may not set one, and see only their own."""
    with server.engine.connect() as connection:
        payer = str(connection.scalar(text("SELECT id FROM broker.unit WHERE code = '450200'")))
        office = str(connection.scalar(text("SELECT id FROM broker.unit WHERE kind = 'office' LIMIT 1")))
    finance, form = server.person("finance"), {"payer_unit_id": payer, "year": year, "amount_fen": 123_456_789}
    made = finance.post("/api/v1/budgets", json=form)
    assert made.status_code == 201, made.text
    state = made.json()
    assert (state["name"], state["amount_fen"], state["months"]) == ("柳州市", 123_456_789, 1)
    more = state["forecast"]
    assert state["forecast_fen"] == state["spent_fen"] + more["open_fen"] + more["later_fen"] >= state["spent_fen"] > 0
    assert (state["forecast_fen"] > state["spent_fen"]) == (months[0].number < 12), "nothing comes after December"
    assert more["open_months"] + more["later_months"] <= 12 - state["months"]
    assert finance.get(f"/api/v1/budgets?year={year}").json() == [state]
    assert server.person("audit").get(f"/api/v1/budgets?year={year}").json() == [state]
    assert server.person("apply.jyt").get(f"/api/v1/budgets?year={year}").json() == []
    assert server.person("approve.1").post("/api/v1/budgets", json=form).status_code == 403
    wrong = finance.post("/api/v1/budgets", json=form | {"payer_unit_id": office, "amount_fen": 0})
    assert {e["code"] for e in wrong.json()["errors"]} == {"budget.amount", "budget.payer"}
    assert finance.get(f"/api/v1/budgets?year={year}").json() == [state]


def test_a_ceiling_is_for_clouds_outside_unified_management(server: Server, year: int) -> None:
    """Art. 16(3): it may be nothing, never below; the newest figure of a year holds."""
    with server.engine.connect() as connection:
        outside = "SELECT min(code) FROM broker.sub_cloud WHERE tier = 'industry' AND NOT unified_management"
        code = str(connection.scalar(text(outside)))
    finance = server.person("finance")
    for fen in (5_000_000, 0):
        form = {"cloud": code, "year": year, "amount_fen": fen}
        assert finance.post("/api/v1/funding-steps", json=form).json()["amount_fen"] == fen
    assert [(s["code"], s["amount_fen"]) for s in finance.get("/api/v1/funding-steps").json()] == [(code, 0)]
    wrong = finance.post("/api/v1/funding-steps", json={"cloud": "main", "year": year, "amount_fen": -1}).json()
    assert {e["code"] for e in wrong["errors"]} == {"funding_step.cloud", "funding_step.amount"}
    assert server.person("apply.jyt").get("/api/v1/funding-steps").status_code == 403

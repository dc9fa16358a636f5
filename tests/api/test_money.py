"""Money over HTTP: statements explained and as files, months as FOCUS, overviews, disputes; who may."""

from __future__ import annotations

import csv
import io

from broker.pricing.months import Month
from tests.api.server import Server

API = "/api/v1"


def test_a_statement_is_summed_up_and_explained(server: Server, months: list[Month]) -> None:
    """Each axis sums to the total; lines come page by page, each with its rule and price version."""
    finance = server.person("finance")
    head = finance.get(f"{API}/statements", params={"month": str(months[0])}).json()["data"][0]
    summary = finance.get(f"{API}/statements/{head['id']}/summary").json()
    assert summary["standing"] == "closed"
    for axis in ("system", "meter", "cloud", "unit", "rule"):
        assert sum(s["amount_fen"] for s in summary["sums"] if s["axis"] == axis) == head["total_fen"]
    first = finance.get(f"{API}/statements/{head['id']}/lines", params={"limit": 2}).json()
    assert all(line["payer_rule"] and line["tariff_version"] for line in first["data"])
    after = finance.get(f"{API}/statements/{head['id']}/lines", params={"limit": 2, "after": first["next"]}).json()
    assert not {line["id"] for line in first["data"]} & {line["id"] for line in after["data"]}
    assert finance.get(f"{API}/statements/{head['id']}/file", params={"form": "csv"}).content[:3] == b"\xef\xbb\xbf"
    assert finance.get(f"{API}/statements/{head['id']}/file", params={"form": "x"}).json()["code"] == "form.invalid"


def test_focus_holds_what_one_may_see(server: Server, months: list[Month]) -> None:
    """The region's finance gets every payer, a city's its own."""
    accounts = {}
    for login in ("finance", "finance.nanning"):
        answer = server.person(login).get(f"{API}/focus/{months[0]}", params={"ascii_only": True})
        assert answer.text.isascii()
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        accounts[login] = {row["BillingAccountId"] for row in rows}
    assert accounts["finance.nanning"] == {"GX-450100"}
    assert len(accounts["finance"]) > 3
    assert server.person("finance").get(f"{API}/focus/2026").status_code == 422
    assert server.person("finance").get(f"{API}/focus/{months[0]}", params={"form": "xml"}).status_code == 422


def test_overviews_answer_and_keep_to_who_may(server: Server, months: list[Month]) -> None:
    """Payers for whoever sees statements; industry clouds also for the Bureau; settlements for the region alone."""
    finance, city = server.person("finance"), server.person("finance.nanning")
    found = finance.get(f"{API}/payers").json()
    assert found["month"] == str(months[-1])
    assert found["total_fen"] == sum(payer["total_fen"] for payer in found["payers"])
    assert [payer["code"] for payer in city.get(f"{API}/payers").json()["payers"]] == ["450100"]
    assert server.person("approve.1").get(f"{API}/industry-clouds").json()["clouds"]
    assert city.get(f"{API}/industry-clouds").status_code == 403
    head = finance.get(f"{API}/settlements", params={"month": str(months[0])}).json()[0]
    one = finance.get(f"{API}/settlements/{head['id']}").json()
    assert one["total_fen"] == sum(line["amount_fen"] for line in one["lines"]) > 0
    assert city.get(f"{API}/settlements").status_code == 403


def test_a_dispute_goes_its_way(server: Server, months: list[Month]) -> None:
    """Raised by the payer, answered once by the region, never by the payer itself."""
    finance, city = server.person("finance"), server.person("finance.nanning")
    statement = city.get(f"{API}/statements", params={"month": str(months[0])}).json()["data"][0]["id"]
    line = city.get(f"{API}/statements/{statement}/lines").json()["data"][0]
    form = {"statement_id": statement, "charge_id": line["id"], "reason": "已停用"}
    assert finance.post(f"{API}/disputes", json=form).json()["code"] == "dispute.not_the_payer"
    made = city.post(f"{API}/disputes", json=form)
    assert made.status_code == 201
    path = f"{API}/disputes/{made.json()['id']}"
    answer = {"decision": "accepted", "reason": "属实", "amount_fen": -1}
    assert city.post(f"{path}/answer", json=answer).json()["code"] == "duty.missing"
    assert finance.post(f"{path}/answer", json=answer).json()["adjusted_fen"] == -1
    assert finance.post(f"{path}/answer", json=answer).json()["code"] == "dispute.answered"
    assert city.get(path).json()["decision"] == "accepted"
    assert [d["id"] for d in city.get(f"{API}/disputes").json()["data"]] == [made.json()["id"]]

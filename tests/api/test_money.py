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


def test_a_countys_finance_sees_its_part_of_the_citys_bill(server: Server, months: list[Month]) -> None:
    """The city pays (Art. 16(2)): of its statement the county's lines alone, in every form, and the sum of them."""
    county, region = server.person("finance.pingxiang"), server.person("finance")
    [head] = county.get(f"{API}/statements", params={"month": str(months[1])}).json()["data"]
    path = f"{API}/statements/{head['id']}"
    lines = county.get(f"{path}/lines").json()["data"]
    whole = region.get(f"{path}/lines").json()["data"]
    names = {line["unit_name"] for line in lines}
    assert names == {"凭祥市"} < {line["unit_name"] for line in whole}
    assert (head["payer_name"], head["part"]) == ("崇左市", True)
    assert head["total_fen"] == sum(line["amount_fen"] for line in lines) < sum(line["amount_fen"] for line in whole)
    summary = county.get(f"{path}/summary").json()
    for axis in ("system", "meter", "cloud", "unit", "rule"):
        assert sum(s["amount_fen"] for s in summary["sums"] if s["axis"] == axis) == head["total_fen"]
    [payer] = county.get(f"{API}/payers", params={"month": str(months[1])}).json()["payers"]
    assert payer["total_fen"] == head["total_fen"]
    file = county.get(f"{path}/file", params={"form": "csv"}).content.decode("utf-8-sig")
    assert {row["使用单位"] for row in csv.DictReader(io.StringIO(file))} == {"凭祥市"}
    focus = list(csv.DictReader(io.StringIO(county.get(f"{API}/focus/{months[1]}").text)))
    assert {row["SubAccountName"] for row in focus} == {"凭祥市"}
    assert [line["id"] for line in county.get(path).json()["lines"] if line["unit_name"] != "凭祥市"] == []
    form = {"statement_id": head["id"], "charge_id": lines[0]["id"], "reason": "不符"}
    assert county.post(f"{API}/disputes", json=form).json()["code"] == "dispute.not_the_payer"
    assert county.get(f"{API}/budgets?year={months[1].year}").json() == []
    for path in ("industry-clouds", "settlements"):
        assert county.get(f"{API}/{path}").status_code == 403


def test_finance_puts_a_line_right_and_it_takes_two(server: Server, months: list[Month]) -> None:
    """One proposes with amount and reason, another confirms, once; the proposer himself may only take it back."""
    one, other, city = server.person("finance"), server.person("admin"), server.person("finance.nanning")
    statement = city.get(f"{API}/statements", params={"month": str(months[0])}).json()["data"][0]["id"]
    line = city.get(f"{API}/statements/{statement}/lines").json()["data"][-1]
    form = {"charge_id": line["id"], "amount_fen": -1, "reason": "单价录入有误"}
    assert city.post(f"{API}/adjustments", json=form).json()["code"] == "duty.missing"
    wrong = one.post(f"{API}/adjustments", json=form | {"amount_fen": -line["amount_fen"] - 1, "reason": " "})
    assert {e["code"] for e in wrong.json()["errors"]} == {"adjustment.reason_missing", "adjustment.amount_range"}
    made = one.post(f"{API}/adjustments", json=form)
    assert made.status_code == 201, made.text
    assert one.post(f"{API}/adjustments", json=form).json()["code"] == "adjustment.open"
    path = f"{API}/adjustments/{made.json()['id']}"
    assert one.post(f"{path}/confirmation").json()["code"] == "adjustment.same_person"
    assert other.post(f"{path}/confirmation").json()["decision"] == "confirmed"
    assert other.post(f"{path}/confirmation").json()["code"] == "adjustment.decided"
    assert [a["decision"] for a in city.get(f"{API}/adjustments").json()["data"]] == ["confirmed"]
    back = one.post(f"{API}/adjustments", json=form).json()["id"]
    assert one.post(f"{API}/adjustments/{back}/drop", json={"reason": "重复"}).json()["decision"] == "dropped"
    interim = one.get(f"{API}/statements", params={"month": str(months[1])}).json()["data"][0]["id"]
    open_line = one.get(f"{API}/statements/{interim}/lines").json()["data"][0]["id"]
    assert (
        one.post(f"{API}/adjustments", json=form | {"charge_id": open_line}).json()["code"] == "adjustment.not_closed"
    )


def test_an_operators_people_see_what_is_owed_to_it_and_nothing_else(server: Server, months: list[Month]) -> None:
    """Art. 15: its own settlements by month, not another's, and no payer's statement."""
    person, every = server.person("cloud.operator"), server.person("finance").get(f"{API}/settlements").json()
    mine = person.get(f"{API}/settlements").json()
    assert {one["operator"] for one in mine} == {"桂云演示运营有限公司"}
    assert mine == [one for one in every if one["operator"] == "桂云演示运营有限公司"]
    assert person.get(f"{API}/settlements/{mine[0]['id']}").json()["lines"]
    other = next(one for one in every if one not in mine)
    assert person.get(f"{API}/settlements/{other['id']}").json()["code"] == "settlement.unknown"
    for path in ("statements", "payers", "disputes", "budgets", "industry-clouds", f"focus/{months[0]}"):
        assert person.get(f"{API}/{path}").status_code == 403, path


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

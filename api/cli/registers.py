"""``guiyun resources | clouds | statements | notices``: what can be looked up.

Called by: the command line. Must not: change anything but a notice's mark of having been read.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from api import texts
from api.cli.display import Terminal, fields, moment, price, size, state, table, yuan
from api.cli.refusal import Refusal
from api.cli.verb import Call, client_verb
from api.texts import money, names

app = typer.Typer()

Limit = Annotated[int, typer.Option(help="至多列出多少条", min=1, max=100_000)]


@app.command("resources")
@client_verb
def resources(
    call: Call,
    *,
    number: Annotated[str, typer.Option("--request", help="申请编号", metavar="编号")] = "",
    states: Annotated[list[str] | None, typer.Option("--state", help="状态代码，可多次给出")] = None,
    kind: Annotated[str, typer.Option(help="server、volume、segment")] = "",
    cloud: Annotated[str, typer.Option(help="云平台代码")] = "",
    limit: Limit = 50,
) -> None:
    """资源，新的在前。"""
    request = call.api.request(number)["id"] if number else None
    query = {"request": request, "state": states, "kind": kind, "sub_cloud": cloud}
    found = call.api.every("/resources", most=limit, **query)
    rows = (
        (
            r["number"],
            r["name"],
            names.KINDS[r["kind"]],
            state(r["state"], names.RESOURCE_STATES),
            r["sub_cloud_name"],
            r["unit_name"],
            r["prefix"] or " ".join(r["addresses"]),
            size(r["kind"], r["spec"]),
        )
        for r in found
    )
    headers = ("编号", "名称", "种类", "状态", "云平台", "单位", "地址", "规格")
    call.listed(found, headers, rows, nothing="没有资源。", folds=("规格",))


@app.command("clouds")
@client_verb
def clouds(call: Call) -> None:
    """1+N+14：各云平台的运行状况与已用容量。"""
    found = call.api.get("/sub-clouds")
    headers = ("代码", "名称", "类别", "等保", "状况", "处理器", "内存", "SSD", "HDD", "运营方")
    rows = (
        (
            c["code"],
            c["name"],
            names.TIERS[c["tier"]] + ("" if c["accredited_at"] else "（未认定）"),
            f"{c['mlps_level']} 级",
            health(c),
            *(_used(c, kind) for kind in ("vcpu_", "memory_gib_", "block_gib_ssd", "block_gib_hdd")),
            c["operator"],
        )
        for c in found
    )
    right = ("处理器", "内存", "SSD", "HDD")
    call.listed(found, headers, rows, nothing="没有云平台。", right=right, folds=("运营方",))


def health(cloud: Mapping[str, Any]) -> Text:
    """How a cloud said it is."""
    if cloud["healthy"] is None:
        return Text("未知", "yellow")
    return Text("正常", "green") if cloud["healthy"] else Text(f"异常 {texts.trouble(cloud['health_detail'])}", "red")


def _used(cloud: Mapping[str, Any], prefix: str) -> str:
    """How much of all architectures together is taken, in percent."""
    stock = [s for s in cloud["stock"] if s["resource_class"].startswith(prefix) and s["capacity"]]
    capacity = sum(s["capacity"] for s in stock)
    return f"{100 * sum(s['used'] for s in stock) / capacity:.1f}%" if capacity else ""


@app.command("statements")
@client_verb
def statements(
    call: Call,
    *,
    which: Annotated[str, typer.Argument(metavar="账单", help="账单标识：显示明细")] = "",
    month: Annotated[str, typer.Option(help="月份，如 2026-03")] = "",
    every_version: Annotated[bool, typer.Option("--all", help="包括已被更正的版本")] = False,
    out: Annotated[Path | None, typer.Option(help="存为文件：.xlsx、.csv 或 .pdf", metavar="文件")] = None,
    limit: Limit = 50,
) -> None:
    """账单列表，或一份账单的明细；给出 --out 则存为文件。"""
    query = {"month": month, "every_version": "true" if every_version else None}
    if not which:
        found = call.api.every("/statements", most=limit, **query)
        rows = (
            (
                s["id"][-8:],
                s["month"][:7],
                s["payer_name"],
                str(s["version"]),
                names.STANDINGS[s["standing"]],
                yuan(s["total_fen"]),
            )
            for s in found
        )
        headers = ("账单", "月份", "付费单位", "版本", "状态", "金额")
        call.listed(found, headers, rows, nothing="没有账单。", right=("版本", "金额"))
        return
    if len(which) < 36:
        known = call.api.every("/statements", most=1000, **query)
        which = next((s["id"] for s in known if s["id"].endswith(which)), "")
    if not which:
        raise Refusal("statement.unknown", "没有这份账单，或者您无权查看。")
    if out is not None:
        call.api.download(f"/statements/{which}/file", out, form=out.suffix.removeprefix(".").lower())
        call.done({"id": which, "file": str(out)}, f"已存为 {out}。")
        return
    one = call.api.get(f"/statements/{which}")
    call.answer(one, lambda: _statement(call.terminal, one))


def _statement(terminal: Terminal, one: Mapping[str, Any]) -> None:
    head = f"{one['payer_name']} {one['month'][:7]} 账单，第 {one['version']} 版"
    facts = (
        ("状态", names.STANDINGS[one["standing"]]),
        ("计至", moment(one["covers_until"])),
        ("合计", yuan(one["total_fen"])),
    )
    terminal.say(head if one["latest"] else f"{head}（已被更正）", fields(facts))
    rows = (
        (
            str(c["id"]),
            c["unit_name"],
            c["resource_number"],
            c["resource_name"],
            names.METERS.get(c["meter"], c["meter"]),
            _price(c),
            texts.article(c["article"]).removeprefix("《实施细则》") or "自定规则",
            _note(c, one["month"]),
            yuan(c["amount_fen"]),
        )
        for c in one["lines"]
    )
    headers = ("行", "单位", "资源", "名称", "计量项", "单价", "付费依据", "备注", "金额")
    terminal.section("明细", table(headers, rows, right=("行", "金额")))


def _price(line: Mapping[str, Any]) -> str:
    discount = Decimal(line["discount"]).normalize()
    factor = "" if discount == 1 else f" ×{discount:f}"
    return f"{price(line['price_cny'])} {money.PER.get(line['per'], line['per'])}{factor}"


def _note(line: Mapping[str, Any], month: str) -> str:
    """What is unusual about a line."""
    late = line["usage_month"] != month
    if line["adjustment_reason"]:
        of_month = f"（{line['usage_month'][:7]}）" if late else ""
        return f"{money.ADJUSTMENT}{of_month}：{line['adjustment_reason']}"
    if late:
        return money.LATE.format(month=line["usage_month"][:7])
    return "有免费用量" if Decimal(line["free_seconds"]) else ""


@app.command("notices")
@client_verb
def notices(
    call: Call,
    *,
    unread: Annotated[bool, typer.Option("--unread", help="只看未读")] = False,
    read: Annotated[bool, typer.Option("--read", help="列出后标为已读")] = False,
    limit: Limit = 20,
) -> None:
    """本人的通知，新的在前。"""
    found = call.api.every("/notices", most=limit, unread="true" if unread else None)
    fresh = [n["id"] for n in found if not n["read"]]
    for start in range(0, len(fresh) if read else 0, 100):
        call.api.post("/notices/read", {"ids": fresh[start : start + 100]})
    rows = ((Text("" if n["read"] else "●", "cyan"), moment(n["created_at"]), n["message"]) for n in found)
    call.answer(
        found, lambda: call.terminal.say(table(("", "时间", "通知"), rows, folds=("通知",)) if found else "没有通知。")
    )

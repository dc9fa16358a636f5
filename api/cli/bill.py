"""``guiyun bill preview | issue``: a month's charges as they would be, and its statements.

Called by: the command line. Must not: compute an amount.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.cli.client import Refusal
from api.cli.display import moment, table, yuan
from api.cli.verb import DatabaseCall, database_verb
from api.texts import names
from broker.chargeback import service
from broker.pricing.months import Month
from broker.tenancy import repository as tenancy

app = typer.Typer()
group = typer.Typer(name="bill", help="账单：试算、出账。", no_args_is_help=True)
app.add_typer(group)


def parse_month(text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError as error:
        raise typer.BadParameter("应为 YYYY-MM") from error


WhichMonth = Annotated[Month, typer.Argument(metavar="月份", parser=parse_month, help="YYYY-MM（北京时间）")]


@group.command("preview")
@database_verb
def preview(call: DatabaseCall, month: WhichMonth) -> None:
    """试算到此刻为止（已结束的月份为整月），不写入；缺价格或付费单位时退出码为 1。"""
    with call.core.works.begin() as work:
        found = service.preview(work.session, month, until=work.now)
        called = tenancy.unit_names(work.session, found.totals, work.now)
    answer: dict[str, Any] = {
        "month": str(month),
        "covers_until": found.covers_until.isoformat(),
        "lines": len(found.lines),
        "total_fen": found.total_fen,
        "payers": [
            {"payer_unit_id": str(payer), "name": called.get(payer, ""), "total_fen": fen}
            for payer, fen in sorted(found.totals.items(), key=lambda entry: -entry[1])
        ],
        "gaps": [{"resource_id": str(g.resource_id), "meter": g.meter, "missing": g.missing} for g in found.gaps],
    }
    call.answer(answer, lambda: _show(call, answer))
    if found.gaps:
        raise Refusal("bill.gaps", f"有 {len(found.gaps)} 项用量缺少价格或付费单位，不能出账。", body=answer)


def _show(call: DatabaseCall, answer: dict[str, Any]) -> None:
    call.terminal.say(f"{answer['month']} 试算，计至 {moment(answer['covers_until'])}")
    if answer["payers"]:
        rows = ((p["name"], yuan(p["total_fen"])) for p in answer["payers"])
        call.terminal.say(table(("付费单位", "金额"), rows, right=("金额",)))
    for gap in answer["gaps"]:
        word = "价格" if gap["missing"] == "price" else "付费单位"
        meter = names.METERS.get(gap["meter"], gap["meter"])
        call.terminal.say(f"缺{word}：{meter}，资源 {gap['resource_id']}")
    call.terminal.say(f"共 {answer['lines']} 行，合计 {yuan(answer['total_fen'])}")


@group.command("issue")
@database_verb
def issue(call: DatabaseCall, month: WhichMonth) -> None:
    """出账：为每个付费单位写一份账单；再次出账产生新的版本，旧版本保留。"""
    with call.core.works.begin() as work:
        made = service.issue(work, month)
        called = tenancy.unit_names(work.session, [one.payer_unit_id for one in made], work.now)
    found: list[dict[str, Any]] = [
        {
            "id": str(one.id),
            "payer_unit_id": str(one.payer_unit_id),
            "name": called.get(one.payer_unit_id, ""),
            "version": one.version,
            "total_fen": one.total_fen,
            "lines": one.lines,
        }
        for one in made
    ]
    rows = ((f["name"], str(f["version"]), str(f["lines"]), yuan(f["total_fen"])) for f in found)
    headers = ("付费单位", "版本", "行数", "金额")
    call.listed(found, headers, rows, nothing=f"{month} 没有费用。", right=headers[1:])

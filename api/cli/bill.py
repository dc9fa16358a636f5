"""``guiyun bill``: months, books and budgets; disputes are in ``api.cli.disputes``.

Called by: the command line. Must not: compute an amount.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli import adjustments, disputes
from api.cli.amounts import parse_yuan
from api.cli.display import SHOWN, moment, table, yuan
from api.cli.refusal import Refusal
from api.cli.verb import Call, DatabaseCall, client_verb, database_verb
from api.documents import obstacles as obstacle_file
from api.texts import names, sentence
from broker.chargeback import budgets, closing, focus_file, obstacles, statements
from broker.chargeback.export import export as write_files
from broker.chargeback.values import Forecast, Obstacle
from broker.chargeback.verify import verify as recount
from broker.errors import Invalid
from broker.pricing.months import Month
from broker.tenancy import repository as tenancy

app = typer.Typer()
group = typer.Typer(name="bill", help="账单：试算、出账、关账、导出、复核。", no_args_is_help=True)
app.add_typer(group)


def parse_month(text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError as error:
        raise typer.BadParameter("应为 YYYY-MM") from error


WhichMonth = Annotated[Month, typer.Argument(metavar="月份", parser=parse_month, help="YYYY-MM（北京时间）")]


@group.command("preview")
@database_verb
def preview(
    call: DatabaseCall,
    month: WhichMonth,
    *,
    to_csv: Annotated[
        Path | None, typer.Option("--csv", dir_okay=False, help="把使该月不能关账的项目写入 CSV 文件", metavar="文件")
    ] = None,
) -> None:
    """试算到此刻为止（已结束的月份为整月），不写入；有用量不能计费时退出码为 1。"""
    with call.core.works.begin() as work:
        found = closing.preview(work, month)
        called = tenancy.unit_names(work.session, found.payers, work.now)
    answer: dict[str, Any] = {
        "month": str(month),
        "covers_until": found.covers_until.isoformat(),
        "lines": found.lines,
        "total_fen": found.total_fen,
        "payers": [
            {"payer_unit_id": str(payer), "name": called.get(payer, ""), "total_fen": fen}
            for payer, fen in sorted(found.payers.items(), key=lambda entry: -entry[1])
        ],
        "adjustments": found.adjustments,
        "settled_fen": found.settled_fen,
        "unsettled": list(found.unsettled),
        "problems": [_obstacle(one) for one in found.problems],
        "problems_total": found.problems_total,
    }
    if to_csv is not None:
        obstacle_file.write(to_csv, found.problems)
    call.answer(answer, lambda: _show(call, answer))
    if found.problems:
        body = {"code": "bill.gaps"} | answer
        raise Refusal("bill.gaps", f"有 {found.problems_total} 项不能计费或结算，不能关账。", body=body)


def _obstacle(one: Obstacle) -> dict[str, Any]:
    found = obstacles.problem(one)
    return {
        "id": None if one.id is None else str(one.id),
        "meter": one.meter,
        "code": found.code,
        "number": one.number,
        "name": one.name,
        "payer": one.payer,
        "month": None if one.month is None else f"{one.month:%Y-%m}",
        "amount_fen": one.amount_fen,
        "line": one.line,
        "operator": one.operator,
        "message": sentence(found.code, found.params),
    }


def _show(call: DatabaseCall, answer: dict[str, Any]) -> None:
    call.terminal.say(f"{answer['month']} 试算，计至 {moment(answer['covers_until'])}")
    if answer["payers"]:
        rows = ((p["name"], yuan(p["total_fen"])) for p in answer["payers"])
        call.terminal.say(table(("付费单位", "金额"), rows, right=("金额",)))
    for problem in answer["problems"][:SHOWN]:
        call.terminal.say(f"{problem['code']}：{problem['number']} {problem['message']}")
    if len(answer["problems"]) > SHOWN:
        call.terminal.say(f"共 {answer['problems_total']} 项，以上为前 {SHOWN} 项，--json 或 --csv 逐项列出")
    call.terminal.say(
        f"共 {answer['lines']} 行（调整 {answer['adjustments']} 行），应收 {yuan(answer['total_fen'])}，"
        f"应付运营方 {yuan(answer['settled_fen'])}{_unsettled(answer['unsettled'])}"
    )


def _unsettled(operators: Sequence[str]) -> str:
    """Never free in silence, on the operators' side either."""
    if not operators:
        return ""
    return f"\nsettlement.none：{sentence('settlement.none', {'operators': '、'.join(operators)})}"


@group.command("close")
@database_verb
def close(call: DatabaseCall, month: WhichMonth) -> None:
    """关账：冻结该月账单并记账；缺价格或付费单位时列出并停止，不写入。"""
    try:
        with call.core.works.begin() as work:
            done = closing.close(work, month)
    except Invalid as refused:  # as people know it, and not by its id
        told = [replace(one, field=str(one.params.get("number") or one.field)) for one in refused.problems]
        raise Invalid(told, total=refused.total) from refused
    answer = {
        "month": str(month),
        "version": done.version,
        "statements": done.statements,
        "lines": done.lines,
        "adjustments": done.adjustments,
        "total_fen": done.total_fen,
        "settled_fen": done.settled_fen,
        "unsettled": list(done.unsettled),
    }
    text = (
        f"{month} 第 {done.version} 次关账：{done.statements} 份账单，{done.lines} 行（调整 {done.adjustments} 行），"
    )
    text += f"应收 {yuan(done.total_fen)}，应付运营方 {yuan(done.settled_fen)}{_unsettled(done.unsettled)}"
    call.done(answer, text)


@group.command("begin")
@client_verb
def begin(
    call: Call,
    month: WhichMonth,
    reason: Annotated[str, typer.Option(help="从该月开始计费的理由（申请时填写）", metavar="理由")] = "",
    *,
    agree: Annotated[bool, typer.Option("--agree", help="同意他人的申请")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="撤回，或不同意他人的申请")] = False,
) -> None:
    """设定起始月份（只能一次）：此前的用量不计费；一人申请并写明理由，另一人同意。不设定时从最早有用量的月份开始。"""
    if [bool(reason.strip()), agree, drop].count(True) != 1:
        raise typer.BadParameter("请用 --reason 申请，用 --agree 同意他人的申请，或用 --drop 撤回、不同意")
    at = f"/billing-months/{month}/beginning"
    if agree:
        call.done(call.api.post(f"{at}/agreement"), f"账目从 {month} 开始，此前的用量不计费。")
    elif drop:
        call.done(call.api.post(f"{at}/drop"), f"不再设定账目从 {month} 开始。")
    else:
        call.done(call.api.post(at, {"reason": reason}), f"已申请账目从 {month} 开始，等待另一人同意。")


@group.command("reopen")
@client_verb
def reopen(
    call: Call,
    month: WhichMonth,
    reason: Annotated[str, typer.Option(help="重新打开的理由（申请时填写）", metavar="理由")] = "",
    *,
    agree: Annotated[bool, typer.Option("--agree", help="同意他人的申请")] = False,
) -> None:
    """重新打开最后关账的月份：一人申请并写明理由，另一人同意；两个版本的账单都保留。"""
    if agree == bool(reason.strip()):
        raise typer.BadParameter("请用 --reason 申请，或用 --agree 同意他人的申请")
    at = f"/billing-months/{month}/reopening"
    if agree:
        call.done(call.api.post(f"{at}/agreement"), f"{month} 已重新打开，分录已冲销。")
    else:
        call.done(call.api.post(at, {"reason": reason}), f"已申请重新打开 {month}，等待另一人同意。")


class Export(StrEnum):
    """What a month is exported as."""

    AUDIT = "audit"
    FOCUS = "focus"


@group.command("export")
@database_verb
def export(
    call: DatabaseCall,
    month: WhichMonth,
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="结果目录")],
    *,
    form: Annotated[
        Export, typer.Option("--format", help="audit：spans.csv 与 tariff.yaml，供 guiyun rate 复算；focus：FOCUS 1.2")
    ] = Export.AUDIT,
    parquet: Annotated[bool, typer.Option("--parquet", help="FOCUS：写 Parquet（缺省为 CSV）")] = False,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="FOCUS：以代码代替中文名称")] = False,
) -> None:
    """导出该月：供独立复算的用量和价目，或 FOCUS 1.2 费用数据（每个付费单位一个账单账户）。"""
    if form is Export.FOCUS:
        _focus(call, month, out, parquet=parquet, ascii_only=ascii_only)
        return
    if parquet or ascii_only:
        raise typer.BadParameter("--parquet 与 --ascii 只用于 --format focus")
    with call.core.works.begin() as work:
        spans = write_files(work.session, month, work.now, out)
    call.done({"month": str(month), "spans": spans, "out": str(out)}, f"{month}：{spans} 条用量，写入 {out}")


def _focus(call: DatabaseCall, month: Month, out: Path, *, parquet: bool, ascii_only: bool) -> None:
    kind = "parquet" if parquet else "csv"
    path = out.joinpath(f"focus-{month}.{kind}")
    with call.core.works.begin() as work:
        found = statements.of_month(work.session, month, actor=work.actor, now=work.now)
        written = focus_file.write(path, found, form=kind, ascii_only=ascii_only)
    answer = {
        "month": str(month),
        "rows": written.rows,
        "accounts": written.accounts,
        "total_fen": written.total_fen,
        "file": str(path),
    }
    text = f"{month}：{written.accounts} 个付费单位，{written.rows} 行，合计 {yuan(written.total_fen)}，写入 {path}"
    call.done(answer, text)


@group.command("verify")
@database_verb
def verify(call: DatabaseCall, month: WhichMonth) -> None:
    """复核已关账的月份：合计、分录与逐行重算；有差异时退出码为 1。"""
    with call.core.works.begin() as work:
        found = recount(work.session, month)
    answer = {"month": str(month), "differences": [asdict(one) for one in found]}

    def show() -> None:
        for one in found:
            _, _, meter = one.subject.partition(" ")
            about = f"{one.about} {names.METERS.get(meter, meter)}".rstrip() if one.about else one.subject
            call.terminal.say(f"{_DIFFERENCES[one.code]}：{about}")
        call.terminal.say(f"{month}：{len(found)} 处差异" if found else f"{month} 的账单、结算与分录核对无误")

    call.answer(answer, show)
    if found:
        raise Refusal("bill.differs", f"{month} 有 {len(found)} 处差异。", body={"code": "bill.differs"} | answer)


Yuan = Annotated[int | None, typer.Option("--yuan", parser=parse_yuan, help="金额（元）", metavar="金额")]
Year = Annotated[int, typer.Argument(metavar="年度", min=2000, max=2999)]


@group.command("budget")
@database_verb
def budget(
    call: DatabaseCall,
    year: Year,
    *,
    payer: Annotated[str, typer.Option(help="设定预算的付费单位代码", metavar="代码")] = "",
    amount: Yuan = None,
) -> None:
    """各付费单位的年度预算、已用和全年预计；给出 --payer 与 --yuan 时先设定。

    全年预计：已关账月份为实数；未关账月份按用量，仍在使用的计至月末；以后各月按现有资源和下一个月的价格。
    """
    if (amount is None) != (not payer):
        raise typer.BadParameter("--payer 与 --yuan 应当同时给出")
    with call.core.works.begin() as work:
        if amount is not None:
            budgets.set_budget(work, tenancy.unit_id_of(work.session, payer, now=work.now), year, amount)
        states = budgets.seen(work, year, patience_s=0)
    found = [
        {
            "payer_unit_id": str(state.payer_unit_id),
            "name": state.name,
            "year": state.year,
            "amount_fen": state.amount_fen,
            "spent_fen": state.spent_fen,
            "months": state.months,
            "forecast_fen": state.forecast_fen,
            "forecast": None if state.forecast is None else asdict(state.forecast),
        }
        for state in states
    ]
    headers = ("付费单位", "预算", "已关账月份", "已用", "未关账月份", "以后各月", "全年预计")
    rows = (
        (
            s.name,
            yuan(s.amount_fen),
            str(s.months),
            yuan(s.spent_fen),
            *_expected(s.forecast),
            _whole(s.forecast_fen),
        )
        for s in states
    )
    call.listed(found, headers, rows, nothing=f"{year} 年没有设定预算。", right=headers[1:])


def _whole(fen: int | None) -> str:
    return "" if fen is None else yuan(fen)


def _expected(forecast: Forecast | None) -> tuple[str, str]:
    return ("", "") if forecast is None else (yuan(forecast.open_fen), yuan(forecast.later_fen))


@group.command("step-down")
@database_verb
def step_down(
    call: DatabaseCall,
    year: Annotated[int | None, typer.Argument(metavar="年度", min=2000, max=2999)] = None,
    *,
    cloud: Annotated[str, typer.Option(help="设定额度的行业云代码", metavar="代码")] = "",
    amount: Yuan = None,
) -> None:
    """未纳入统一管理的行业云逐年递减的额度（第十六条第三款）；给出年度、--cloud 与 --yuan 时先设定。"""
    if len({amount is None, not cloud, year is None}) != 1:
        raise typer.BadParameter("年度、--cloud 与 --yuan 应当同时给出")
    with call.core.works.begin() as work:
        if amount is not None and year is not None:
            budgets.set_step(work, cloud, year, amount)
        found = [dict(row._mapping) for row in budgets.steps(work.session)]  # noqa: SLF001 - SQLAlchemy's public name
    headers = ("行业云", "年度", "额度")
    rows = ((one["name"], str(one["year"]), yuan(one["amount_fen"])) for one in found)
    call.listed(found, headers, rows, nothing="没有设定递减额度。", right=headers[1:])


_DIFFERENCES = {
    "statement.total": "账单总额不等于各行之和",
    "statement.sums": "账单的汇总不等于其各行之和",
    "close.total": "关账总额不等于各账单之和",
    "close.figures": "关账记录的结算额、调整行数或截止时间与明细不符",
    "settlement.total": "结算总额不等于各行之和",
    "posting.balance": "分录借贷不平",
    "posting.amount": "分录金额与账单不符",
    "posting.sides": "分录的单位或金额与所依据的账单、结算单不符",
    "posting.reversal": "已重开的关账缺少冲销分录，或未重开的已被冲销",
    "settlement.changed": "结算按现有用量和价格重算后不同",
    "adjustment.line": "调整行与已确认的调整不符",
    "adjustment.twice": "同一调整列入了两次",
    "adjustment.missing": "已确认的调整没有列入账单",
    "line.described": "该行的单位、云、付费规则或依据与重新计费的不同",
    "line.below_zero": "该行合计低于零（调整与用量更正重复）",
    "usage.changed": "用量在关账后有变动，将在下一次关账时调整",
    "facts.changed": "没有新的用量，但价格、付费规则或归属在关账后被改动，不会自动调整",
}


@group.command("issue")
@database_verb
def issue(call: DatabaseCall, month: WhichMonth) -> None:
    """出账（关账之前的中期账单）：为每个付费单位写一份；再次出账产生新的版本，旧版本保留。"""
    with call.core.works.begin() as work:
        made = closing.issue(work, month)
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


group.add_typer(disputes.group)
group.add_typer(adjustments.group)

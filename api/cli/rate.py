"""``guiyun rate``: rates a month of usage from files, without a database.

Called by: the command line. Must not: compute anything; say in Chinese what was refused, with file, line and code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from broker.chargeback.offline import rate_files
from broker.errors import Invalid, Problem
from broker.pricing.months import Month

app = typer.Typer()

TEXTS = {
    "line.limit": "金额超过上限 {limit_fen} 分：资源 {resource}，计量项 {meter}",
    "span.city_differs": "同一资源、同一付费方的用量写了两个地市代码：{resource}",
    "span.columns": "本行有 {found} 列，应为 {expected} 列",
    "span.empty": "{column} 不能为空",
    "span.ends_before_start": "结束时间 {end_at} 早于开始时间 {start_at}",
    "span.meter_unknown": "价目表中没有计量项 {meter}",
    "span.overlap": "资源 {resource} 的计量项 {meter} 与 {other} 的时段重叠",
    "span.price_missing": "计量项 {meter} 在本月部分或全部时段没有价格",
    "span.quantity": "数量应为十进制数：{value}",
    "span.quantity_negative": "数量不能为负：{value}",
    "span.time": "时间应为 UTC 整秒，如 2026-10-01T00:00:00Z：{value}",
    "spans.broken": "CSV 格式有误：{detail}",
    "spans.column_missing": "缺少列 {column}",
    "spans.column_twice": "列 {column} 出现了两次",
    "spans.empty": "用量文件为空",
    "spans.not_utf8": "用量文件不是 UTF-8 编码",
    "span.once": "计量项 {meter} 按次计费，用量应恰为一秒：资源 {resource}",
    "span.once_price": "计量项 {meter} 是一次性收费项目，价格却按时间计：资源 {resource}",
    "span.state": "state 应为 active、stopped 或 once：{value}",
    "span.term": "term_months 应为整数：{value}",
    "rate.files": "文件无法读写：{detail}",
    "spans.parquet": "不是可以读取的 Parquet 文件：{detail}",
    "tariff.broken": "YAML 格式有误：{detail}",
    "tariff.empty": "价目表为空",
    "tariff.condition": "term_months 应为 0 至 1200，charged_when_stopped 应为真或假，sub_cloud 与 operator 只能写一个",
    "tariff.discount": "discount 是价格的折扣系数，应大于 0 且不超过 1，最多 {decimals} 位小数：{value}",
    "tariff.free_quantity": "free_quantity 应为非负的十进制数：{value}",
    "tariff.ends_before_start": "价格的截止时间应晚于开始时间",
    "tariff.key_missing": "缺少 {key}",
    "tariff.key_twice": "{key} 写了两次",
    "tariff.key_unknown": "不认识的项目 {key}",
    "tariff.not_utf8": "价目表不是 UTF-8 编码",
    "tariff.overlap": "计量项 {meter} 的价格与 {other} 的有效期重叠",
    "tariff.per": "per 应为 hour、month 或 once：{value}",
    "tariff.price": "价格应为十进制数：{value}",
    "tariff.price_decimals": "价格最多 {decimals} 位小数：{value}",
    "tariff.price_limit": "价格过大：{value}",
    "tariff.price_negative": "价格不能为负：{value}",
    "tariff.shape": "价目表结构有误，此处应为 {expected}",
    "tariff.time": "时间应为带时区的整秒，如 2026-10-01T00:00:00+08:00：{value}",
    "tariff.too_large": "价目表超过 {limit_bytes} 字节",
}
"""Sentence per code; a code never changes its meaning."""

SpansFile = Annotated[
    Path,
    typer.Option("--spans", exists=True, dir_okay=False, readable=True, help="用量时段（CSV 或 Parquet）"),
]
TariffFile = Annotated[
    Path, typer.Option("--tariff", exists=True, dir_okay=False, readable=True, help="价目表（YAML）")
]
OutFolder = Annotated[Path, typer.Option("--out", file_okay=False, help="结果目录：lines.csv、totals.csv")]


def _month(text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError as error:
        raise typer.BadParameter("应为 YYYY-MM") from error


@app.command("rate")
def rate(
    *,
    spans: SpansFile,
    tariff: TariffFile,
    month: Annotated[Month, typer.Option("--month", parser=_month, metavar="YYYY-MM", help="账期（北京时间自然月）")],
    out: OutFolder,
    as_json: Annotated[bool, typer.Option("--json", help="以 JSON 输出")] = False,
) -> None:
    """按用量文件和价目表计算一个月的费用，不使用数据库；金额精确到分。"""
    try:
        done = rate_files(spans, tariff, month, out)
    except Invalid as error:
        _complain(error, as_json=as_json)
        raise typer.Exit(1) from error
    if as_json:
        result = {
            "month": str(month),
            "spans": done.spans,
            "lines": done.lines,
            "payers": done.payers,
            "amount_fen": done.amount_fen,
            "out": str(out),
        }
        typer.echo(json.dumps(result, ensure_ascii=False))
    else:
        yuan, fen = divmod(done.amount_fen, 100)
        typer.echo(
            f"{month}：{done.spans} 条用量，{done.lines} 行费用，{done.payers} 个付费方，合计 {yuan}.{fen:02d} 元"
        )


def _complain(error: Invalid, *, as_json: bool) -> None:
    if as_json:
        problems = [
            {"code": p.code, "place": p.field, "text": sentence(p), "params": {k: str(v) for k, v in p.params.items()}}
            for p in error.problems
        ]
        typer.echo(json.dumps({"code": "rate.refused", "problems": problems}, ensure_ascii=False), err=True)
        return
    for problem in error.problems:
        typer.echo(f"{problem.field}: {problem.code}: {sentence(problem)}", err=True)
    typer.echo("rate.refused: 未写出任何结果", err=True)


def sentence(problem: Problem) -> str:
    """The Chinese sentence of a problem."""
    return TEXTS.get(problem.code, problem.code).format_map(dict(problem.params))

"""``guiyun rate``: rates a month of usage from files, without a database.

Called by: the command line. Must not: compute anything; say in Chinese what was refused, with file, line and code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from api import texts
from api.cli.display import SHOWN, more
from broker.chargeback.offline import rate_files
from broker.errors import Invalid, Problem
from broker.pricing.months import Month

app = typer.Typer()

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
            f"{month}：{done.spans} 条用量，{done.lines} 行费用，{done.payers} 个付费方，合计 {yuan:,}.{fen:02d} 元"
        )


def _complain(error: Invalid, *, as_json: bool) -> None:
    if as_json:
        problems = [
            {"code": p.code, "place": p.field, "text": _sentence(p), "params": {k: str(v) for k, v in p.params.items()}}
            for p in error.problems
        ]
        typer.echo(
            json.dumps({"code": "rate.refused", "total": error.total, "problems": problems}, ensure_ascii=False),
            err=True,
        )
        return
    for problem in error.problems[:SHOWN]:
        typer.echo(f"{problem.field}: {problem.code}: {_sentence(problem)}", err=True)
    typer.echo(f"rate.refused: {more(error.total)}未写出任何结果", err=True)


def _sentence(problem: Problem) -> str:
    """In the files' own words: a meter is whatever the tariff calls it, and is shown as it stands there."""
    quoted = {"meter": f"“{problem.params['meter']}”"} if "meter" in problem.params else {}
    return texts.sentence(problem.code, {**problem.params, **quoted})

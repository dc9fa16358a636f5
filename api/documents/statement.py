"""What every form of a statement shows: its columns, its headings, its words. Pure.

Called by: the writers of CSV, Excel and PDF, and the console's page. Must not: use a float, or read the database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from api import formats, texts
from api.texts import console, money, names
from broker.chargeback.views import Axis, ExplainedLine, StatementSummary, Sum
from broker.pricing.rules import EXACT, SECONDS_PER_HOUR, half_even
from broker.pricing.values import Per

HOUR_PLACES = 4
Kind = Literal["text", "money", "price", "quantity"]
Cell = str | Decimal


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the lines: its heading, what it holds, how wide it is in characters."""

    heading: str
    kind: Kind
    width: int
    value: Callable[[ExplainedLine], Cell]


def yuan(fen: int) -> Decimal:
    """Whole fen as yuan with two decimals, exactly."""
    return Decimal(fen).scaleb(-2, EXACT)


def hours(unit_seconds: Decimal) -> Decimal:
    """Unit-seconds as unit-hours, half-even at four decimals: to be read, never to be multiplied."""
    numerator, denominator = unit_seconds.as_integer_ratio()
    return Decimal(half_even(numerator * 10**HOUR_PLACES, denominator * SECONDS_PER_HOUR)).scaleb(-HOUR_PLACES, EXACT)


def used(unit_seconds: Decimal, per: str) -> str:
    """Usage as people read it: unit-hours, or how many of what is charged once."""
    return f"{unit_seconds.normalize(EXACT):,f} 次" if per == Per.ONCE else f"{hours(unit_seconds):,f}"


def rule(line: ExplainedLine) -> str:
    """Why this payer: the rule, or several where it changed within the line."""
    return " + ".join(console.PAYER_RULES.get(each, each) for each in line.payer_rule.split(" + "))


def articles(reference: str) -> str:
    """The articles behind a rule, or that it is ours."""
    return "、".join(texts.article(each) for each in reference.split(" + ") if each) or console.OURS


def note(line: ExplainedLine, summary: StatementSummary) -> str:
    """What is unusual about a line: an adjustment with its reason, usage of an earlier month, an item charged once."""
    late = line.usage_month != summary.head.month
    if line.adjustment_id:
        of_month = f"（{line.usage_month:%Y-%m}）" if late else ""
        return f"{money.ADJUSTMENT}{of_month}：{line.adjustment_reason}"
    said = [
        money.LATE.format(month=line.usage_month.strftime("%Y-%m")) if late else "",
        money.ONCE.format(used=used(line.quantity_seconds, line.per)) if line.per == Per.ONCE else "",
    ]
    return "，".join(filter(None, said))


def columns(summary: StatementSummary) -> Sequence[Column]:
    """The columns of the lines, in order."""
    return (
        Column("资源编号", "text", 16, lambda x: x.resource_number),
        Column("资源名称", "text", 22, lambda x: x.resource_name),
        Column("使用单位", "text", 24, lambda x: x.unit_name),
        Column("信息系统", "text", 22, lambda x: x.system_name or money.NO_SYSTEM),
        Column("云平台", "text", 18, lambda x: x.sub_cloud_name),
        Column("资源类别", "text", 20, lambda x: names.METERS.get(x.meter, x.meter)),
        Column("使用月份", "text", 10, lambda x: x.usage_month.strftime("%Y-%m")),
        Column("用量（数量·秒）", "quantity", 18, lambda x: x.quantity_seconds),
        Column("其中免费（数量·秒）", "quantity", 18, lambda x: x.free_seconds),
        Column("用量（数量·小时）", "quantity", 16, lambda x: "" if x.per == Per.ONCE else hours(x.quantity_seconds)),
        Column("单价（元）", "price", 12, lambda x: x.price_cny.normalize(EXACT)),
        Column("计价单位", "text", 10, lambda x: money.PER.get(x.per, x.per)),
        Column("折扣系数", "price", 9, lambda x: x.discount.normalize(EXACT)),
        Column("价目版本", "text", 14, lambda x: x.tariff_version),
        Column("付费规则", "text", 30, rule),
        Column("依据", "text", 26, lambda x: articles(x.article)),
        Column("备注", "text", 20, lambda x: note(x, summary)),
        Column("金额（元）", "money", 14, lambda x: yuan(x.amount_fen)),
    )


def sum_name(one: Sum) -> str:
    """A heading's name as people read it."""
    if one.axis is Axis.METER:
        return names.METERS.get(one.key, one.key)
    if one.axis is Axis.SYSTEM:
        return one.name or money.NO_SYSTEM
    if one.axis is Axis.RULE:
        words, _, article = one.key.partition("|")
        shown = " + ".join(console.PAYER_RULES.get(each, each) for each in words.split(" + "))
        return f"{shown}（{articles(article)}）"
    return one.name


def facts(summary: StatementSummary) -> Sequence[tuple[str, Cell]]:
    """The head of a statement: names, and values as text or yuan."""
    before = summary.before_fen
    out: list[tuple[str, Cell]] = [
        ("付费主体", summary.head.payer_name),
        ("账单月份", f"{summary.month}（北京时间自然月）"),
        ("状态", f"{names.STANDINGS[summary.standing.value]}，第 {summary.head.version} 版"),
        ("计费截至", formats.when(summary.head.covers_until)),
        ("本月合计（元）", yuan(summary.head.total_fen)),
        ("上月合计（元）", console.NO_NAME if before is None else yuan(before)),
    ]
    if summary.head.part:
        out.append(("范围", money.PART))
    if before is not None:
        change = summary.head.total_fen - before
        out += [("较上月（元）", yuan(change)), ("较上月幅度", formats.percent(change, before))]
    return out


def file_name(summary: StatementSummary, ending: str) -> str:
    """``账单-南宁市-2026-10-v1.xlsx``; what a file's name must not hold is left out."""
    payer = "".join(c for c in summary.head.payer_name if c.isalnum())
    return f"账单-{payer}-{summary.month}-v{summary.head.version}.{ending}"

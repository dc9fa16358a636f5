"""A statement as PDF: its head, its sums beside last month's, its lines. A4, to be printed, signed and filed.

Called by: the API, ``guiyun statements``. Must not: need a font file, a browser or a network.

The Chinese font is one of Adobe's standard CID fonts (STSong-Light): every reader draws it with a Song face of its own,
so that nothing is embedded and files stay small. A long statement's lines stand in Excel and CSV; here only the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.platypus import LongTable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from api import formats
from api.documents.statement import articles, facts, note, rule, sum_name, used, yuan
from api.texts import money, names
from broker.chargeback.views import Axis, ExplainedLine, StatementSummary

MOST_LINES = 500
FONT = "STSong-Light"
_INK, _GREY, _SHADE = colors.HexColor("#1b2430"), colors.HexColor("#5b6675"), colors.HexColor("#eef2f7")
_TEXT = ParagraphStyle("text", fontName=FONT, fontSize=8, leading=11, textColor=_INK, wordWrap="CJK")
_RIGHT = ParagraphStyle("right", parent=_TEXT, alignment=2)
_HEAD = ParagraphStyle("head", parent=_TEXT, textColor=_GREY)
_HEAD_RIGHT = ParagraphStyle("head-right", parent=_HEAD, alignment=2)
_TITLE = ParagraphStyle("title", parent=_TEXT, fontSize=17, leading=24)
_SECTION = ParagraphStyle(
    "section", parent=_TEXT, fontSize=11, leading=16, spaceBefore=10, spaceAfter=4, keepWithNext=1
)
_GRID = TableStyle(
    [
        ("BACKGROUND", (0, 0), (-1, 0), _SHADE),
        ("LINEBELOW", (0, 0), (-1, -1), 1, _SHADE),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
        ("LEFTPADDING", (0, 0), (-1, -1), 4),
        ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ]
)
_MIDDLE_DOT = str.maketrans("·", "・")
"""The font's character set has the middle dot of Chinese names at the other code."""

_SUM_WIDTHS = (117, 40, 40, 40, 30)
_LINE_WIDTHS = (38, 44, 30, 32, 28, 27, 46, 22)
"""Millimetres; both make 267, the width between the margins of A4 on its side."""


def write(path: Path, summary: StatementSummary, lines: Iterable[ExplainedLine]) -> None:
    """Write a statement, with its first ``MOST_LINES`` lines."""
    if FONT not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(UnicodeCIDFont(FONT))
    title = f"{summary.head.payer_name} {summary.month} 账单"
    document = SimpleDocTemplate(
        str(path),
        pagesize=landscape(A4),
        leftMargin=15 * mm,
        rightMargin=15 * mm,
        topMargin=14 * mm,
        bottomMargin=16 * mm,
        title=title,
        author=summary.issuer_name,
        lang="zh-CN",
    )
    footer = _Footer(f"{title}　第 {summary.head.version} 版")
    document.build(_story(title, summary, lines), onFirstPage=footer, onLaterPages=footer)


class _Footer:
    """What stands at the foot of every page."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __call__(self, canvas: Any, document: Any) -> None:
        canvas.setFont(FONT, 8)
        canvas.setFillColor(_GREY)
        canvas.drawString(15 * mm, 9 * mm, self.text.translate(_MIDDLE_DOT))
        canvas.drawRightString(282 * mm, 9 * mm, f"第 {document.page} 页")


def _story(title: str, summary: StatementSummary, lines: Iterable[ExplainedLine]) -> list[Any]:
    pairs = [
        [Paragraph(_mark(name), _HEAD), Paragraph(_mark(value if isinstance(value, str) else f"{value:,.2f}"), _TEXT)]
        for name, value in facts(summary)
    ]
    out: list[Any] = [
        Paragraph(_mark(title), _TITLE),
        Table(pairs, colWidths=(34 * mm, 233 * mm), hAlign="LEFT"),
        Spacer(0, 2 * mm),
        Paragraph(_mark(f"{money.ROUNDING}{money.ISSUER.format(name=summary.issuer_name)}"), _HEAD),
    ]
    for axis in Axis:
        out += [Paragraph(money.AXES[axis.value], _SECTION), _sums(axis, summary)]
    rows = [_line(line, summary) for line in islice(lines, MOST_LINES)]
    if rows:
        out.append(Paragraph("明细", _SECTION))
        if summary.lines > len(rows):
            out.append(Paragraph(money.MORE_LINES.format(lines=f"{summary.lines:,}", shown=f"{len(rows):,}"), _HEAD))
        heads = (
            "资源",
            "使用单位 / 信息系统",
            "云平台",
            "资源类别",
            "用量（数量·小时）",
            "单价",
            "付费规则与依据",
            "金额（元）",
        )
        out.append(_table(heads, (4, 5, 7), rows, _LINE_WIDTHS))
    return out


def _sums(axis: Axis, summary: StatementSummary) -> LongTable:
    rows = [
        (
            sum_name(one),
            formats.yuan(one.amount_fen),
            formats.yuan(one.before_fen),
            formats.yuan(one.change_fen),
            formats.percent(one.change_fen, one.before_fen),
        )
        for one in summary.by(axis)
    ]
    total, before = summary.head.total_fen, summary.before_fen or 0
    rows.append(
        (
            "合计",
            formats.yuan(total),
            formats.yuan(before),
            formats.yuan(total - before),
            formats.percent(total - before, before),
        )
    )
    heads = (money.AXIS_HEADINGS[axis.value], "本月（元）", "上月（元）", "增减（元）", "增减幅度")
    return _table(heads, (1, 2, 3, 4), rows, _SUM_WIDTHS)


def _line(line: ExplainedLine, summary: StatementSummary) -> tuple[str, ...]:
    discount = "" if line.discount == 1 else f" × {line.discount.normalize():f}"
    free = f"\n其中免费 {used(line.free_seconds, line.per)}" if line.free_seconds else ""
    remark = note(line, summary)
    return (
        f"{line.resource_name}\n{line.resource_number}",
        f"{line.unit_name}\n{line.system_name or money.NO_SYSTEM}",
        line.sub_cloud_name,
        names.METERS.get(line.meter, line.meter) + (f"\n{remark}" if remark else ""),
        f"{used(line.quantity_seconds, line.per)}{free}",
        f"{formats.price(line.price_cny)} {money.PER.get(line.per, line.per)}{discount}\n{line.tariff_version}",
        f"{rule(line)}\n{articles(line.article)}",
        f"{yuan(line.amount_fen):,f}",
    )


def _table(
    heads: Sequence[str], right: Sequence[int], rows: Sequence[Sequence[str]], widths: Sequence[int]
) -> LongTable:
    cells = [[Paragraph(_mark(head), _HEAD_RIGHT if n in right else _HEAD) for n, head in enumerate(heads)]]
    cells += [[Paragraph(_mark(text), _RIGHT if n in right else _TEXT) for n, text in enumerate(row)] for row in rows]
    return LongTable(cells, colWidths=[width * mm for width in widths], repeatRows=1, style=_GRID, hAlign="LEFT")


def _mark(text: str) -> str:
    """Plain text as the markup of a paragraph."""
    return escape(text.translate(_MIDDLE_DOT)).replace("\n", "<br/>")

"""``guiyun bill adjustments | adjust | decide``: finance puts a closed line right, and it takes two.

Called by: ``api.cli.bill``, whose group these verbs are in. Must not: decide who may; the broker does.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import typer

from api.cli.amounts import parse_yuan
from api.cli.display import yuan
from api.cli.verb import Call, client_verb
from api.texts import names

group = typer.Typer()


class Word(StrEnum):
    """What the second person says."""

    CONFIRM = "confirm"
    DROP = "drop"


@group.command("adjustments")
@client_verb
def adjustments(call: Call, *, only_open: Annotated[bool, typer.Option("--open", help="只看待确认的")] = False) -> None:
    """财政对已关账账单行的调整，新的在前。"""
    found = call.api.every("/adjustments", most=200, only_open=str(only_open).lower())
    headers = ("编号", "付费单位", "月份", "资源", "计量项", "原金额", "调整", "状态", "入账月份")
    rows = (
        (
            one["id"],
            one["payer_name"],
            one["month"][:7],
            one["resource_number"],
            names.METERS.get(one["meter"], one["meter"]),
            yuan(one["line_fen"]),
            yuan(one["amount_fen"]),
            _word(one),
            (one["posted_month"] or "")[:7],
        )
        for one in found
    )
    call.listed(found, headers, rows, nothing="没有调整。", right=("原金额", "调整"))


@group.command("adjust")
@client_verb
def adjust(
    call: Call,
    line: Annotated[int, typer.Argument(metavar="行", help="已关账账单的一行（id）")],
    *,
    amount: Annotated[int, typer.Option("--yuan", parser=parse_yuan, metavar="金额", help="差额（元，减收为负）")],
    reason: Annotated[str, typer.Option("--reason", metavar="理由", help="调整理由")],
) -> None:
    """提出调整：由自治区财政的另一人确认后，计入下一个关账月份；原账单不变。"""
    made = call.api.post("/adjustments", {"charge_id": line, "amount_fen": amount, "reason": reason})
    call.done(made, f"已提出调整 {made['id']}（{yuan(made['amount_fen'])}），等待另一人确认。")


@group.command("decide")
@client_verb
def decide(
    call: Call,
    which: Annotated[UUID, typer.Argument(metavar="编号", help="调整的编号")],
    decision: Annotated[Word, typer.Argument(metavar="confirm|drop", help="确认；撤回或不同意")],
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="理由", help="撤回或不同意的理由")] = "",
) -> None:
    """确认他人提出的调整，或者撤回、不同意（写明理由）。已确认的只能以另一项调整冲回。"""
    if decision is Word.CONFIRM:
        found = call.api.post(f"/adjustments/{which}/confirmation")
        call.done(found, f"已确认：{found['resource_number']} {yuan(found['amount_fen'])}，计入下一个关账月份。")
        return
    found = call.api.post(f"/adjustments/{which}/drop", {"reason": reason})
    call.done(found, f"已不再调整：{found['resource_number']}。")


def _word(one: dict[str, Any]) -> str:
    return names.ADJUSTMENT_STATES[one["decision"] or "proposed"]

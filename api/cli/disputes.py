"""``guiyun bill disputes | dispute | answer``: a payer objects to a line of a closed statement, finance answers.

Called by: ``api.cli.bill``, whose group these verbs are in. Must not: decide who may; the broker does.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import typer

from api.cli.amounts import parse_yuan
from api.cli.display import fields, moment, yuan
from api.cli.verb import Call, client_verb
from api.texts import names

group = typer.Typer()


class Decision(StrEnum):
    """What an answer says."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


def _word(dispute: dict[str, Any]) -> str:
    return names.DISPUTE_STATES[dispute["decision"] or "raised"]


@group.command("disputes")
@client_verb
def disputes(call: Call, *, only_open: Annotated[bool, typer.Option("--open", help="只看待答复的")] = False) -> None:
    """账单异议，新的在前。"""
    found = call.api.every("/disputes", most=200, only_open=str(only_open).lower())
    headers = ("编号", "付费单位", "月份", "资源", "计量项", "金额", "状态", "调整")
    rows = (
        (
            one["id"],
            one["payer_name"],
            one["month"][:7],
            one["resource_number"],
            names.METERS.get(one["meter"], one["meter"]),
            yuan(one["amount_fen"]),
            _word(one),
            "" if one["adjusted_fen"] is None else yuan(one["adjusted_fen"]),
        )
        for one in found
    )
    call.listed(found, headers, rows, nothing="没有异议。", right=("金额", "调整"))


@group.command("dispute")
@client_verb
def dispute(
    call: Call,
    which: Annotated[UUID, typer.Argument(metavar="编号", help="查看：异议的编号；提出：账单的编号")],
    *,
    line: Annotated[int | None, typer.Option("--line", metavar="行", help="提出异议的账单行（id）")] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="理由", help="异议理由")] = "",
) -> None:
    """查看一项异议；给出 --line 与 --reason 时，对一份已关账账单的一行提出异议。"""
    if (line is None) != (not reason.strip()):
        raise typer.BadParameter("--line 与 --reason 应当同时给出")
    if line is None:
        found = call.api.get(f"/disputes/{which}")
        call.answer(found, lambda: _show(call, found))
        return
    made = call.api.post("/disputes", {"statement_id": str(which), "charge_id": line, "reason": reason})
    call.done(made, f"已提出异议 {made['id']}，等待自治区财政答复。")


@group.command("answer")
@client_verb
def answer(
    call: Call,
    which: Annotated[UUID, typer.Argument(metavar="编号", help="异议的编号")],
    decision: Annotated[Decision, typer.Argument(metavar="accepted|rejected", help="接受或不接受")],
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="理由", help="答复理由")] = "",
    amount: Annotated[
        int | None, typer.Option("--yuan", parser=parse_yuan, metavar="金额", help="接受时的差额（元，减收为负）")
    ] = None,
) -> None:
    """答复异议：自治区财政，提出人以外的另一人；接受的差额计入下一个关账月份。"""
    form = {"decision": decision.value, "reason": reason, "amount_fen": amount}
    found = call.api.post(f"/disputes/{which}/answer", form)
    more = f"，差额 {yuan(found['adjusted_fen'])} 计入下一个关账月份" if found["adjusted_fen"] is not None else ""
    call.done(found, f"{_word(found)}：{found['resource_number']}{more}。")


def _show(call: Call, found: dict[str, Any]) -> None:
    call.terminal.say(
        fields(
            [
                ("付费单位", f"{found['payer_name']}，{found['month'][:7]}"),
                ("资源", f"{found['resource_name']}（{found['resource_number']}）"),
                ("金额", yuan(found["amount_fen"])),
                ("理由", f"{found['reason']}（{moment(found['raised_at'])}）"),
                ("状态", _word(found)),
                ("答复", "" if found["answer"] is None else f"{found['answer']}（{moment(found['answered_at'])}）"),
                ("调整", "" if found["adjusted_fen"] is None else yuan(found["adjusted_fen"])),
            ],
        )
    )

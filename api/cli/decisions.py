"""``guiyun approve | return | refuse | assess``: stages 2 and 3 at a terminal.

Called by: the command line. Must not: decide without naming the revision that was seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from api.cli.display import moment, yuan
from api.cli.requests import Number, Reason, quote_lines
from api.cli.show import placements
from api.cli.verb import Call, client_verb
from api.texts import names

app = typer.Typer()

Revision = Annotated[
    str, typer.Option("--revision", help="所见的版本；内容已更新时不作决定", metavar="版本", show_default="当前版本")
]


@app.command("approve")
@client_verb
def approve(call: Call, number: Number, *, reason: Reason = "", revision: Revision = "") -> None:
    """批准申请。"""
    _decide(call, number, "approve", reason, revision)


@app.command("return")
@client_verb
def send_back(call: Call, number: Number, *, reason: Reason = "", revision: Revision = "") -> None:
    """退回补正，须写明理由。"""
    _decide(call, number, "return", reason, revision)


@app.command("refuse")
@client_verb
def refuse(call: Call, number: Number, *, reason: Reason = "", revision: Revision = "") -> None:
    """不予批准，须写明理由。"""
    _decide(call, number, "refuse", reason, revision)


def _decide(call: Call, number: str, decision: str, reason: str, revision: str) -> None:
    seen = call.api.request(number)
    body = {"decision": decision, "revision": revision or seen["revision"], "reason": reason}
    made = call.api.post(f"/requests/{seen['id']}/approval", body)
    call.done(made, f"{_of(seen)}{names.DECISIONS[decision]}，现为“{_state(made)}”{_due(made)}")


def _of(seen: Mapping[str, Any]) -> str:
    """Which request, and which revision of it, was decided on."""
    return f"{seen['number']}（版本 …{str(seen['revision'])[-8:]}，{seen['purpose'][:30]}）"


def _state(made: Mapping[str, Any]) -> str:
    return names.REQUEST_STATES[made["state"]]


def _due(made: Mapping[str, Any]) -> str:
    return f"，应于 {moment(made['due_at'])} 前办结" if made["due_at"] else ""


@app.command("assess")
@client_verb
def assess(
    call: Call,
    number: Number,
    *,
    confirm: Annotated[bool, typer.Option("--confirm", help="确认评估，预留配额、容量与网段")] = False,
    back: Annotated[bool, typer.Option("--return", help="退回补正，须写明理由")] = False,
    clouds: Annotated[list[str] | None, typer.Option("--cloud", metavar="项=平台", help="调整云平台")] = None,
    sizes: Annotated[list[str] | None, typer.Option("--size", metavar="项.字段=数值", help="调整规格")] = None,
    reason: Reason = "",
    revision: Revision = "",
    reasons: Annotated[bool, typer.Option("--reasons", help="逐个列出候选云平台的理由")] = False,
) -> None:
    """查看评估建议（可试调整）；加 --confirm 确认，加 --return 退回。“项”为序号或名称。"""
    if confirm and back:
        raise typer.BadParameter("--confirm 与 --return 不能同时给出")
    seen = call.api.request(number)
    url = f"/requests/{seen['id']}/assessment"
    changes = {"clouds": _clouds(clouds or [], seen["items"]), "sizes": _sizes(sizes or [], seen["items"])}
    if confirm or back:
        decision = {"decision": "confirm" if confirm else "return", "revision": revision or seen["revision"]}
        made = call.api.post(url, {**decision, "reason": reason, **(changes if confirm else {})})
        word = "评估已确认" if confirm else "评估退回"
        call.done(made, f"{_of(seen)}{word}，现为“{_state(made)}”{_due(made)}")
        return
    changed = any(changes.values())
    found = call.api.post(f"{url}/proposal", changes) if changed else call.api.get(url)
    call.answer(found, lambda: _show(call, seen, found, reasons=reasons))


def _show(call: Call, seen: Mapping[str, Any], found: Mapping[str, Any], *, reasons: bool) -> None:
    title = {"proposed": "系统建议", "confirm": "已确认的评估", "return": "评估退回"}[found["outcome"]]
    call.terminal.say(f"{_of(seen)}{title}", "")
    call.terminal.say(*placements(found["placements"], reasons=reasons))
    call.terminal.section("费用", *quote_lines(found["quote"]))
    if found["reason"]:
        call.terminal.say("", f"理由：{found['reason']}")
    if found["hold_expires_at"]:
        call.terminal.say("", f"预留至 {moment(found['hold_expires_at'])}，每月 {yuan(found['monthly_fen'])}")
    elif found["outcome"] == "proposed":
        hint = "可以确认：加 --confirm" if found["complete"] else "不能确认：有申请项没有可用的云平台"
        call.terminal.say("", hint)


def _ordinal(word: str, items: Sequence[Mapping[str, Any]]) -> str:
    """An item's place in the form, by that number or by its name. Raises BadParameter."""
    for item in items:
        if word in (str(item["ordinal"]), item["spec"]["name"]):
            return str(item["ordinal"])
    known = "、".join(f"{i['ordinal']} {i['spec']['name']}" for i in items)
    raise typer.BadParameter(f"没有申请项“{word}”；有：{known}")


def _clouds(given: Sequence[str], items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found = {}
    for text in given:
        item, equals, code = text.partition("=")
        if not equals or not code:
            raise typer.BadParameter(f"“{text}”应写成 项=平台，例如 web=main")
        found[_ordinal(item, items)] = code
    return found


def _sizes(given: Sequence[str], items: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for text in given:
        place, _, amount = text.partition("=")
        item, _, field = place.partition(".")
        if not field or not amount.isdecimal():
            raise typer.BadParameter(f"“{text}”应写成 项.字段=整数，例如 web.vcpu=4")
        found.setdefault(_ordinal(item, items), {})[field] = int(amount)
    return found

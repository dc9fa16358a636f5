"""``guiyun deliver | desk | retry | adopt | give-up | release | secret``: stages 4 and 7 at a terminal.

Called by: the command line. Must not: call a cloud; orders are rows that the worker acts on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from api.cli.display import Terminal, moment, table
from api.cli.reclaim import trouble
from api.cli.refusal import Refusal
from api.cli.requests import Number, Reason
from api.cli.show import cases, handed_over
from api.cli.verb import Call, client_verb
from api.cli.watching import watch, watcher
from api.texts import names, reclaim

app = typer.Typer()

Watch = Annotated[bool, typer.Option("--watch", "-w", help="实时显示每一步，直到结束；断线自动续看")]
Case = Annotated[str, typer.Argument(metavar="事项", help="desk 所列的事项，或申请编号（其全部未处理事项）")]

_ORDERED = {"delivering", "needs_operator", "delivered", "partly_delivered", "undelivered"}


@app.command("deliver")
@client_verb
def deliver(call: Call, number: Number, *, follow: Watch = False) -> None:
    """下达交付；加 --watch 显示进度（已下达的则只看进度）。"""
    seen = call.api.request(number)
    if not (follow and seen["state"] in _ORDERED):
        made = call.api.post(f"/requests/{seen['id']}/delivery")
        if not follow:
            call.done(made, f"{seen['number']} 已下达交付；查看进度：guiyun deliver {seen['number']} --watch")
            return
    before = call.api.get(f"/requests/{seen['id']}/deliveries")
    last = _watch(call, seen, {d["id"] for d in before})
    found = call.api.get(f"/requests/{seen['id']}/deliveries")
    call.answer(found, lambda: _delivered(call.terminal, last, found))
    if last["state"] != "delivered":
        raise Refusal(f"delivery.{last['state']}", _outcome(last))


def _watch(call: Call, seen: Mapping[str, Any], subjects: set[str]) -> dict[str, Any]:
    """Watch until the end; Ctrl-C ends only the watching."""
    try:
        if call.as_json:
            return watch(call.api, seen["id"], lambda _: None, subjects=subjects)
        call.terminal.say(f"{seen['number']} {seen['purpose']}")
        with watcher(call.terminal, "  ") as show:
            return watch(call.api, seen["id"], show, subjects=subjects)
    except KeyboardInterrupt:
        sys.stderr.write(f"不再显示进度，系统会继续办理；再看：guiyun show {seen['number']}\n")
        raise typer.Exit(0) from None


def _outcome(last: Mapping[str, Any]) -> str:
    word = names.REQUEST_STATES[last["state"]]
    hint = "；待办事项：guiyun desk" if last["state"] in {"needs_operator", "partly_delivered", "releasing"} else ""
    return f"{last['number']} 现为“{word}”{hint}。"


def _delivered(terminal: Terminal, last: Mapping[str, Any], found: list[dict[str, Any]]) -> None:
    if last["state"] == "delivered":
        terminal.say(f"{last['number']} 已交付使用")
    for delivery in found:
        for handover in delivery["handovers"]:
            terminal.section("移交", *handed_over(handover, secret_waiting=delivery["secret_waiting"]))


@app.command("desk")
@client_verb
def desk(call: Call) -> None:
    """待人工处理的事项、待确认的释放、待关注的回收事项与云平台上已不存在的资源。"""
    found = {"cases": call.api.get("/desk-cases"), "releases": call.api.get("/releases")}
    found |= {"reclaim": call.api.get("/reclaim-desk"), "lost": call.api.get("/lost-resources")}
    call.answer(found, lambda: _desk(call.terminal, found))


def _desk(terminal: Terminal, found: Mapping[str, Any]) -> None:
    if not any(found.values()):
        terminal.say("没有待办事项。")
    if found["cases"]:
        terminal.say("待人工处理（guiyun retry | adopt | give-up 事项）", cases(found["cases"]))
    if found["releases"]:
        rows = ((r["number"], moment(r["asked_at"]), r["reason"]) for r in found["releases"])
        title = "待确认的释放（guiyun release 编号 --confirm）"
        terminal.say(title, table(("申请", "申请于", "理由"), rows, folds=("理由",)))
    if found["reclaim"]:
        rows = ((r["number"], reclaim.STATES[r["state"]], _remark(r)) for r in found["reclaim"])
        terminal.say("资源回收（guiyun reclaim show 事项）", table(("事项", "状态", "说明"), rows, folds=("说明",)))
    if found["lost"]:
        columns = ("资源", "类别", "名称", "单位", "云平台", "停止计量于")
        lost = (
            (r["number"], names.KINDS[r["kind"]], r["name"], r["unit_name"], r["sub_cloud_name"], moment(r["lost_at"]))
            for r in found["lost"]
        )
        title = "云平台上已不存在的资源（核实后由使用单位交还，或者 guiyun reclaim open 资源）"
        terminal.say(title, table(columns, lost))


def _remark(case: Mapping[str, Any]) -> str:
    if case["trouble"]:
        return trouble(case)
    return "；".join(reclaim.WATCHED[why] for why in case["watched"])


@app.command("retry")
@client_verb
def retry(call: Call, case: Case, *, reason: Reason = "") -> None:
    """重试。"""
    _settle(call, case, "retry", reason)


@app.command("adopt")
@client_verb
def adopt(call: Call, case: Case, *, reason: Reason = "") -> None:
    """认领：云平台上带有桂云标记的资源照原样接收。"""
    _settle(call, case, "adopt", reason)


@app.command("give-up")
@client_verb
def give_up(call: Call, case: Case, *, reason: Reason = "") -> None:
    """放弃，须写明理由。"""
    _settle(call, case, "give_up", reason)


def _settle(call: Call, case: str, action: str, reason: str) -> None:
    found = call.api.get("/desk-cases")
    wanted = case.strip().lower()
    meant = [c for c in found if wanted == c["number"].lower() or (len(wanted) >= 4 and c["id"].endswith(wanted))]
    if not meant:
        raise Refusal("case.not_found", f"没有待处理的事项“{case}”；见 guiyun desk。")
    if len({c["number"] for c in meant}) > 1:
        raise Refusal("case.ambiguous", f"“{case}”不止一项，请写全。")
    made = [call.api.post(f"/desk-cases/{c['id']}", {"action": action, "reason": reason}) for c in meant]
    word = names.DECISIONS[action]
    call.done(made, f"{meant[0]['number']} 的 {len(made)} 个事项已{word}；查看进度：guiyun deliver --watch")


@app.command("release")
@client_verb
def release(
    call: Call,
    number: Number,
    *,
    confirm: Annotated[bool, typer.Option("--confirm", help="交付单位确认，随后由系统收回")] = False,
    reason: Reason = "",
    follow: Watch = False,
) -> None:
    """申请释放该申请的全部资源；加 --confirm 由交付单位确认。"""
    seen = call.api.request(number)
    url = f"/requests/{seen['id']}"
    if not confirm:
        made = call.api.post(f"{url}/release", {"reason": reason})
        call.done(made, f"{seen['number']} 已申请释放，待交付单位确认")
        return
    releases = call.api.get(f"{url}/releases")
    waiting = [r for r in releases if r["state"] == "asked"]
    if not waiting and not (follow and seen["state"] == "releasing"):
        raise Refusal("release.not_asked", f"{seen['number']} 没有待确认的释放。")
    made = [call.api.post(f"/releases/{r['id']}/confirmation") for r in waiting]
    if not follow:
        call.done(made, f"{seen['number']} 已确认释放；收回由系统进行")
        return
    last = _watch(call, seen, {r["id"] for r in releases})
    if last["state"] != "released":
        raise Refusal("release.needs_operator", _outcome(last))
    call.done(call.api.get(f"{url}/releases"), f"{seen['number']} 的资源已全部收回")


@app.command("secret")
@client_verb
def secret(call: Call, number: Number) -> None:
    """领取登录密钥：只显示一次，随后从系统中删除。"""
    seen = call.api.request(number)
    waiting = [d for d in call.api.get(f"/requests/{seen['id']}/deliveries") if d["secret_waiting"]]
    if not waiting:
        raise Refusal("secret.none", f"{seen['number']} 没有可以领取的登录密钥（已领取过，或使用申请人自己的公钥）。")
    made = [call.api.post(f"/deliveries/{d['id']}/secret") for d in waiting]
    if any(not each.get("private_key") for each in made):
        raise Refusal("secret.shown", "密钥已交出，但回答在途中丢失；请联系交付单位重新配置登录方式。")
    # Alone on standard output, so that it can be redirected into a file of 0600.
    call.answer(made, lambda: sys.stdout.writelines(each["private_key"] for each in made))
    sys.stderr.write("密钥已从系统中删除，请妥善保存（文件权限 0600）。\n")

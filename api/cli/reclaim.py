"""``guiyun reclaim``: cases of taking back what is idle, expired or dead, at a terminal.

Called by: the command line. Must not: call a cloud; what people decide are rows that the worker acts on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from api import texts
from api.cli.display import Terminal, fields, moment, state, table, yuan
from api.cli.refusal import Refusal
from api.cli.verb import Call, client_verb
from api.formats import last_day
from api.texts import names
from api.texts import reclaim as words

app = typer.Typer()
group = typer.Typer(name="reclaim", help="资源回收：告知、异议、停用、释放。", no_args_is_help=True)
app.add_typer(group)

Number = Annotated[str, typer.Argument(metavar="事项", help="回收事项编号（HS-000123）")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="理由")]


@group.command("cases")
@client_verb
def cases(
    call: Call,
    *,
    everything: Annotated[bool, typer.Option("--all", help="同时列出已办结的")] = False,
    limit: Annotated[int, typer.Option(help="至多列出多少条", min=1, max=100_000)] = 50,
) -> None:
    """回收事项，新的在前。"""
    found = call.api.every("/reclaim-cases", most=limit, open=None if everything else "true")
    call.listed(
        found,
        ("编号", "状态", "起因", "单位", "云平台", "资源", "到期", "说明"),
        (
            (
                c["number"], words.standing(c["state"], c["waits_for"]), words.CAUSES[c["cause"]], c["unit_name"],
                c["sub_cloud_name"], str(c["resources"]), _date(c), _remark(c),
            )
            for c in found
        ),
        nothing="没有未办结的回收事项。",
        right=("资源",),
        folds=("说明",),
    )  # fmt: skip


def _date(case: Mapping[str, Any]) -> str:
    """The date that matters now: the window's end, or until when it is kept."""
    at = case["keep_until"] if case["suspended_at"] else case["due_at"]
    return moment(at) if at and not case["closed_at"] else "—"


def _remark(case: Mapping[str, Any]) -> str:
    return trouble(case) if case["trouble"] else words.WAITS.get(case["waits_for"] or "", case["reason"])


def trouble(case: Mapping[str, Any]) -> str:
    """Which step the machine could not finish, and why."""
    step = words.STEPS.get(case["trouble_step"], case["trouble_step"])
    return f"{step}：{'、'.join(texts.trouble(code) for code in case['trouble'].split())}"


@group.command("show")
@client_verb
def show(call: Call, number: Number) -> None:
    """一个事项的资源、异议与经过。"""
    found = call.api.get(f"/reclaim-cases/{_find(call, number)['id']}")
    call.answer(found, lambda: _show(call.terminal, found))


def _show(terminal: Terminal, case: Mapping[str, Any]) -> None:
    terminal.say(Text(f"{case['number']} {words.standing(case['state'], case['waits_for'])}", "bold"))
    terminal.say(
        fields(
            [
                ("起因", words.CAUSES[case["cause"]]),
                ("说明", case["reason"]),
                ("依据", "\n".join(case["grounds"]) or None),
                ("单位", case["unit_name"]),
                ("信息系统", case["system_name"]),
                ("云平台", case["sub_cloud_name"]),
                ("异议期", f"{case['grace_workdays']} 个工作日"),
                ("期满", moment(case["due_at"]) if case["due_at"] else None),
                ("保留至", moment(case["keep_until"]) if case["keep_until"] else None),
                ("备注", _remark(case) if case["trouble"] or case["waits_for"] else None),
                ("注意", "；".join(words.WATCHED[why] for why in case["watched"]) or None),
            ]
        )
    )
    parts = [
        (
            r["number"],
            names.KINDS[r["kind"]],
            r["name"],
            Text(texts.trouble(r["error_code"]), "red")
            if r["error_code"]
            else state(r["state"], names.RESOURCE_STATES),
        )
        for r in case["parts"]
    ]
    terminal.section("资源", table(("编号", "类别", "名称", "状态"), parts))
    if case["siblings"]:
        others = [(s["number"], state(s["state"], words.STATES)) for s in case["siblings"]]
        terminal.section("同一事项分出的其他部分", table(("编号", "状态"), others))
    said = [(moment(o["raised_at"]), o["reason"], _decision(o), o["answer"] or "") for o in case["objections"]]
    if said:
        terminal.section("异议", table(("时间", "异议", "答复", "理由"), said, folds=("异议", "理由")))
    asked = {o["raised_at"] for o in case["objections"] if o["renew_until"]}
    acts = [
        (
            moment(a["at"]),
            words.happened(a["event"], by_machine=a["actor_id"] is None, renewal=a["at"] in asked),
            _note(a),
        )
        for a in case["acts"]
    ]
    terminal.section("经过", table(("时间", "事项", "备注"), acts, folds=("备注",)))
    if case["offers"]:
        terminal.say("", f"您现在可以：{'、'.join(words.EVENTS[offer] for offer in case['offers'])}")


def _decision(objection: Mapping[str, Any]) -> str:
    """What was answered, with its days; when it is due while it was not."""
    if objection["decision"] is None:
        return f"待答复，应于 {moment(objection['due_at'])} 前答复"
    said = words.answered(objection["decision"], renewal=objection["renew_until"] is not None)
    if objection["workdays"]:
        return f"{said} {objection['workdays']} 个工作日"
    return f"{said}，至 {last_day(objection['until'])}" if objection["until"] else said


def _note(act: Mapping[str, Any]) -> str:
    return words.WAITS.get(act["note"], act["note"]) if act["event"] == "wait" else act["note"]


@group.command("open")
@client_verb
def open_case(
    call: Call,
    resources: Annotated[
        list[str], typer.Argument(metavar="资源…", help="资源编号（ZY-00000123），挂载的云硬盘一并列入")
    ],
    *,
    reason: Reason = "",
) -> None:
    """发起回收：先告知使用单位，异议期满、复核确未使用后才停用。"""
    made = call.api.post("/reclaim-cases", {"resources": resources, "reason": reason})
    call.done(made, f"{made['number']} 已发起，{made['resources']} 项资源；使用单位将收到告知")


@group.command("object")
@client_verb
def object_to(call: Call, number: Number, *, reason: Reason = "") -> None:
    """提出异议（使用单位），须写明理由；答复之前期限停止计算。"""
    _act(call, number, "objection", {"reason": reason}, "已提出异议，待答复")


@group.command("renew")
@client_verb
def renew(
    call: Call,
    number: Number,
    *,
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="希望使用至哪一天（含）")],
    reason: Reason = "",
) -> None:
    """期限届满的资源申请续期（使用单位），须写明理由。"""
    _act(call, number, "renewal", {"until": until.date().isoformat(), "reason": reason}, "已申请续期，待答复")


@group.command("answer")
@client_verb
def answer(
    call: Call,
    number: Number,
    *,
    accept: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="接受，至该日（含）不再列入回收")
    ] = None,
    refuse: Annotated[bool, typer.Option("--refuse", help="不接受")] = False,
    extend: Annotated[int | None, typer.Option(help="延长多少个工作日")] = None,
    reason: Reason = "",
) -> None:
    """答复异议（审批单位）：接受、不接受或延长，须写明理由。"""
    if (accept is not None) + refuse + (extend is not None) != 1:
        raise typer.BadParameter("请在 --accept 日期、--refuse、--extend 天数中选择一项")
    body: dict[str, Any] = {"decision": "refuse", "reason": reason}
    if accept is not None:
        body |= {"decision": "accept", "until": accept.date().isoformat()}
    if extend is not None:
        body |= {"decision": "extend", "workdays": extend}
    _act(call, number, "answer", body, "已答复")


@group.command("withdraw")
@client_verb
def withdraw(call: Call, number: Number, *, reason: Reason = "") -> None:
    """撤销尚未停用的事项，须写明理由。"""
    _act(call, number, "withdrawal", {"reason": reason}, "已撤销")


@group.command("resume")
@client_verb
def resume(call: Call, number: Number, *, reason: Reason = "") -> None:
    """恢复已停用的资源，须写明理由；确认释放之前都可以恢复。"""
    _act(call, number, "resumption", {"reason": reason}, "恢复中，原先运行的云服务器将重新启动")


@group.command("propose")
@client_verb
def propose(call: Call, number: Number, *, reason: Reason = "") -> None:
    """提请释放保留期满的资源，须写明理由，由另一人确认。"""
    _act(call, number, "proposal", {"reason": reason}, "已提请释放，待另一人确认")


@group.command("confirm")
@client_verb
def confirm(call: Call, number: Number) -> None:
    """确认释放（提请人以外的一人）：随后删除资源，不能撤销。"""
    _act(call, number, "confirmation", None, "已确认释放；收回由系统进行")


@group.command("decline")
@client_verb
def decline(call: Call, number: Number, *, reason: Reason = "") -> None:
    """不同意释放，须写明理由。"""
    _act(call, number, "refusal", {"reason": reason}, "已退回")


@group.command("retry")
@client_verb
def retry(call: Call, number: Number) -> None:
    """系统未能完成的一步再执行一次。"""
    _act(call, number, "retry", None, "重试中")


@group.command("vouch")
@client_verb
def vouch(call: Call, number: Number, *, reason: Reason = "") -> None:
    """没有监测数据的资源：核实确未使用，须写明理由。"""
    _act(call, number, "waiver", {"reason": reason}, "已核实，将继续停用")


@group.command("report")
@client_verb
def report(
    call: Call,
    *,
    first: Annotated[str, typer.Option("--from", help="自哪个月（2026-03）")] = "",
    last: Annotated[str, typer.Option("--to", help="至哪个月")] = "",
) -> None:
    """按月、单位、云平台统计收回的资源与每月费用。"""
    found = call.api.get("/reclaim-report", first=first or None, last=last or None)
    headers = ("月份", "单位", "云平台", "事项", "资源", "vCPU", "内存 GiB", "存储 GiB", "每月")
    numbers = ("cases", "resources", "vcpu", "memory_gib", "block_gib")
    rows = (
        (r["month"], r["unit_name"], r["sub_cloud_name"], *(str(r[n]) for n in numbers), yuan(r["monthly_fen"]))
        for r in found
    )
    call.listed(found, headers, rows, nothing="还没有收回的资源。", right=headers[3:])


Name = Annotated[str, typer.Argument(metavar="规则", help="检测规则的名称")]


@group.command("policies")
@client_verb
def policies(call: Call) -> None:
    """检测规则，以及它们是否自动发起回收。"""
    found = call.api.get("/reclaim-policies")
    call.listed(
        found, ("规则", "名称", "依据", "天数", "状态", "最近试运行"), _policies(found), nothing="没有检测规则。"
    )


def _policies(found: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for each in found:
        run = each["dry_run"]
        tried = f"{moment(run['run_at'])}，{run['result']['cases']} 项" if run else "—"
        yield each["name"], each["title"], _basis(each), str(each["days"]), _standing(each), tried


@group.command("policy")
@client_verb
def policy(call: Call, name: Name) -> None:
    """一项检测规则：条件、豁免，以及历次内容由何人何时启用、停用。"""
    found = next((p for p in call.api.get("/reclaim-policies") if p["name"] == name), None)
    if found is None:
        raise Refusal("policy.not_found", texts.sentence("policy.not_found"))
    found["versions"] = call.api.get(f"/reclaim-policies/{name}/versions")
    call.answer(found, lambda: _policy(call.terminal, found))


def _policy(terminal: Terminal, found: Mapping[str, Any]) -> None:
    terminal.say(Text(f"{found['title']}　{_standing(found)}", "bold"))
    said = [
        ("条件", found["condition"]),
        ("连续", f"{found['days']} 天"),
        ("依据", _basis(found)),
        ("异议期", words.grace_words({int(level): days for level, days in found["grace"].items()})),
        ("豁免", "；".join(found["exemptions"]) or "无"),
    ]
    terminal.say(fields(said))
    rows = (
        (
            v["version"], v["digest"][:12], f"{v['dry_runs']} 次", moment(v["switched_on_at"]) or "—",
            moment(v["switched_off_at"]) or "—",
        )
        for v in found["versions"]
    )  # fmt: skip
    if found["versions"]:
        terminal.section("历次内容", table(("版本", "摘要", "试运行", "启用", "停用"), rows, right=("试运行",)))


def _standing(found: Mapping[str, Any]) -> str:
    return "启用" if found["on"] else "内容已变化，未启用" if found["changed"] else "未启用"


def _basis(found: Mapping[str, Any]) -> str:
    return names.article(found["basis"]) if found["basis"] != "ours" else "自定规则"


@group.command("dry-run")
@client_verb
def dry_run(call: Call, name: Name) -> None:
    """试运行：该规则现在会发起哪些回收，哪些不会及其原因；不发起任何回收。"""
    made = call.api.post(f"/reclaim-policies/{name}/dry-run")
    call.answer(made, lambda: _dry(call.terminal, name, made["result"]))


def _dry(terminal: Terminal, name: str, result: Mapping[str, Any]) -> None:
    money, now = yuan(result["monthly_fen"]), f"其中 {result['at_once']} 项可同时停用"
    terminal.say(f"{name} 现在会发起 {result['cases']} 项回收，{now}，每月约 {money}；未发起任何回收。")
    if result["takes"]:
        rows = ((t["number"], t["unit"], str(t["days"]), yuan(t["monthly_fen"] or 0)) for t in result["takes"])
        terminal.section("会发起", table(("资源", "单位", "天数", "每月"), rows, right=("天数", "每月")))
    if result["refused"]:
        terminal.section("不会发起", table(("原因", "项数"), ((words.not_opened(c), str(n)) for c, n in
                                                       result["refused"].items()), right=("项数",)))  # fmt: skip
    if result["shares"]:
        shares = [
            (
                s["unit"],
                "单位及下级" if s["scope"] == "unit" else "云平台",
                *(str(s[name]) for name in ("live", "held", "allowed", "would")),
            )
            for s in result["shares"]
        ]
        title = "同时停用的上限（资源项数；一台云服务器连同其云硬盘总可以先停）"
        headers = ("单位或云平台", "范围", "在用", "已停用", "上限", "会列入")
        terminal.section(title, table(headers, shares, right=headers[2:]))


@group.command("on")
@client_verb
def switch_on(call: Call, name: Name) -> None:
    """启用规则：须已对现有内容试运行。"""
    seen = next((p for p in call.api.get("/reclaim-policies") if p["name"] == name), None)
    if seen is None or seen["dry_run"] is None:
        raise Refusal("reclaim.dry_run_stale", f"请先试运行：guiyun reclaim dry-run {name}")
    made = call.api.post(f"/reclaim-policies/{name}/on", {"dry_run": seen["dry_run"]["id"]})
    call.done(made, f"{name} 已启用；检测到的资源将自动发起回收")


@group.command("off")
@client_verb
def switch_off(call: Call, name: Name) -> None:
    """停用规则：不再发起新的回收。"""
    call.done(call.api.post(f"/reclaim-policies/{name}/off"), f"{name} 已停用；已发起的回收继续办理")


def _act(call: Call, number: str, what: str, body: Any, sentence: str) -> None:
    made = call.api.post(f"/reclaim-cases/{_find(call, number)['id']}/{what}", body)
    call.done(made, f"{made['number']} {sentence}")


def _find(call: Call, number: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = call.api.get("/reclaim-cases", number=number)["data"]
    if not found:
        raise Refusal("reclaim.not_found", f"没有回收事项“{number}”，或者您无权查看；编号形如 HS-000123。")
    return found[0]

"""``guiyun show``: one request as it stands: what was asked, the clocks, who decided what, what was handed over.

Called by: the command line. Must not: change anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.text import Text

from api import texts
from api.cli.client import Api
from api.cli.display import Terminal, fields, indented, instant, moment, size, state, table, yuan
from api.cli.refusal import Refusal
from api.cli.requests import Number
from api.cli.verb import Call, client_verb
from api.formats import last_day
from api.texts import names

app = typer.Typer()

PARTS = ("approvals", "assessment", "deliveries", "releases", "cost")
_WITHOUT_ASSESSMENT = {"draft", "submitted", "withdrawn", "refused"}


@app.command("show")
@client_verb
def show(
    call: Call,
    number: Number,
    *,
    reasons: Annotated[bool, typer.Option("--reasons", help="逐个列出候选云平台的全部理由")] = False,
) -> None:
    """一份申请的全貌：时限、经过、布局理由、资源与移交。"""
    found = gather(call.api, number)
    call.answer(found, lambda: _show(call.terminal, found, reasons=reasons))


def gather(api: Api, number: str) -> dict[str, Any]:
    """The request with its parts under their names; a part that may not be read is null."""
    found = api.request(number)
    url = f"/requests/{found['id']}"
    for part in PARTS:
        skip = part == "assessment" and found["state"] in _WITHOUT_ASSESSMENT
        found[part] = None if skip else _allowed(api, f"{url}/{part}")
    found["resources"] = api.every("/resources", most=1000, request=found["id"])[::-1]
    heads = api.get("/requests", q=found["number"])["data"]
    found["head"] = next((head for head in heads if head["id"] == found["id"]), {})
    return found


def _allowed(api: Api, path: str) -> Any:
    try:
        return api.get(path)
    except Refusal:
        return None


def _show(terminal: Terminal, found: Mapping[str, Any], *, reasons: bool) -> None:
    title = Text.assemble((f"申请 {found['number']}", "bold"), "  ", state(found["state"], names.REQUEST_STATES))
    terminal.say(title, _facts(found))
    terminal.section("申请项", _items(found["items"]))
    if found["clocks"]:
        terminal.section("时限", _clocks(found["clocks"]))
    terminal.section("经过", _timeline(found))
    if found["assessment"] and found["assessment"]["placements"]:
        terminal.section("布局", *placements(found["assessment"]["placements"], reasons=reasons))
    if found["resources"]:
        terminal.section("资源", _resources(found["resources"]))
    for delivery in found["deliveries"] or []:
        for handover in delivery["handovers"]:
            terminal.section("移交", *handed_over(handover, secret_waiting=delivery["secret_waiting"]))
    open_cases = [c for d in found["deliveries"] or [] for c in d["cases"] if c["closed_at"] is None]
    if open_cases:
        terminal.section("待人工处理", cases(open_cases))


def _term(form: Mapping[str, Any], renewed_until: str | None) -> str:
    if not form.get("end_date"):
        return ""
    renewed = f"，已续期至 {last_day(renewed_until)}" if renewed_until else ""
    return f"{form['start_date']} 至 {form['end_date']}{renewed}"


def _facts(found: Mapping[str, Any]) -> Any:
    form, head = found["form"] or {}, found["head"]
    quote, cost = found["quote"], found["cost"]
    contact = found["contact"] or {}
    rows = (
        ("单位", head.get("unit_name") or form.get("unit")),
        ("信息系统", head.get("system_name") or form.get("system")),
        ("云平台", head.get("target_cloud_name")),
        ("用途", found["purpose"]),
        ("公文文号", form.get("document_number")),
        ("期限", _term(form, found["renewed_until"])),
        ("联系人", f"{contact['name']} {contact['phone']}" if contact else ""),
        ("报价", f"每月 {yuan(quote['total_fen'])}" if quote else ""),
        (
            "累计费用",
            f"{yuan(cost['total_fen'])}（截至 {instant(cost['until'])}）" if cost and cost["total_fen"] else "",
        ),
        ("应于此前办结", moment(found["due_at"]) if found["closed_at"] is None else ""),
        ("现在可以", "、".join(names.EVENTS[event] for event in found["actions"])),
    )
    return fields(rows)


def _items(items: Iterable[Mapping[str, Any]]) -> Any:
    rows = (
        (
            str(i["ordinal"]),
            i["spec"]["name"],
            names.KINDS[i["kind"]],
            str(i["count"]),
            size(i["kind"], i["spec"]),
            state(i["state"], names.ITEM_STATES),
        )
        for i in items
    )
    return table(("序号", "名称", "种类", "数量", "规格", "状态"), rows, right=("数量",), folds=("规格",))


def _clocks(clocks: Iterable[Mapping[str, Any]]) -> Any:
    return table(
        ("环节", "时限", "收到", "到期", "办结"),
        (
            (
                names.STAGES[c["stage"]],
                f"{c['workdays']} 个工作日",
                moment(c["received_at"]),
                moment(c["due_at"]) + ("（暂定）" if c["provisional"] else ""),
                _finished(c),
            )
            for c in clocks
        ),
    )


def _finished(clock: Mapping[str, Any]) -> Text:
    if clock["finished_at"]:
        late = clock["finished_at"] > clock["due_at"]
        return Text(moment(clock["finished_at"]) + ("（逾期）" if late else ""), "red" if late else "")
    return Text("停钟（待补正）", "yellow") if clock["stands_still"] else Text("办理中", "cyan")


def _timeline(found: Mapping[str, Any]) -> Any:
    rows = ((instant(at), what, why) for at, what, why in sorted(_events(found)))
    return table(("时间", "事项", "说明"), rows, folds=("说明",))


def _events(found: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    """Instant (ISO), what happened, why: unsorted."""
    yield found["created_at"], "建立申请", ""
    if found["submitted_at"]:
        yield found["submitted_at"], "提交", "《实施细则》第十七条第（一）项"
    for a in found["approvals"] or []:
        yield a["decided_at"], names.DECISIONS[a["decision"]], _why(a)
    assessment = found["assessment"]
    if assessment and assessment["decided_at"]:
        word = "确认评估" if assessment["outcome"] == "confirm" else "评估退回"
        monthly = f"每月 {yuan(assessment['monthly_fen'])}" if assessment["outcome"] == "confirm" else ""
        why = "；".join(part for part in (monthly, assessment["reason"]) if part)
        yield assessment["decided_at"], word, why + _late(assessment)
    for delivery in found["deliveries"] or []:
        run = f"第 {delivery['run']} 次" if delivery["run"] > 1 else ""
        yield delivery["queued_at"], "下达交付", run
        for handover in delivery["handovers"]:
            count = len(handover["record"]["resources"])
            yield handover["handed_over_at"], "移交使用", f"{count} 项资源"
    for release in found["releases"] or []:
        yield release["asked_at"], "申请释放", release["reason"]
        if release["confirmed_at"]:
            yield release["confirmed_at"], "确认释放", ""
        if release["finished_at"]:
            yield release["finished_at"], "资源收回", names.DELIVERY_STATES[release["state"]]
    if found["state"] == "withdrawn":
        yield found["closed_at"], "撤回", ""


def _why(decision: Mapping[str, Any]) -> str:
    parts = (decision["reason"], texts.article(decision["article"]), "代理" if decision["on_behalf_of"] else "")
    return "；".join(part for part in parts if part) + _late(decision)


def _late(decision: Mapping[str, Any]) -> str:
    return "（逾期）" if decision["late"] else ""


def placements(found: Iterable[Mapping[str, Any]], *, reasons: bool) -> Iterable[Any]:
    """Where each item goes, why there, and why not elsewhere; reasons that all items share are said once."""
    said: set[str] = set()
    for placement in found:
        chosen = next((c for c in placement["candidates"] if c["chosen"]), None)
        name = placement["spec"]["name"]
        changed = "（评估人调整）" if placement["overridden"] else ""
        if chosen is None:
            yield Text(f"{name} → 没有可用的云平台", "red")
        else:
            yield Text(f"{name} → {chosen['name']}{changed}", "green")
            yield indented(f"因为：{'；'.join(_verdicts(chosen))}")
        others = [c for c in placement["candidates"] if not c["chosen"]]
        if reasons:
            words = ((("可选" if c["passed"] else "不选"), c["name"], _first_reason(c)) for c in others)
            yield from (indented(f"{verdict} {name}：{why}") for verdict, name, why in words)
            continue
        counted = Counter(_first_reason(c) for c in others)
        why_not = "不选：" + "；".join(f"{count} 个{why}" for why, count in counted.most_common())
        if why_not not in said:
            said.add(why_not)
            yield indented(why_not)


def _verdicts(candidate: Mapping[str, Any]) -> list[str]:
    """Every reason that says something, with its article."""
    return [_sentence(v) for v in candidate["verdicts"] if not v["code"].endswith(".not_needed")]


def _first_reason(candidate: Mapping[str, Any]) -> str:
    failed = next((v for v in candidate["verdicts"] if not v["passed"]), None)
    return _sentence(failed) if failed else "权重较低"


def _sentence(verdict: Mapping[str, Any]) -> str:
    article = texts.article(verdict["article"]).removeprefix("《实施细则》")
    message: str = verdict["message"].rstrip("。")
    return f"{message}（{article}）" if article else message


def _resources(resources: Iterable[Mapping[str, Any]]) -> Any:
    rows = (
        (
            r["number"],
            r["name"],
            names.KINDS[r["kind"]],
            state(r["state"], names.RESOURCE_STATES),
            r["prefix"] or " ".join(r["addresses"]),
            size(r["kind"], r["spec"]),
        )
        for r in resources
    )
    return table(("编号", "名称", "种类", "状态", "地址", "规格"), rows, folds=("规格",))


def handed_over(handover: Mapping[str, Any], *, secret_waiting: bool) -> Iterable[Any]:
    """What was handed over, with its addresses, and how to get in."""
    record = handover["record"]
    yield table(
        ("名称", "种类", "地址", "云上标识"),
        (
            (r["name"], names.KINDS[r["kind"]], r["prefix"] or " ".join(r["addresses"]), r["ref"])
            for r in record["resources"]
        ),
        folds=("云上标识",),
    )
    access = record["access"]
    own = access["method"] == "ssh_key_of_applicant"
    way = "申请人提供的 SSH 公钥" if own else "系统生成的密钥，只显示一次：guiyun secret 编号"
    taken = "（尚未领取）" if secret_waiting else "" if own else "（已领取）"
    yield f"登录 {access['login']}，{way}{taken}"


def cases(found: Iterable[Mapping[str, Any]]) -> Any:
    """What waits for an operator."""
    rows = (
        (c["id"][-8:], c["number"], names.STEPS.get(c["step"], c["step"]), c["message"], moment(c["opened_at"]))
        for c in found
    )
    return table(("事项", "申请", "步骤", "原因", "发生于"), rows, folds=("原因",))

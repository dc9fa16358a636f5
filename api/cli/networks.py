"""``guiyun networks``: dedicated networks (Art. 10-12), their four steps, what the Bureau decides, whose funds stop.

Called by: the command line. Must not: know a rule; the broker says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from api import texts
from api.cli.display import Terminal, fields, moment, table, yuan
from api.cli.refusal import Refusal
from api.cli.verb import Call, client_verb
from api.texts import dedicated as words
from api.texts import names

app = typer.Typer()
group = typer.Typer(help="业务专网：列表、迁移计划、联通、迁移、撤并改、经费停拨")
app.add_typer(group, name="networks", invoke_without_command=True)

PATH = "/dedicated-networks"
Limit = Annotated[int, typer.Option(help="至多列出多少条", min=1, max=100_000)]
Which = Annotated[str, typer.Argument(metavar="专网", help="专网编号")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="理由")]
Day = Annotated[str, typer.Option(help="日期，如 2026-12-31", metavar="日期")]
Evidence = Annotated[str, typer.Option(help="依据：文号、验收材料等")]
Segments = Annotated[list[str] | None, typer.Option("--segment", help="外网网段的资源编号，可重复", metavar="网段")]


@group.callback(invoke_without_command=True)
@client_verb
def listing(
    call: Call,
    context: typer.Context,
    *,
    state: Annotated[str, typer.Option(help="plan、connect、migrate、shut_down 下一步；closed 已撤并改")] = "",
    late: Annotated[bool, typer.Option("--late", help="只列逾期的")] = False,
    limit: Limit = 50,
) -> None:
    """登记的业务专网，新的在前；不带子命令时列出。"""
    if context.invoked_subcommand is not None:
        return
    found = call.api.every(PATH, most=limit, state=state, late="true" if late else None)
    rows = (
        (n["code"], n["name"], n["unit_name"], words.STATES[n["next"] or "closed"], n["due_on"], standing(n),
         yuan(n["yearly_cost_fen"]))
        for n in found
    )  # fmt: skip
    headers = ("编号", "名称", "单位", "进度", "期限", "情况", "年运行经费")
    call.listed(found, headers, rows, nothing="没有业务专网。", right=("年运行经费",), folds=("名称",))


def standing(network: Mapping[str, Any]) -> Text:
    """What is remarkable of it now, the worst first."""
    stop = network["stop"]
    if stop and stop["stopped_at"]:
        return Text("经费停拨", "red")
    if network["late"]:
        return Text("逾期", "red")
    return Text(f"批准保留至 {network['stays_until']}" if network["stays_until"] else "")


@group.command("show")
@client_verb
def show(call: Call, which: Which) -> None:
    """一个业务专网：各步、网段、信息系统、停拨与保留。"""
    found = _one(call, which)
    call.answer(found, lambda: _say(call.terminal, found))


def _say(terminal: Terminal, one: Mapping[str, Any]) -> None:
    said = ((heading, _value(name, one.get(name))) for name, heading in words.HEADINGS.items() if name != "classified")
    terminal.say(fields((("建设单位", one["unit_name"]), *said, ("情况", standing(one)))))
    steps = (
        (
            words.STEPS[s["step"]],
            s["dates"][0]["due_on"] if s["dates"] else "",
            s["dates"][0]["owner"] if s["dates"] else "",
            s["done_on"] or "",
            " ".join(filter(None, (words.OUTCOMES.get(s["outcome"] or "", ""), s["evidence"]))),
        )
        for s in one["steps"]
    )
    terminal.section("各步", table(("步骤", "期限", "责任人", "完成", "依据"), steps, folds=("依据",)))
    moved = [
        (words.STEPS[s["step"]], d["due_on"], d["owner"], moment(d["set_at"]), d["set_by"], d["reason"])
        for s in one["steps"] for d in s["dates"] if len(s["dates"]) > 1
    ]  # fmt: skip
    if moved:
        terminal.section("期限调整", table(("步骤", "期限", "责任人", "时间", "经办", "理由"), moved, folds=("理由",)))
    _rest(terminal, one)


def _rest(terminal: Terminal, one: Mapping[str, Any]) -> None:
    """What it rests on, and what was late."""
    segments = [
        (s["number"], s["prefix"], names.ZONES[s["zone"]], s["router"], "已核验" if s["verified"] else "未核验")
        for s in one["segments"]
    ]
    if segments:
        terminal.section("外网网段", table(("网段", "前缀", "网络区", "路由器", "核验"), segments))
    probes = [
        (moment(p["asked_at"]), "、".join(p["segments"]), p["asked_by"], moment(p["answered_at"]), _probed(p))
        for p in one["probes"]
    ]
    if probes:
        terminal.section("联通核验", table(("报告", "网段", "报告人", "核验", "结果"), probes, folds=("网段", "结果")))
    systems = [(s["code"], s["name"], _moved(s)) for s in one["carried"]]
    if systems:
        terminal.section("承载的信息系统", table(("编号", "名称", "情况"), systems))
    stops = [
        (words.STEPS[s["step"]], s["due_on"], moment(s["noticed_at"]), moment(s["stopped_at"]),
         " ".join(filter(None, (moment(s["lifted_at"]), words.LIFTED.get(s["lifted_why"] or "")))))
        for s in one["stops"]
    ]  # fmt: skip
    if stops:
        terminal.section("逾期与停拨", table(("步骤", "期限", "告知", "停拨", "解除"), stops))


def _value(name: str, value: Any) -> str:
    if name == "level":
        return words.LEVELS[value]
    if name == "yearly_cost_fen":
        return yuan(value)
    return "、".join(value) if isinstance(value, list) else "" if value is None else str(value)


def _probed(probe: Mapping[str, Any]) -> str:
    if probe["code"] is None:
        return "正在核验"
    return f"未通过：{probe['message']}" if probe["code"] else "通过"


def _moved(system: Mapping[str, Any]) -> str:
    return "已终止" if system["ended"] else "已迁移" if system["attached"] else "未迁移"


def _one(call: Call, which: str) -> dict[str, Any]:
    found: dict[str, Any] = call.api.get(f"{PATH}/{which.replace('/', '')}")
    return found


def _act(call: Call, which: str, action: str, body: Mapping[str, Any], said: str) -> None:
    one = _one(call, which)
    made = call.api.post(f"{PATH}/{one['id']}/{action}", dict(body))
    after = words.STATES[made["next"] or "closed"]
    call.done(made, f"{made['name']}（{made['code']}）：{said}，现为“{after}”。")


@group.command("plan")
@client_verb
def plan(
    call: Call,
    which: Which,
    *,
    scope: Annotated[str, typer.Option(help="迁移范围")],
    content: Annotated[str, typer.Option(help="迁移内容")],
    zone: Annotated[str, typer.Option(help="shared 公用、private 专用、internet 互联网接入")],
    leader: Annotated[str, typer.Option(help="责任领导账号")],
    office: Annotated[str, typer.Option(help="责任处室")],
    liaison: Annotated[str, typer.Option(help="联络员账号；也是各步的责任人")],
    document: Annotated[str, typer.Option(help="文号")],
    connect_by: Day,
    migrate_by: Day,
    shut_down_by: Day,
) -> None:
    """报送迁移计划（第十一条第（一）项），写明以后三步的期限。"""
    days = {"connect": connect_by, "migrate": migrate_by, "shut_down": shut_down_by}
    body = {
        "scope": scope, "content": content, "zone": zone, "leader": leader, "office": office, "liaison": liaison,
        "document_number": document, "dates": {step: {"due_on": day, "owner": liaison} for step, day in days.items()},
    }  # fmt: skip
    _act(call, which, "plan", body, "计划已报送")


@group.command("connect")
@client_verb
def connect(call: Call, which: Which, *, done_on: Day, evidence: Evidence, segment: Segments = None) -> None:
    """报告联通：写明所接入的外网网段，应已交付；由探测点当日核验，通过后这一步完成（show 可见结果）。"""
    body = {"done_on": done_on, "evidence": evidence, "segments": segment or []}
    _act(call, which, "connection", body, "已报告联通，正由探测点核验")


@group.command("migrate")
@client_verb
def migrate(call: Call, which: Which, *, done_on: Day, evidence: Evidence, segment: Segments = None) -> None:
    """报告迁移完成：所列信息系统都在本专网的外网网段上，或者已经终止。"""
    body = {"done_on": done_on, "evidence": evidence, "segments": segment or []}
    _act(call, which, "migration", body, "已迁移")


@group.command("close")
@client_verb
def close(
    call: Call,
    which: Which,
    *,
    outcome: Annotated[str, typer.Option(help="removed 撤销、merged 合并、converted 改造")],
    done_on: Day,
    evidence: Evidence,
) -> None:
    """报请撤并改；由大数据发展局的另一人确认，不能撤销。"""
    _act(call, which, "closing", {"outcome": outcome, "done_on": done_on, "evidence": evidence}, "已报请撤并改")


@group.command("confirm")
@client_verb
def confirm(
    call: Call,
    which: Which,
    *,
    answer: Annotated[str, typer.Option(help="意见")],
    decline: Annotated[bool, typer.Option("--decline", help="不同意；不给出为确认")] = False,
) -> None:
    """大数据发展局确认撤并改。"""
    decision = "declined" if decline else "confirmed"
    body = {"decision": decision, "answer": answer}
    _act(call, which, "closing/decision", body, f"撤并改{words.CLOSING[decision]}")


@group.command("redate")
@client_verb
def redate(
    call: Call,
    which: Which,
    *,
    step: Annotated[str, typer.Option(help="plan、connect、migrate、shut_down")],
    due_on: Day,
    reason: Reason,
    owner: Annotated[str, typer.Option(help="改由谁负责（账号）；不写则不变")] = "",
) -> None:
    """大数据发展局调整一步的期限，可同时或只更换责任人（期限照旧填写）。"""
    body = {"step": step, "due_on": due_on, "reason": reason, "owner": owner}
    _act(call, which, "dates", body, "期限与责任人已调整" if owner else "期限已调整")


@group.command("stay")
@client_verb
def stay(
    call: Call,
    which: Which,
    *,
    until: Day,
    document: Annotated[str, typer.Option(help="批准文号")],
    reason: Reason,
) -> None:
    """大数据发展局登记批准保留；期内各步不计逾期。"""
    body = {"until": until, "document_number": document, "reason": reason}
    _act(call, which, "stays", body, f"批准保留至 {until}")


@group.command("stopped")
@client_verb
def stopped(call: Call) -> None:
    """停拨经费的业务专网（第十条），供财政部门。"""
    found = call.api.get("/funds-stops")
    rows = (
        (s["code"], s["name"], s["unit_name"], words.STEPS[s["step"]], s["due_on"], moment(s["stopped_at"]),
         s["funding_source"], yuan(s["yearly_cost_fen"]), texts.article(s["article"]))
        for s in found
    )  # fmt: skip
    headers = ("编号", "名称", "单位", "逾期的步骤", "期限", "停拨", "经费来源", "年运行经费", "依据")
    call.listed(found, headers, rows, nothing="没有停拨经费的业务专网。", right=("年运行经费",), folds=("名称",))


@group.command("import")
@client_verb
def bring(
    call: Call,
    file: Annotated[Path, typer.Argument(metavar="文件", help=".xlsx 或 CSV")],
    *,
    write: Annotated[bool, typer.Option("--apply", help="全部无误时写入台账；不给出时只预检")] = False,
) -> None:
    """预检文件，逐行给出结论；--apply 时写入。有一行有误，整份文件不写入（退出码 1）。"""
    found = call.api.upload(f"{PATH}/imports", file)
    wrong = found["counts"]["wrong"]
    if write and not wrong:
        found = call.api.post(f"{PATH}/imports/{found['id']}/apply", {"digest": found["digest"]})
    call.answer(found, lambda: _verdicts(call, found))
    if wrong:
        said = f"有 {wrong} 行有误，没有写入台账。"
        errors = [{**e, "field": f"{line['line']}.{e['field']}"} for line in found["lines"] for e in line["errors"]]
        body = {"code": "import.wrong_lines", "detail": said, "errors": errors}
        raise Refusal("import.wrong_lines", said, body=body)


def _verdicts(call: Call, found: Mapping[str, Any]) -> None:
    rows = (
        (
            str(line["line"]),
            Text(words.VERDICTS[line["kind"]], "red" if line["kind"] == "wrong" else ""),
            line["code"],
            line["name"],
            "；".join(_reasons(line)),
        )
        for line in found["lines"]
        if line["kind"] != "same"
    )
    counts = "，".join(f"{words.VERDICTS[kind]} {n}" for kind, n in found["counts"].items() if n)
    done = "已写入台账" if found["applied_at"] else "尚未写入台账"
    shown = table(("行", "结论", "编号", "名称", "说明"), rows, right=("行",), folds=("说明",))
    call.terminal.say(shown, f"共 {len(found['lines'])} 行：{counts}。{done}。")


def _reasons(line: Mapping[str, Any]) -> Iterator[str]:
    for error in line["errors"]:
        heading = words.HEADINGS.get(error["field"], "")
        rule = f"（{texts.article(error['article'])}）" if error["article"] else ""
        yield f"{heading}：{error['message'].rstrip('。')}{rule}" if heading else error["message"].rstrip("。")
    if line["changes"]:
        yield "修改" + "、".join(words.HEADINGS[name] for name in line["changes"])


@group.command("export")
@client_verb
def export(call: Call, out: Annotated[Path, typer.Argument(metavar="文件", help=".xlsx 或 .csv")]) -> None:
    """导出可见的全部业务专网；可修改后再导入。"""
    call.api.download(f"{PATH}/export", out, form=out.suffix.removeprefix(".").lower() or "xlsx")
    call.done({"file": str(out)}, f"已存为 {out}。")


@group.command("template")
@client_verb
def template(call: Call, out: Annotated[Path, typer.Argument(metavar="文件", help=".xlsx 或 .csv")]) -> None:
    """导入模板。"""
    call.api.download(f"{PATH}/template", out, form=out.suffix.removeprefix(".").lower() or "xlsx")
    call.done({"file": str(out)}, f"已存为 {out}。")

"""``guiyun systems``: the register of information systems (Art. 26, 28, 29) from a terminal.

Called by: the command line. Must not: know a rule; the broker says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from api import texts
from api.cli.display import fields, moment, shortened, table
from api.cli.refusal import Refusal
from api.cli.verb import Call, client_verb
from api.texts import register as words

app = typer.Typer()
group = typer.Typer(help="信息系统台账：列表、导入导出、划转、终止、总量")
app.add_typer(group, name="systems", invoke_without_command=True)

Limit = Annotated[int, typer.Option(help="至多列出多少条", min=1, max=100_000)]
Which = Annotated[str, typer.Argument(metavar="系统", help="系统编号")]
Unit = Annotated[str, typer.Option(help="单位代码，含下级", metavar="单位")]


@group.callback(invoke_without_command=True)
@client_verb
def listing(
    call: Call,
    context: typer.Context,
    *,
    state: Annotated[str, typer.Option(help="in_use 在用、ended 已终止")] = "",
    unit: Unit = "",
    limit: Limit = 50,
) -> None:
    """登记的信息系统；不带子命令时列出。"""
    if context.invoked_subcommand is not None:
        return
    found = call.api.every("/systems", most=limit, state=state, unit=unit)
    rows = (
        (
            s["code"],
            s["name"],
            words.ENDINGS[s["ended_kind"]] if s["ended_kind"] else words.STATES["in_use"],
            f"{s['mlps_level']} 级",
            s["unit_name"],
            s["approved_on"],
            shortened(s["function"]),
        )
        for s in found
    )
    headers = ("编号", "名称", "状态", "等保", "单位", "审批时间", "功能")
    call.listed(found, headers, rows, nothing="没有信息系统。", folds=("功能",))


@group.command("show")
@client_verb
def show(call: Call, which: Which) -> None:
    """一个信息系统的登记内容。"""
    one = _one(call, which)

    def say() -> None:
        named = ((heading, _shown(one.get(name))) for name, heading in words.HEADINGS.items() if name != "unit")
        ended = (
            (("终止方式", words.ENDINGS[one["ended_kind"]]), ("终止时间", moment(one["retired_at"])),
             ("终止原因", one["ended_reason"]), ("并入", one["merged_into"]), ("接收单位", one["handed_to"]))
            if one["ended_kind"] else ()
        )  # fmt: skip
        use = (("占用资源", f"{one['resources']} 项"), ("由以下系统合并而来", "、".join(one["merged"])))
        call.terminal.say(fields((("所属单位", one["unit_name"]), *named, *use, *ended)))
        versions = (
            (str(r["version"]), moment(r["at"]), words.SOURCES.get(r["source"], r["source"])) for r in one["revisions"]
        )
        call.terminal.section("历次登记", table(("版本", "时间", "来源"), versions))

    call.answer(one, say)


def _one(call: Call, which: str) -> dict[str, Any]:
    found: dict[str, Any] = call.api.get(f"/systems/{which.replace('/', '')}")
    return found


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


@group.command("import")
@client_verb
def bring(
    call: Call,
    file: Annotated[Path, typer.Argument(metavar="文件", help=".xlsx 或 CSV")],
    *,
    write: Annotated[bool, typer.Option("--apply", help="全部无误时写入台账；不给出时只预检")] = False,
) -> None:
    """预检文件，逐行给出结论；--apply 时写入。有一行有误，整份文件不写入（退出码 1）。"""
    found = call.api.upload("/systems/imports", file)
    wrong = found["counts"]["wrong"]
    if write and not wrong:
        found = call.api.post(f"/systems/imports/{found['id']}/apply", {"digest": found["digest"]})
    call.answer(found, lambda: _verdicts(call, found))
    if wrong:
        raise Refusal("import.wrong_lines", f"有 {wrong} 行有误，没有写入台账。", body=_body(found, wrong))


def _body(found: Mapping[str, Any], wrong: int) -> dict[str, Any]:
    errors = [
        {**error, "field": f"{line['line']}.{error['field']}"} for line in found["lines"] for error in line["errors"]
    ]
    return {"code": "import.wrong_lines", "detail": f"有 {wrong} 行有误，没有写入台账。", "errors": errors}


def _verdicts(call: Call, found: Mapping[str, Any]) -> None:
    rows = (
        (
            str(line["line"]),
            Text(words.VERDICTS[line["kind"]], "red" if line["kind"] == "wrong" else ""),
            line["code"],
            shortened(line["name"]),
            "；".join(_reasons(line)),
        )
        for line in found["lines"]
        if line["kind"] != "same"
    )
    shown: list[RenderableType] = [table(("行", "结论", "编号", "名称", "说明"), rows, right=("行",), folds=("说明",))]
    counts = "，".join(f"{words.VERDICTS[kind]} {n}" for kind, n in found["counts"].items() if n)
    done = "已写入台账" if found["applied_at"] else "尚未写入台账"
    if found["applied_at"] and found["counts"].get("proposal"):
        done += "；报批新增的待大数据发展局批准后列入台账"
    call.terminal.say(*shown, f"共 {len(found['lines'])} 行：{counts}。{done}。")


def _reasons(line: Mapping[str, Any]) -> Iterable[str]:
    for error in line["errors"]:
        heading = words.HEADINGS.get(error["field"], "")
        rule = f"（{texts.article(error['article'])}）" if error["article"] else ""
        yield f"{heading}：{error['message'].rstrip('。')}{rule}" if heading else error["message"].rstrip("。")
    if line["changes"]:
        yield "修改" + "、".join(words.HEADINGS.get(name, name) for name in line["changes"])
    if line["merges"]:
        yield "随之终止：" + "、".join(line["merges"])


@group.command("export")
@client_verb
def export(call: Call, out: Annotated[Path, typer.Argument(metavar="文件", help=".xlsx 或 .csv")]) -> None:
    """导出可见的全部信息系统；可修改后再导入。"""
    call.api.download("/systems/export", out, form=out.suffix.removeprefix(".").lower() or "xlsx")
    call.done({"file": str(out)}, f"已存为 {out}。")


@group.command("template")
@client_verb
def template(call: Call, out: Annotated[Path, typer.Argument(metavar="文件", help=".xlsx 或 .csv")]) -> None:
    """导入模板。"""
    call.api.download("/systems/template", out, form=out.suffix.removeprefix(".").lower() or "xlsx")
    call.done({"file": str(out)}, f"已存为 {out}。")


@group.command("end")
@client_verb
def end(
    call: Call,
    which: Which,
    *,
    reason: Annotated[str, typer.Option(help="原因")],
    into: Annotated[str, typer.Option(help="合并到哪个系统", metavar="系统")] = "",
    handed_to: Annotated[str, typer.Option(help="移交给哪个单位")] = "",
) -> None:
    """终止：给出 --into 为合并，给出 --handed-to 为移交，都不给出为关停。"""
    one = _one(call, which)
    kind = "merged" if into else "handed_over" if handed_to else "shut_down"
    body = {"kind": kind, "reason": reason, "into": into, "handed_to": handed_to}
    ended = call.api.post(f"/systems/{one['id']}/end", body, version=one["version"])
    call.done(ended, f"{one['name']}（{one['code']}）已{words.ENDINGS[kind]}。")


@group.command("move")
@client_verb
def move(
    call: Call,
    which: Which,
    to: Annotated[str, typer.Argument(metavar="单位", help="改由哪个单位主管（单位代码）")],
    *,
    reason: Annotated[str, typer.Option(help="原因")],
) -> None:
    """划转到另一单位（机构改革等），由大数据发展局办理；其资源、配额和此后的费用归接收单位。"""
    one = _one(call, which)
    moved = call.api.post(f"/systems/{one['id']}/move", {"unit": to, "reason": reason}, version=one["version"])
    call.done(moved, f"{one['name']}（{one['code']}）已由{one['unit_name']}划转到{moved['unit_name']}。")


@group.command("moves")
@client_verb
def moves(call: Call, *, unit: Annotated[str, typer.Option(help="单位代码", metavar="单位")] = "") -> None:
    """转入、转出各单位（或某一单位）的信息系统，新的在前。"""
    found = call.api.get("/systems/moves", unit=unit)
    rows = ((moment(m["at"]), m["code"], m["name"], words.MOVES[m["source"]], m["old"], m["new"]) for m in found)
    call.listed(
        found, ("时间", "编号", "名称", "方式", "原单位", "新单位"), rows, nothing="没有划转或合并过的信息系统。"
    )


@group.command("total")
@client_verb
def total(
    call: Call,
    *,
    unit: Unit = "",
    months: Annotated[int, typer.Option(help="多少个月", min=1, max=120)] = 12,
) -> None:
    """总量走势：各月末的总量，最后一项为今天（第二十九条“只减不增”）。"""
    found = call.api.get("/systems/totals", unit=unit, months=months)
    rows = (
        (
            t["day"],
            str(t["total"]),
            "" if n == 0 else str(t["added"]),
            "" if n == 0 else str(t["ended"]),
            Text("增加", "red") if n and t["total"] > found[n - 1]["total"] else "",
        )
        for n, t in enumerate(found)
    )
    call.listed(found, ("截至", "总量", "新增", "终止", "较上月"), rows, nothing="", right=("总量", "新增", "终止"))


@group.command("proposals")
@client_verb
def proposals(call: Call, *, every: Annotated[bool, typer.Option("--all", help="包括已决定的")] = False) -> None:
    """等待大数据发展局批准的新增系统。"""
    found = call.api.get("/systems/proposals", waiting="false" if every else "true")
    rows = (
        (
            p["id"][-8:],
            p["code"],
            p["entry"]["name"],
            p["unit_name"],
            moment(p["proposed_at"]),
            words.PROPOSALS[p["decision"] or ""],
            p["reason"],
        )
        for p in found
    )
    headers = ("申请", "编号", "名称", "单位", "报批时间", "状态", "理由")
    call.listed(found, headers, rows, nothing="没有待批准的新增申请。", folds=("理由",))


@group.command("decide")
@client_verb
def decide(
    call: Call,
    which: Annotated[str, typer.Argument(metavar="申请", help="新增申请的标识或其末 8 位")],
    *,
    answer: Annotated[str, typer.Option(help="意见")],
    refuse: Annotated[bool, typer.Option("--refuse", help="不同意新增；不给出为同意")] = False,
) -> None:
    """大数据发展局决定是否同意新增。"""
    found = [p for p in call.api.get("/systems/proposals") if p["id"].endswith(which)]
    if len(found) != 1:
        raise Refusal("system.proposal_unknown", texts.sentence("system.proposal_unknown"))
    body = {"approved": not refuse, "answer": answer}
    made = call.api.post(f"/systems/proposals/{found[0]['id']}/decision", body)
    call.done(made, f"{made['entry']['name']}（{made['code']}）：{words.PROPOSALS[made['decision']]}。")

"""``guiyun zombies``: systems that show the five signs (Art. 2(5), 28), one system's evidence, the Bureau's decision.

Called by: the command line. Must not: score, or decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from api.cli.display import fields, moment, table
from api.cli.verb import Call, client_verb
from api.texts import reclaim as cases
from api.texts import zombies as words

app = typer.Typer()
group = typer.Typer(help="僵尸系统：检测、五项特征、认定")
app.add_typer(group, name="zombies", invoke_without_command=True)

Which = Annotated[str, typer.Argument(metavar="系统", help="系统编号")]
Why = Annotated[str, typer.Option(help="理由")]


@group.callback(invoke_without_command=True)
@client_verb
def listing(
    call: Call,
    context: typer.Context,
    *,
    decided: Annotated[bool, typer.Option("--all", help="包括已有决定的")] = False,
) -> None:
    """最近一次检测的结果，得分高的在前；得分只用于排序，由人认定。不带子命令时列出。"""
    if context.invoked_subcommand is not None:
        return
    found = call.api.get("/zombies", decided="true" if decided else None)
    call.answer(found, lambda: _say(call, found))


def _say(call: Call, found: Mapping[str, Any]) -> None:
    if found["scan"] is None:
        call.terminal.say("还没有检测过；请由信息中心执行 guiyun zombies scan。")
        return
    rows = (
        (
            z["code"],
            z["name"],
            z["unit_name"],
            z["score"],
            words.level(z["level"], z["known"]),
            f"{z['known']}/5",
            *("不掌握" if z["signs"][sign] is None else z["signs"][sign] for sign in words.SIGNS),
            words.DECISIONS[z["decision"]] if z["decision"] else "待认定",
        )
        for z in found["data"]
    )
    headers = ("编号", "名称", "单位", "得分", "结论", "掌握", *words.SIGNS.values(), "认定")
    right = ("得分", *words.SIGNS.values())
    scan = found["scan"]
    until = f"监测数据到 {scan['measured_until']}" if scan["measured_until"] else "没有监测数据"
    call.terminal.say(
        table(headers, rows, right=right),
        f"{moment(scan['at'])} 检测 {scan['systems']} 个，规则版本 {scan['rules_version']}（自定规则），{until}。",
    )


@group.command("scan")
@client_verb
def scan(call: Call) -> None:
    """检测全部信息系统，记录当时的事实与依据。"""
    made = call.api.post("/zombies/scans")
    call.done(made, f"检测了 {made['systems']} 个信息系统。")


@group.command("show")
@client_verb
def show(call: Call, which: Which) -> None:
    """一个信息系统的五项特征：依据、来源、可信度；不掌握的写明不掌握。"""
    one = _one(call, which)

    def say() -> None:
        head = (
            ("系统", f"{one['name']}（{one['code']}）"),
            ("单位", one["unit_name"]),
            ("得分", f"{one['score']} / 100，{words.level(one['level'], one['known'])}，五项中掌握 {one['known']} 项"),
            ("检测", f"{moment(one['scan']['at'])}，规则版本 {one['scan']['rules_version']}（自定规则）"),
            ("注意", "".join(one["cautions"])),
        )
        rows = []
        for sign in one["five"]:
            scored = f"{sign['score']} / {sign['weight']}" if sign["known"] else f"不掌握 / {sign['weight']}"
            rows += [
                (sign["name"] if n == 0 else " ", scored if n == 0 else " ", e["text"], words.SOURCES[e["source"]],
                 f"{e['points']} 分，可信度 {e['confidence']}%")
                for n, e in enumerate(sign["evidence"])
            ] or [(sign["name"], scored, words.UNKNOWN[sign["sign"]], "", "")]  # fmt: skip
        call.terminal.say(fields(head))
        call.terminal.section("五项特征", table(("特征", "得分", "依据", "来源", "计分"), rows, folds=("依据",)))
        if one["decisions"]:
            decided = (
                (moment(d["decided_at"]), words.DECISIONS[d["decision"]], d["reason"], d["look_again_on"],
                 "、".join(f"{c['number']}（{cases.STATES[c['state']]}）" for c in d["reclaim"]))
                for d in one["decisions"]
            )  # fmt: skip
            call.terminal.section(
                "历次认定", table(("时间", "认定", "理由", "再看", "回收事项"), decided, folds=("理由",))
            )

    call.answer(one, say)


def _one(call: Call, which: str) -> dict[str, Any]:
    found: dict[str, Any] = call.api.get(f"/zombies/{which.replace('/', '')}")
    return found


@group.command("confirm")
@client_verb
def confirm(call: Call, which: Which, *, reason: Why) -> None:
    """大数据发展局认定为僵尸系统；其资源立案回收。"""
    _decide(call, which, {"decision": "confirmed", "reason": reason})


@group.command("keep")
@client_verb
def keep(
    call: Call, which: Which, *, reason: Why, until: Annotated[str, typer.Option(help="何时再看，如 2027-03-01")]
) -> None:
    """大数据发展局认定不是僵尸系统，写明何时再看。"""
    _decide(call, which, {"decision": "not_zombie", "reason": reason, "look_again_on": until})


def _decide(call: Call, which: str, body: dict[str, Any]) -> None:
    one = _one(call, which)
    made = call.api.post(f"/zombies/{one['system_id']}/decisions", {**body, "finding_id": one["finding_id"]})
    cases = f"，回收事项 {'、'.join(made['cases'])}" if made["cases"] else ""
    call.done(made, f"{one['name']}（{one['code']}）：{words.DECISIONS[made['decision']]}{cases}。")

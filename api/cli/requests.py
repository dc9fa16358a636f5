"""``guiyun apply | list | withdraw``: requests as the units' people handle them at a terminal.

Called by: the command line. Must not: check a form (the broker does, and says everything that is wrong at once).
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from api import texts
from api.cli.display import moment, price, shortened, state, table, yuan
from api.cli.refusal import Mistake, Refusal
from api.cli.verb import Call, client_verb
from api.texts import names
from broker.yaml_file import YamlError, read_yaml

app = typer.Typer()

FormFile = Annotated[
    Path, typer.Option("--file", "-f", exists=True, dir_okay=False, readable=True, help="申请表（YAML 或 JSON）")
]
Number = Annotated[str, typer.Argument(metavar="编号", help="申请编号（GX-2026-000123）或标识")]
Reason = Annotated[str, typer.Option("--reason", help="理由")]


@app.command("apply")
@client_verb
def apply(
    call: Call,
    *,
    file: FormFile,
    check: Annotated[bool, typer.Option("--check", help="只检查并报价，不保存")] = False,
    draft: Annotated[bool, typer.Option("--draft", help="只存草稿，不提交")] = False,
    number: Annotated[str, typer.Option("--replace", help="修改草稿或补正已退回的申请", metavar="编号")] = "",
) -> None:
    """提交资源申请；全部错误一次给出。"""
    form = read_form(file)
    if check:
        _check(call, form)
        return
    submit = "false" if draft else "true"
    if number:
        seen = call.api.request(number)
        made = call.api.put(f"/requests/{seen['id']}", form, version=seen["version"], query={"submit": submit})
    else:
        made = call.api.post("/requests", form, query={"submit": submit})
    due = f"，应于 {moment(made['due_at'])} 前审批" if made["due_at"] else ""
    call.done(made, f"{made['number']} {names.REQUEST_STATES[made['state']]}{due}")


def read_form(file: Path) -> dict[str, Any]:
    """The form in a file; days as ISO text, as JSON has them. Raises Refusal for what is no form."""
    try:
        raw = read_yaml(file)
    except YamlError as error:
        place = f"（第 {error.line} 行第 {error.column} 列）" if error.line else ""
        said = texts.sentence(error.code, {"detail": error.detail})
        raise Refusal(error.code, f"{file.name} 不能读取{place}：{said}") from error
    if not isinstance(raw, dict):
        raise Refusal("form.invalid", f"{file.name} 不是一份申请表：最外层应为“字段: 内容”。")
    found: dict[str, Any] = _plain(raw)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, date) else value


def _check(call: Call, form: dict[str, Any]) -> None:
    found = call.api.post("/requests/check", form)
    if found["problems"]:
        mistakes = [Mistake(p["code"], p["field"], p["message"], p["article"]) for p in found["problems"]]
        sentence = texts.sentence("form.invalid", {"count": len(mistakes)})
        raise Refusal("form.invalid", sentence, mistakes, found)
    call.answer(found, lambda: call.terminal.say("填写无误，可以提交。", *quote_lines(found["quote"])))


def quote_lines(quote: dict[str, Any] | None) -> list[Any]:
    """A quote as a table with its sum."""
    if quote is None:
        return []
    rows = [
        (
            names.METERS.get(line["meter"], line["meter"]),
            f"{line['quantity']:,}",
            price(line["price_cny"]),
            yuan(line["monthly_fen"]),
        )
        for line in quote["lines"]
    ]
    versions = "、".join(sorted({line["version"] for line in quote["lines"]}))
    lines = table(("计量项", "数量", "单价", "每月"), rows, right=("数量", "单价", "每月"))
    missing = "；尚无价格：" + "、".join(quote["missing"]) if quote["missing"] else ""
    return [lines, f"合计每月 {yuan(quote['total_fen'])}（价目 {versions}）{missing}"]


@app.command("list")
@client_verb
def listing(
    call: Call,
    *,
    search: Annotated[str, typer.Argument(metavar="关键字", help="编号或用途中的文字")] = "",
    states: Annotated[list[str] | None, typer.Option("--state", help="状态，可多次给出", metavar="状态")] = None,
    duty: Annotated[str, typer.Option(help="只看本人以此职责办理的：approver、assessor、operator")] = "",
    limit: Annotated[int, typer.Option(help="至多列出多少条", min=1, max=10_000)] = 20,
) -> None:
    """申请列表，新的在前。"""
    wanted = [state_code(word) for word in states or []]
    found = call.api.every("/requests", most=limit, q=search, duty=duty, state=wanted)
    rows = (
        (
            r["number"],
            state(r["state"], names.REQUEST_STATES),
            moment(r["due_at"]) if r["closed_at"] is None else "",
            r["unit_name"],
            r["target_cloud_name"],
            shortened(r["purpose"]),
        )
        for r in found
    )
    headers = ("编号", "状态", "应于此前办结", "单位", "云平台", "用途")
    call.listed(found, headers, rows, nothing="没有申请。", folds=("用途",))


def state_code(word: str) -> str:
    """A state by its code or its Chinese name. Raises BadParameter."""
    by_name = {name: code for code, name in names.REQUEST_STATES.items()}
    code = by_name.get(word, word)
    if code not in names.REQUEST_STATES:
        raise typer.BadParameter(f"没有状态“{word}”；可用：{'、'.join(by_name)}")
    return code


@app.command("withdraw")
@client_verb
def withdraw(call: Call, number: Number, *, reason: Reason = "") -> None:
    """撤回申请（下达交付之前）。"""
    seen = call.api.request(number)
    made = call.api.post(f"/requests/{seen['id']}/withdrawal", {"reason": reason})
    call.done(made, f"{made['number']} 已撤回")

"""``guiyun usage``: what no resource's size tells comes by file: public addresses, GPUs, object storage, items, terms.

Called by: the command line. Must not: read a file's lines itself; the broker does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from api.cli.display import table
from api.cli.refusal import Refusal
from api.cli.verb import Call, client_verb
from api.texts import names
from api.texts import usage as words

app = typer.Typer()
group = typer.Typer(help="资源规格以外的用量：导入、导出", no_args_is_help=True)
app.add_typer(group, name="usage")


class Kind(StrEnum):
    """What a file brings."""

    RECORDS = "records"
    ITEMS = "items"
    TERMS = "terms"


What = Annotated[Kind, typer.Argument(metavar="records|items|terms", help="用量记录、一次性计费项、承诺期限")]


@group.command("import")
@client_verb
def bring(
    call: Call,
    kind: What,
    file: Annotated[Path, typer.Argument(metavar="文件", help="CSV、.xlsx 或 Parquet")],
    *,
    write: Annotated[bool, typer.Option("--apply", help="全部无误时写入；不给出时只预检")] = False,
) -> None:
    """预检文件，逐行给出结论；--apply 时写入。有一行有误，整份文件不写入（退出码 1）。

    records 的列：resource, meter, quantity, start_at, end_at, state；
    items：resource, meter, quantity, at, note；terms：resource, term_months, start_at, end_at。

    云平台不上报 public_ip（公网地址）、gpu（图形处理器）、object_gib（对象存储）等计量项：没有导入的不计费。
    """
    found = call.api.upload(f"/usage/{kind.value}/imports", file)
    wrong = found["counts"]["wrong"]
    if write and not wrong:
        found = call.api.post(f"/usage/imports/{found['id']}/apply", {"digest": found["digest"]})
    call.answer(found, lambda: _verdicts(call, found))
    if wrong:
        raise Refusal("import.wrong_lines", f"有 {wrong} 行有误，没有写入。", body=_body(found, wrong))


@group.command("export")
@client_verb
def export(
    call: Call,
    kind: What,
    out: Annotated[Path, typer.Argument(metavar="文件", help="CSV")],
    *,
    resource: Annotated[str, typer.Option(help="资源编号；缺省为全部", metavar="编号")] = "",
) -> None:
    """已记录的用量，各列与导入文件相同；可修改后再导入。"""
    call.api.download(f"/usage/{kind.value}/file", out, resource=resource)
    call.done({"file": str(out)}, f"已存为 {out}。")


def _body(found: Mapping[str, Any], wrong: int) -> dict[str, Any]:
    errors = [
        {**error, "field": f"{line['line']}.{error['field']}"} for line in found["lines"] for error in line["errors"]
    ]
    return {"code": "import.wrong_lines", "detail": f"有 {wrong} 行有误，没有写入。", "errors": errors}


def _verdicts(call: Call, found: Mapping[str, Any]) -> None:
    rows = (
        (
            str(line["line"]),
            Text(words.VERDICTS[line["kind"]], "red" if line["kind"] == "wrong" else ""),
            line["cells"].get("resource", ""),
            names.METERS.get(line["cells"].get("meter", ""), line["cells"].get("meter", "")),
            "；".join(_reasons(line)),
        )
        for line in found["lines"]
        if line["kind"] != "same"
    )
    counts = "，".join(f"{words.VERDICTS[kind]} {n}" for kind, n in found["counts"].items() if n)
    done = "已写入" if found["applied_at"] else "尚未写入"
    call.terminal.say(
        table(("行", "结论", "资源", "计量项", "说明"), rows, right=("行",), folds=("说明",)),
        f"共 {len(found['lines'])} 行：{counts}。{done}。",
    )


def _reasons(line: Mapping[str, Any]) -> Iterable[str]:
    for error in line["errors"]:
        heading = words.HEADINGS.get(error["field"], "")
        yield f"{heading}：{error['message'].rstrip('。')}" if heading else error["message"].rstrip("。")
    if line["was"]:
        yield f"原为 {line['was']['quantity']}，至 {line['was']['end'] or '今'}"

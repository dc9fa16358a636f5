"""``guiyun utilisation import``: takes samples of what resources use into the store.

Called by: the command line. Must not: decide which rows are good; it tells what was left out, and why.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.client import Refusal
from api.cli.verb import DatabaseCall, database_verb
from api.texts import sentence
from api.texts.utilisation import REASONS
from broker.utilisation import service
from broker.utilisation.store import Imported
from broker.utilisation.values import Intake

app = typer.Typer()
group = typer.Typer(name="utilisation", help="资源实际用量：导入监测数据。", no_args_is_help=True)
app.add_typer(group)


@group.command("import")
@database_verb
def import_samples(
    call: DatabaseCall,
    *,
    file: Annotated[Path, typer.Argument(exists=True, help="监测数据：CSV、CSV.gz、Parquet，或这样的文件夹")],
) -> None:
    """导入每小时的监测数据；重复导入不会改变结果。略去的行逐类说明原因。"""
    done = service.import_file(call.settings, file, datetime.now(UTC))
    if done.intake.rows and not done.resources:
        raise Refusal("metrics.nothing_read", "\n".join([sentence("metrics.nothing_read"), *intake_lines(done.intake)]))
    call.answer(_answer(done), lambda: call.terminal.say(*_lines(done)))


def intake_answer(intake: Intake) -> dict[str, Any]:
    """What was read and left out, for programs."""
    return {"rows": intake.rows, "dropped": intake.dropped, "left": [asdict(left) for left in intake.left]}


def intake_lines(intake: Intake) -> list[str]:
    """One line a reason: code, count, sentence, and where the first of them stand."""
    return [
        f"  {left.reason}：{left.count} 行，{REASONS[left.reason]}（如 {'、'.join(left.first)}）"
        for left in intake.left
    ]


def _answer(done: Imported) -> dict[str, Any]:
    counts = asdict(done)
    del counts["intake"]
    return {**intake_answer(done.intake), **counts}


def _lines(done: Imported) -> list[str]:
    counts = f"新增 {done.added}，更新 {done.updated}，未变 {done.unchanged}，写入 {done.days_written} 天。"
    lines = [f"读取 {done.intake.rows} 行，{done.resources} 个资源：{counts}"]
    if done.intake.left:
        lines += [f"略去 {done.intake.dropped} 行：", *intake_lines(done.intake)]
    notes = {
        "归入整点": done.jittered,
        "与同一小时的其他行合并": done.merged,
        "已有更完整的数据，未采用": done.fuller,
        "小时没有数据": done.missing_hours,
        "天超过保存期限，已压缩为每日一行": done.days_thinned,
    }
    lines += [f"另有 {count} {'' if words[0] in '小天' else '行'}{words}。" for words, count in notes.items() if count]
    return lines

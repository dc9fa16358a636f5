"""``guiyun utilisation import|collect|status``: samples of what resources use, by hand and from the clouds.

Called by: the command line. Must not: decide which rows are good; it tells what was left out, and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.intake import intake_answer, intake_lines
from api.cli.refusal import Refusal
from api.cli.verb import DatabaseCall, database_verb
from api.formats import when
from api.texts import sentence, trouble
from api.texts.utilisation import REASONS, SOURCES
from broker.utilisation import collectors, service
from broker.utilisation.collectors import Bench
from broker.utilisation.models import Collector
from broker.utilisation.store import Imported

app = typer.Typer()
group = typer.Typer(name="utilisation", help="资源实际用量：导入监测数据。", no_args_is_help=True)
app.add_typer(group)


@group.command("import")
@database_verb
def import_samples(
    call: DatabaseCall,
    *,
    file: Annotated[Path, typer.Argument(exists=True, help="监测数据：CSV、CSV.gz、Parquet，或这样的文件夹")],
    correct: Annotated[bool, typer.Option("--correct", help="更正：以本文件的数值为准，不论已有数据样本多少")] = False,
) -> None:
    """导入每小时的监测数据；重复导入不会改变结果。略去的行逐类说明原因。"""
    facts = None
    if call.settings.database_url is not None:
        with call.core.works.begin() as work:
            facts = service.facts_of(work)
    done, strangers = service.import_by_hand(call.settings, file, facts or {}, datetime.now(UTC), correct=correct)
    if done.intake.rows and not done.resources:
        raise Refusal("metrics.nothing_read", "\n".join([sentence("metrics.nothing_read"), *intake_lines(done.intake)]))
    told = [] if facts is None else strangers
    call.answer(_answer(done, told), lambda: call.terminal.say(*_lines(done, told)))


@group.command("collect")
@database_verb
def collect(
    call: DatabaseCall,
    *,
    cloud: Annotated[str, typer.Argument(metavar="云平台", help="云平台代码；不写则全部")] = "",
) -> None:
    """立即采集一次（平时由后台按时采集）；重复采集不会改变结果。"""
    bench = Bench(call.core.works, call.settings, call.core.providers)
    with call.core.works.begin() as work:
        collectors.make(work)
        known = [row[1].code for row in collectors.standing(work.session)]
    if cloud and cloud not in known:
        raise Refusal("sub_cloud.unknown", sentence("sub_cloud.unknown"))
    failed = 0
    for code in [cloud] if cloud else known:
        failed += not collectors.catch_up(bench, code)
    _show_standing(call)
    if failed:
        raise Refusal("utilisation.not_collected", sentence("utilisation.not_collected", {"count": failed}))


@group.command("status")
@database_verb
def status(call: DatabaseCall) -> None:
    """各云平台采集到何时、上次略去了什么、为何没有采到。"""
    _show_standing(call)


def _show_standing(call: DatabaseCall) -> None:
    with call.core.sessions() as session:
        found = [(row, cloud) for row, cloud in collectors.standing(session)]
    answers = [
        {
            "sub_cloud": cloud.code,
            "source": row.source,
            "read_until": row.read_until and row.read_until.isoformat(),
            "due_at": row.due_at.isoformat(),
            "error": row.error_code,
            "outcome": row.outcome,
        }
        for row, cloud in found
    ]
    rows = (
        (cloud.code, SOURCES.get(row.source, row.source) or "—", when(row.read_until), _last(row), when(row.due_at))
        for row, cloud in found
    )
    headers = ("云平台", "来源", "已采至", "上次采集", "下次采集")
    call.terminal.json(answers) if call.as_json else call.listed(
        found, headers, rows, nothing="还没有采集任务，后台启动后自动建立。", folds=("上次采集",)
    )


def _last(row: Collector) -> str:
    """What the last act did, in a line."""
    if row.error_code:
        return f"未采到：{trouble(row.error_code)}"
    if row.outcome is None:
        return "尚未采集" if row.ended_at is None else "该平台不提供监测数据"
    done = row.outcome
    told = f"{done['resources']} 台，新增 {done['added']}、更新 {done['updated']}、未变 {done['unchanged']} 行"
    left = "；".join(f"{REASONS[each['reason']]} {each['count']} 行" for each in done["left"])
    return f"{told}；略去：{left}" if left else told


def _answer(done: Imported, strangers: Sequence[str]) -> dict[str, Any]:
    counts = asdict(done)
    del counts["intake"]
    return {**intake_answer(done.intake), **counts, "unknown": len(strangers), "unknown_first": list(strangers[:3])}


def _lines(done: Imported, strangers: Sequence[str]) -> list[str]:
    counts = f"新增 {done.added}，更新 {done.updated}，未变 {done.unchanged}，写入 {done.days_written} 天。"
    lines = [f"读取 {done.intake.rows} 行，{done.resources} 个资源：{counts}"]
    if done.intake.left:
        lines += [f"略去 {done.intake.dropped} 行：", *intake_lines(done.intake)]
    notes = {
        "归入整点": done.jittered,
        "与同一小时的其他行合并": done.merged,
        "已有更完整的数据，未采用": done.fuller,
        "该文件此前已导入，其后更正的数据保持不变": done.older,
        "已有样本数相同而数值更高的数据，未采用（确需更正请加 --correct）": done.lower,
        "小时没有数据": done.missing_hours,
        "天超过保存期限，已压缩为每日一行": done.days_thinned,
    }
    lines += [f"另有 {count} {'' if words[0] in '小天' else '行'}{words}。" for words, count in notes.items() if count]
    if strangers:
        first = "、".join(strangers[:3])
        told = f"其中 {len(strangers)} 个不是台账中在用的资源（如 {first}），数据已保存，但不参与检测"
        lines.append(f"注意：{told}。")
    return lines

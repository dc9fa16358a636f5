"""``guiyun idle list|sizes|detect``: what the daily detection has found; ``idle_scan`` has the verb ``scan``.

Called by: the command line. Must not: decide what is idle (``broker.utilisation`` does), or act on what it finds.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from api.cli.idle_scan import app, group
from api.cli.refusal import Refusal
from api.cli.verb import Call, DatabaseCall, client_verb, database_verb
from api.formats import yuan
from api.texts import sentence
from api.texts.utilisation import CLEARED, FINDINGS, needs_words, risk_words, size_words
from broker.inventory import repository as inventory
from broker.utilisation import detection, sizing
from broker.utilisation.collectors import Bench
from broker.utilisation.findings import FindingKind
from broker.utilisation.models import IdleScan
from broker.utilisation.sizing import Proposal

__all__ = ["app"]


@group.command("list")
@client_verb
def listed(
    call: Call,
    *,
    kind: Annotated[list[FindingKind] | None, typer.Option("--kind", help="种类，可多次写", show_choices=True)] = None,
    cloud: Annotated[str, typer.Option("--cloud", help="云平台代码")] = "",
    ended: Annotated[bool, typer.Option("--ended", help="列出已经结束的，及其原因")] = False,
    limit: Annotated[int, typer.Option(help="至多列出多少条", min=1, max=100_000)] = 50,
) -> None:
    """每日闲置检测的结果：每月费用高的在前。"""
    wanted = [each.value for each in kind or ()]
    found = call.api.every(
        "/findings", most=limit, kind=wanted or None, sub_cloud=cloud or None, ended="true" if ended else None
    )
    rows = (
        (
            f["number"],
            FINDINGS[f["kind"]],
            f["unit_name"] or "—",
            f["sub_cloud_name"],
            f["first_day"],
            str(f["days"]),
            yuan(f["monthly_fen"]),
            f["reason"]
            + (f"（回收事项 {f['case_number']}）" if f["case_number"] else "")
            + (f"（已结束：{CLEARED[f['cleared_because']]}）" if f["cleared_because"] else ""),
        )
        for f in found
    )
    headers = ("资源", "种类", "单位", "云平台", "自", "天数", "每月（元）", "依据")
    nothing = "没有已结束的检测结果。" if ended else "没有闲置的资源。"
    call.listed(found, headers, rows, nothing=nothing, right=("天数", "每月（元）"), folds=("依据",))


@group.command("sizes")
@database_verb
def sizes(
    call: DatabaseCall, *, system: Annotated[str, typer.Option("--system", help="只看一个信息系统（编号）")] = ""
) -> None:
    """规格建议：哪些在用的主机可以更小、每月节省多少、有什么风险（自定规则）。"""
    with call.core.works.begin() as work:
        system_id = inventory.system_id_of(work.session, system) if system else None
        servers, now = sizing.servers_of(work, system_id=system_id), work.now
        work.session.expunge_all()
    found = sizing.proposals(call.settings, servers, now)
    if call.as_json:
        call.terminal.json([_size(each) for each in found])
        return
    rows = (
        (each.number, each.name, size_words(each), yuan(each.saved_fen), risk_words(each), needs_words(each))
        for each in found
    )
    headers = ("资源", "名称", "建议", "每月节省（元）", "风险", "依据")
    nothing = f"{len(servers)} 台在用主机：没有更小的规格可以建议（近 30 天监测不足两周的不作建议）。"
    call.listed(found, headers, rows, nothing=nothing, right=("每月节省（元）",), folds=("风险", "依据"))
    saved = sum(each.saved_fen or 0 for each in found)
    if found:
        call.terminal.say(f"{len(servers)} 台在用主机中 {len(found)} 台可以更小，合计每月节省 {yuan(saved)} 元。")


def _size(made: Proposal) -> dict[str, Any]:
    return asdict(made) | {"resource_id": str(made.resource_id), "risk": risk_words(made)}


@group.command("detect")
@database_verb
def detect(call: DatabaseCall) -> None:
    """立即做当天的检测（平时每天凌晨 4 时由后台进行）；重复检测不会改变结果。"""
    with call.core.works.begin() as work:
        errand = detection.today(work)
    done = detection.detect(Bench(call.core.works, call.settings, call.core.providers), errand)
    with call.core.sessions() as session:
        row = session.get_one(IdleScan, errand.id)
    if not done:
        code = row.error_code or ""
        raise Refusal(code, sentence(code))
    assert row.outcome is not None
    outcome = row.outcome
    told = f"新发现 {outcome['found']}，仍在继续 {outcome['going_on']}，已结束 {outcome['cleared']}；"
    told += f"未满天数、继续观察 {outcome['watched']}。"
    if outcome["left"]:
        told += f"{outcome['left']} 项未能记录，原因见日志。"
    if outcome["silent"]:
        told += f"没有答复的云平台：{'、'.join(outcome['silent'])}，其上原有结果保持不变。"
    call.done({"day": str(row.day), "policy_version": row.policy_version, **outcome}, told)

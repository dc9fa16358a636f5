"""``guiyun idle scan|list|detect``: what is idle, by policies that are data.

Called by: the command line. Must not: decide what is idle (``broker.utilisation`` does), or act on what it finds.
``scan`` computes the maximal runs of days; with ``--metrics`` it needs neither a database nor a home. ``list`` shows
what the daily detection has found, ``detect`` carries today's at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.client import Refusal
from api.cli.utilisation import intake_answer, intake_lines
from api.cli.verb import Call, DatabaseCall, client_verb, database_verb
from api.formats import yuan
from api.texts import sentence
from api.texts.utilisation import CLEARED, FINDINGS, evidence, needs_words, risk_words, size_words
from broker.inventory import repository as inventory
from broker.utilisation import detection, service, sizing
from broker.utilisation.collectors import Bench
from broker.utilisation.findings import FindingKind
from broker.utilisation.local_days import zone_of
from broker.utilisation.models import IdleScan
from broker.utilisation.samples import Report
from broker.utilisation.service import Found
from broker.utilisation.sizing import Proposal
from broker.utilisation.values import OURS, Daily, Figures, PolicySet

app = typer.Typer()
group = typer.Typer(name="idle", help="闲置检测。", no_args_is_help=True)
app.add_typer(group)

SHOWN = 200
"""How many runs a person is shown; programs get all."""


@group.command("scan")
@database_verb
def scan(
    call: DatabaseCall,
    *,
    policy: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="检测规则（YAML），默认随软件提供的自定规则")
    ] = None,
    metrics: Annotated[
        Path | None, typer.Option(exists=True, help="监测数据文件或文件夹；不写则用已导入的数据与资源台账")
    ] = None,
    timezone: Annotated[str, typer.Option(help="按哪个时区划分日期")] = "Asia/Shanghai",
    exempted: Annotated[bool, typer.Option("--exempted", help="同时列出被豁免的")] = False,
) -> None:
    """逐个资源找出符合检测规则的连续日期；每段只列一次。"""
    policies = service.policies_of(call.settings, policy)
    zone, now, report = zone_of(timezone), datetime.now(UTC), Report()
    if metrics is not None:
        found = service.scan_files(call.settings, metrics, policies, (zone, now), report)
    else:
        with call.core.works.begin() as work:
            facts = service.facts_of(work)
        found = service.scan_store(call.settings, facts, policies, (zone, now), report)
    listed = 0
    covered: list[Found] = []

    def wanted() -> Iterator[Found]:
        nonlocal listed
        for each in found:
            if each.exemption is not None:
                covered.append(each)
            if exempted or each.exemption is None:
                listed += 1
                yield each

    if call.as_json:
        for each in wanted():
            sys.stdout.write(json.dumps(_answer(each), ensure_ascii=False) + "\n")
    else:
        _show(call, list(wanted()), policies)
    _tell_intake(call, report, len(covered), exempted=exempted)


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
            f["reason"] + (f"（已结束：{CLEARED[f['cleared_because']]}）" if f["cleared_because"] else ""),
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
    nothing = f"{len(servers)} 台在用主机：没有更小的规格可以建议。"
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
    if outcome["silent"]:
        told += f"没有答复的云平台：{'、'.join(outcome['silent'])}，其上原有结果保持不变。"
    call.done({"day": str(row.day), "policy_version": row.policy_version, **outcome}, told)


def _tell_intake(call: DatabaseCall, report: Report, covered: int, *, exempted: bool) -> None:
    """What was left out, on standard error: the result on standard output stays what programs expect."""
    intake = report.intake()
    if intake.left:
        if call.as_json:
            body = {"code": "metrics.rows_left", **intake_answer(intake)}
            sys.stderr.write(json.dumps(body, ensure_ascii=False) + "\n")
        else:
            told = sentence("metrics.rows_left", {"count": intake.dropped})
            sys.stderr.write("\n".join([f"metrics.rows_left：{told}", *intake_lines(intake)]) + "\n")
    if covered and not exempted and not call.as_json:
        call.terminal.say(f"另有 {covered} 段按豁免规定未列出，可加 --exempted 查看。")
    if intake.rows and intake.dropped == intake.rows:
        raise Refusal("metrics.nothing_read", sentence("metrics.nothing_read"))


def _answer(found: Found) -> dict[str, Any]:
    run = found.run
    answer: dict[str, Any] = {
        "resource_id": run.resource_id,
        "policy": run.policy,
        "first_day": run.first_day.isoformat(),
        "last_day": run.last_day.isoformat(),
        "days": run.days,
        "evidence": [_figures(each) for each in run.evidence],
    }
    if found.facts is not None:
        facts = found.facts
        answer |= {"number": facts.number, "name": facts.name, "unit": facts.unit, "system": facts.system}
        answer |= {"sub_cloud": facts.sub_cloud, "mlps_level": facts.mlps_level}
    if found.exemption is not None:
        answer["exemption"] = found.exemption.name
    return answer


def _figures(figures: Figures) -> dict[str, Any]:
    leaf = figures.condition
    limits = {name: float(x) for name, x in (("below", leaf.below), ("above", leaf.above)) if x is not None}
    measured = {"least": figures.least, "greatest": figures.greatest, "mean": figures.mean}
    if leaf.daily is Daily.P95:  # the share of the day's samples on this side of the limit
        measured = {f"share_{name}": value for name, value in measured.items()}
    return {"metric": leaf.metric, "daily": leaf.daily.value, **limits, **{k: round(v, 4) for k, v in measured.items()}}


def _show(call: DatabaseCall, found: list[Found], policies: PolicySet) -> None:
    found.sort(key=lambda each: (-each.run.days, each.run.resource_id, each.run.policy))
    titles = {p.name: p.title + ("（自定规则）" if p.basis == OURS else "") for p in policies.policies}
    rows = (
        (
            each.facts.number if each.facts else each.run.resource_id,
            titles[each.run.policy],
            f"{each.run.first_day} 至 {each.run.last_day}",
            str(each.run.days),
            evidence(each.run.evidence) + (f"（豁免：{each.exemption.reason}）" if each.exemption else ""),
        )
        for each in found[:SHOWN]
    )
    headers = ("资源", "检测规则", "起止日期", "天数", "依据")
    call.listed(found, headers, rows, nothing="没有符合检测规则的资源。", right=("天数",), folds=("依据",))
    if len(found) > SHOWN:
        call.terminal.say(f"共 {len(found)} 段，只显示最长的 {SHOWN} 段；全部请用 --json。")

"""``guiyun idle scan``: the maximal runs of days that match policies, in the store or in files named by hand.

Called by: the command line; ``api.cli.idle`` adds the other verbs of the group. Must not: load what needs a database
before it is asked for the store: with ``--metrics`` it needs neither a database nor a home, and starts much sooner.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.idle_lines import line
from api.cli.intake import intake_answer, intake_lines
from api.cli.refusal import Refusal
from api.cli.verb import DatabaseCall, database_verb
from api.texts import sentence
from api.texts.utilisation import evidence
from broker.utilisation.files import Found, scan_files
from broker.utilisation.local_days import zone_of
from broker.utilisation.policy_file import DEFAULTS, read_policies
from broker.utilisation.rules import rivals
from broker.utilisation.samples import Report
from broker.utilisation.values import OURS, PolicySet

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
    settings = call.settings
    policies = read_policies(policy or settings.idle_policy_file or DEFAULTS)
    _tell_rivals(call, policies)
    when, report = (zone_of(timezone), datetime.now(UTC)), Report()
    if metrics is not None:
        found = scan_files(metrics, policies, when, report, settings.utilisation_memory_mib)
    else:
        found = _in_store(call, policies, when, report)
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
        sys.stdout.writelines(line(each) for each in wanted())
    else:
        _show(call, list(wanted()), policies)
    _tell_intake(call, report, len(covered), exempted=exempted)


def _in_store(call: DatabaseCall, policies: PolicySet, when: Any, report: Report) -> Iterator[Found]:
    # Only now: it brings the database's layer along.
    service = importlib.import_module("broker.utilisation.service")
    with call.core.works.begin() as work:
        facts = service.facts_of(work)
    found: Iterator[Found] = service.scan_store(call.settings, facts, policies, when, report)
    return found


def _tell_rivals(call: DatabaseCall, policies: PolicySet) -> None:
    """Policies that contradict each other, on standard error: both are applied all the same."""
    for one, other in rivals(policies.policies):
        told = sentence("policy.rivals", {"one": one, "other": other})
        body = {"code": "policy.rivals", "policies": [one, other], "detail": told}
        sys.stderr.write((json.dumps(body, ensure_ascii=False) if call.as_json else f"policy.rivals：{told}") + "\n")


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

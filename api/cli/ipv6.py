"""``guiyun ipv6``: the address plan as an operator sees and changes it.

``plan | facts | allocate | release | grow | reserve | lift | sweep | import | export | verify``, and ``--file -`` for
many calls as JSON lines.

Called by: the command line. Must not: decide anything (``quotas.ipv6`` does), count quota.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from api.cli import ipv6_lines as lines
from api.cli.display import fields, moment
from api.cli.home import home_of
from api.cli.quota import tell
from api.cli.refusal import Refusal
from api.cli.verb import AsJson, DatabaseCall, Home, database_verb
from api.texts import names
from broker.region import addresses
from quotas.errors import BadPrefix, QuotaError
from quotas.ipv6 import service, transfer
from quotas.ipv6.facts import facts, use_by_level
from quotas.ipv6.values import PlanNode

app = typer.Typer()
_BEYOND = "beyond"  # cells beyond the header
group = typer.Typer(name="ipv6", help="IPv6 规划：查看、分配、收回、扩展、保留、导入、导出、核对。")
app.add_typer(group)


Owner = Annotated[str, typer.Option(help="使用者：编号（UUID）或任意名称")]
Domain = Annotated[str, typer.Option(help="路由域；地址只属于一个路由域时可省略")]


@group.callback(invoke_without_command=True)
def many(
    context: typer.Context,
    *,
    file: Annotated[str, typer.Option(help="逐行读取 JSON 调用并逐行回答；“-”为标准输入", metavar="FILE")] = "",
    as_json: AsJson = False,
    home: Home = "",
) -> None:
    """IPv6 规划：查看、分配、收回、扩展、保留、导入、导出、核对。

    --file -：每行一个对象，如 {"do": "allocate", "pool": "3fff:101::/40", "owner": "a"}；每行一个回答。
    """
    if context.invoked_subcommand is not None:
        return
    if not file:
        typer.echo(context.get_help())
        raise typer.Exit(2)
    refused = _answer_lines(DatabaseCall(as_json=as_json, home=home_of(home)), file)
    raise typer.Exit(1 if refused else 0)


def _answer_lines(call: DatabaseCall, file: str) -> int:
    """How many were refused."""
    refused = 0
    try:
        with _opened(file) as source:
            for answers in lines.answers(call.core, source):
                sys.stdout.write("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in answers))
                sys.stdout.flush()
                refused += sum("code" in one for one in answers)
    finally:
        call.close()
    return refused


@contextmanager
def _opened(file: str) -> Iterator[IO[str]]:
    if file == "-":
        yield sys.stdin
        return
    try:
        with Path(file).open(encoding="utf-8-sig", newline="") as opened:
            yield opened
    except OSError as error:
        raise typer.BadParameter(f"不能读取“{file}”：{error.strerror}") from error


@group.command("plan")
@database_verb
def plan(
    call: DatabaseCall,
    *,
    zone: Annotated[str, typer.Option(help="只看一个区域：shared、private、internet")] = "",
    everything: Annotated[bool, typer.Option("--all", help="包括没有用到的地址块")] = False,
    levels: Annotated[bool, typer.Option("--levels", help="只看各级的使用率")] = False,
) -> None:
    """各区域、各级的地址块与已用网段；默认只列出用到的。"""
    if zone and zone not in names.ZONES:
        raise typer.BadParameter(f"没有区域“{zone}”")
    with call.core.sessions() as session:
        nodes = [n for n in service.plan(session) if zone in ("", n.zone.value)]
    if levels:
        _by_level(call, nodes)
        return
    shown = [n for n in nodes if everything or n.live or n.parent_id is None]
    found = [
        {
            "id": str(n.id),
            "parent_id": str(n.parent_id) if n.parent_id else None,
            "zone": n.zone.value,
            "routing_domain": n.routing_domain,
            "level": n.level,
            "prefix": str(n.prefix),
            "hands_out": n.hands_out,
            "live": n.live,
            "live_64": n.live_64,
            "size_64": n.size_64,
        }
        for n in sorted(shown, key=lambda n: (n.routing_domain, n.prefix))
    ]
    rows = (_row(n) for n in sorted(shown, key=lambda n: (n.routing_domain, n.prefix)))
    headers = ("地址块", "区域", "路由域", "级别", "已用网段")
    call.listed(found, headers, rows, nothing="没有地址规划。", right=("已用网段",))


def _row(node: PlanNode) -> tuple[str, str, str, str, str]:
    indent = "  " * (node.depth - 1 if node.depth else 0)
    zone, level = names.ZONES[node.zone.value], names.LEVELS.get(node.level, node.level)
    return f"{indent}{node.prefix}", zone, node.routing_domain, level, f"{node.live:,}"


def _by_level(call: DatabaseCall, nodes: list[PlanNode]) -> None:
    used = use_by_level(nodes)
    found = [asdict(u) for u in used]
    rows = (
        (
            names.ZONES[u.zone],
            f"{'  ' * u.depth}{names.LEVELS.get(u.level, u.level)}",
            str(u.depth + 1),
            f"{u.pools:,}",
            f"{u.live:,}",
            f"{float(u.share):.2%}",
        )
        for u in used
    )
    headers = ("区域", "级别", "第几层", "地址块", "网段", "已用地址")
    call.listed(found, headers, rows, nothing="没有地址规划。", right=headers[2:])


@group.command("facts")
@database_verb
def show_facts(call: DatabaseCall, prefix: Annotated[str, typer.Argument(metavar="网段")]) -> None:
    """网段的反向解析区、网关、能否自动配置；不读数据库。"""
    try:
        found = facts(service.network_of(prefix))
    except BadPrefix as error:
        raise _refusal(lines.of_error(error, {})) from error
    data = {
        "prefix": str(found.prefix),
        "reverse_zones": list(found.reverse_zones),
        "gateway": str(found.gateway),
        "anycast": str(found.anycast),
        "slaac": found.slaac,
        "segments": found.segments,
    }
    pairs = [
        ("网段", str(found.prefix)),
        ("反向解析区", "\n".join(found.reverse_zones)),
        ("网关", str(found.gateway)),
        (
            "无状态自动配置",
            "可以（RFC 4862）" if found.slaac else f"不可以：只用于 /64，可分 {found.segments:,} 个",
        ),
    ]
    call.answer(data, lambda: call.terminal.say(fields(pairs)))


def _refusal(body: dict[str, Any]) -> Refusal:
    return Refusal(body["code"], body["detail"], body=body)


@contextmanager
def _refusing(call: DatabaseCall, given: Mapping[str, Any]) -> Iterator[None]:
    """What ``quotas`` refuses, and wrong arguments, in the command line's words."""
    try:
        yield
    except QuotaError as error:
        with call.core.sessions() as session:
            body = lines.refusal(session, call.core.clock(), error, given)
        raise _refusal(body) from error
    except lines.Usage as error:
        raise typer.BadParameter(str(error)) from error


def _do(call: DatabaseCall, verb: str, **given: Any) -> None:
    """One call, as its line would be."""
    with _refusing(call, given), call.core.works.begin() as work:
        found = lines.do(work, {"do": verb, **given}, call.core.settings.quarantine_days)
    until = f"，至 {moment(found['until'])}" if found["until"] else ""
    call.done(found, f"{found['prefix']}（{names.PREFIX_STATES[found['state']]}{until}）")


@group.command("allocate")
@database_verb
def allocate(
    call: DatabaseCall,
    *,
    pool: Annotated[str, typer.Option(help="地址块：前缀或编号")],
    owner: Owner,
    length: Annotated[int, typer.Option(help="前缀长度")] = 64,
    domain: Domain = "",
    label: Annotated[str, typer.Option(help="备注")] = "",
    hold_days: Annotated[int, typer.Option(help="只暂留这么多天；默认立即启用")] = 0,
) -> None:
    """分配一个网段；同一使用者再次申请得到同一个。已满时说明最大还能分配多大。"""
    _do(call, "allocate", pool=pool, owner=owner, length=length, domain=domain, label=label, hold_days=hold_days)


@group.command("release")
@database_verb
def release(
    call: DatabaseCall,
    *,
    owner: Owner,
    prefix: Annotated[str, typer.Option(help="核对：只收回这个网段")] = "",
    quarantine_days: Annotated[int, typer.Option(help="静置天数；默认按设置", min=-1, show_default=False)] = -1,
) -> None:
    """收回网段：静置期满后可再分配；只是暂留的立即空闲。"""
    resting = {} if quarantine_days < 0 else {"quarantine_days": quarantine_days}
    _do(call, "release", owner=owner, prefix=prefix, **resting)


@group.command("grow")
@database_verb
def grow(call: DatabaseCall, *, owner: Owner, length: Annotated[int, typer.Option(help="新的前缀长度")]) -> None:
    """原地扩展：前缀变短，原有地址不变。旁边已被占用时说明被谁占用、最多能扩到多大。"""
    _do(call, "grow", owner=owner, length=length)


@group.command("reserve")
@database_verb
def reserve(
    call: DatabaseCall,
    prefix: Annotated[str, typer.Argument(metavar="网段")],
    *,
    reason: Annotated[str, typer.Option(help="保留的原因")],
    domain: Domain = "",
) -> None:
    """保留一段地址：解除之前不在其中分配网段，也不划分地址块。"""
    _do(call, "reserve", prefix=prefix, reason=reason, domain=domain)


@group.command("lift")
@database_verb
def lift(call: DatabaseCall, reservation: Annotated[str, typer.Argument(metavar="编号", help="保留的 id")]) -> None:
    """解除保留。"""
    _do(call, "lift", id=reservation)


@group.command("sweep")
@database_verb
def sweep(call: DatabaseCall) -> None:
    """让到期的暂留和静置期满的网段变为空闲；桂云运行时会自动进行。"""
    with call.core.works.begin() as work:
        swept = addresses.sweep(work)
    found = [{"prefix": str(s.prefix), "owner": str(s.owner), "was": s.was.value} for s in swept]
    rows = ((f["prefix"], names.PREFIX_STATES[f["was"]], f["owner"]) for f in found)
    call.listed(found, ("网段", "原状态", "使用者"), rows, nothing="没有到期的网段。")


@group.command("import")
@database_verb
def take_over(
    call: DatabaseCall,
    file: Annotated[str, typer.Argument(metavar="FILE", help="CSV 或 JSON；“-”为标准输入")],
    *,
    partial: Annotated[bool, typer.Option("--partial", help="写入没有冲突的行；默认全部成功才写入")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只检查，不写入")] = False,
) -> None:
    """导入已有的网段（export 的格式，只有 prefix 列必填），逐行说明冲突；有冲突时退出码为 1。"""
    with _opened(file) as source:
        rows, first = _rows(source.read())
    with call.core.works.begin() as work:
        report = addresses.take_over(work, rows, partial=partial, dry_run=dry_run, first=first)
    answer = transfer.as_json(report)
    shown = [v for v in report.verdicts if not v.good]
    call.answer(answer, lambda: call.terminal.say(*_told(answer, shown)))
    if shown:
        message = f"有 {len(shown)} 行冲突。"
        raise Refusal("prefix.import_conflicts", message, body={"code": "prefix.import_conflicts", "detail": message})


def _told(answer: dict[str, Any], conflicts: list[transfer.Verdict]) -> Iterator[str]:
    for v in conflicts:
        by = f"：{'、'.join(v.by)}" if v.by else ""
        line = f"（第 {v.of_line} 行）" if v.of_line else ""
        yield f"第 {v.line} 行 {v.prefix}  {names.IMPORT_OUTCOMES.get(v.outcome, v.outcome)}{by}{line}"
    counts = answer["counts"]
    written = "已写入" if answer["written"] else "没有写入"
    yield f"{written}：新增 {counts.get('ok', 0)} 行，已存在 {counts.get('same', 0)} 行，冲突 {len(conflicts)} 行。"


def _rows(content: str) -> tuple[list[dict[str, str]], int]:
    """The lines of a plan and the number of the first. Raises Refusal for what is neither CSV nor JSON of a plan."""
    content = content.removeprefix("\ufeff")
    if content.lstrip().startswith("["):
        try:
            found = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise Refusal("prefix.import_unreadable", f"不是有效的 JSON：{error}") from error
        if not all(isinstance(row, dict) for row in found):
            raise Refusal("prefix.import_unreadable", "JSON 应为对象的列表。")
        return [{k: "" if v is None else str(v) for k, v in row.items()} for row in found], 1
    reader = csv.DictReader(content.splitlines(), restkey=_BEYOND)
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        if "prefix" not in header:
            raise Refusal("prefix.import_unreadable", "第一行应为列名，其中必须有 prefix。")
        reader.fieldnames = header
        read = list(reader)
    except csv.Error as error:
        raise Refusal("prefix.import_unreadable", f"第 {reader.line_num} 行不能读取：{error}") from error
    long = [str(n) for n, row in enumerate(read, 2) if any(cell.strip() for cell in row.get(_BEYOND, ()))]
    if long:
        raise Refusal("prefix.import_unreadable", f"第 {'、'.join(long[:20])} 行的单元格多于列名。")
    return [{k: (v or "").strip() for k, v in row.items() if k in transfer.FIELDS} for row in read], 2


@group.command("export")
@database_verb
def export(
    call: DatabaseCall,
    *,
    form: Annotated[str, typer.Option("--format", help="csv 或 json")] = "csv",
    out: Annotated[str, typer.Option(help="写入文件；默认标准输出", metavar="FILE")] = "",
) -> None:
    """导出整个规划：地址块与全部网段，import 可以读回。"""
    if form not in {"csv", "json"}:
        raise typer.BadParameter("应为 csv 或 json", param_hint="--format")
    target = Path(out).open("w", encoding="utf-8", newline="") if out else sys.stdout  # noqa: SIM115 - closed below
    try:
        with call.core.sessions() as session:
            if call.as_json or form == "json":
                json.dump(list(transfer.export(session)), target, ensure_ascii=False, indent=1)
                target.write("\n")
            else:
                writer = csv.DictWriter(target, transfer.FIELDS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(transfer.export(session))
    finally:
        if out:
            target.close()


@group.command("verify")
@database_verb
def verify(call: DatabaseCall) -> None:
    """由明细重新核对：互不重叠、不越界、约束完好；有差异时逐条列出，退出码为 1。

    同时说明有多少网段是人工分配或人工扩大的：这些不计入任何单位的配额，不算差异。
    """
    with call.core.sessions() as session:
        differences = service.verify(session)
        beside = addresses.beside_quota(session)
    good = ["地址规划没有重叠，也没有越界。"]
    if beside.by_hand:
        size = f"{beside.by_hand:,} 个网段（{beside.by_hand_64:,} 个 /64）"
        good.append(f"另有 {size}由人工分配，不计入任何单位的配额。")
    if beside.grown_64:
        good.append(f"按申请交付的网段经人工扩大，比配额多 {beside.grown_64:,} 个 /64。")
    tell(call, differences, "ipv6.differs", *good, more={"beside_quota": asdict(beside)})

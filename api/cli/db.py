"""``guiyun db``: bring a database's schema up to date, say where it stands, load a region file.

Called by: the command line; ``guiyun up`` loads the region through it. Must not: migrate with the runtime role, which
cannot change a schema.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from api.cli.verb import DatabaseCall, database_verb
from broker.db.migrate import current, differences, upgrade
from broker.db.session import make_engine, make_sessions
from broker.dedicated import demonstration as networks
from broker.region.loader import LoadReport, load
from broker.region.reading import read_region
from broker.region.schema import Region
from broker.settings import Settings
from broker.tenancy.passwords import hash_password
from broker.tenancy.values import SYSTEM
from broker.tenancy.work import Work
from broker.workdays import load_calendar
from broker.zombies import facts
from broker.zombies import service as zombies
from broker.zombies.rules_file import read_rules

AsJson = Annotated[bool, typer.Option("--json", help="以 JSON 输出")]

app = typer.Typer()
group = typer.Typer(name="db", help="数据库结构：升级、查看版本、核对。", no_args_is_help=True)
app.add_typer(group)


def _owner_url() -> str:
    settings = Settings()
    url = settings.owner_database_url or settings.database_url
    if url is None:
        raise typer.BadParameter("请设置 GUIYUN_OWNER_DATABASE_URL（嵌入式数据库由 guiyun up 自动升级）")
    return url.get_secret_value()


def _say(*, as_json: bool, data: object, lines: list[str]) -> None:
    """The answer for a program, or for a person."""
    typer.echo(json.dumps(data, ensure_ascii=False) if as_json else "\n".join(lines), nl=bool(as_json or lines))


@group.command("migrate")
def migrate(*, as_json: AsJson = False) -> None:
    """升级到最新的数据库结构。"""
    revision = upgrade(_owner_url())
    _say(as_json=as_json, data={"revision": revision}, lines=[revision])


@group.command("current")
def show_current(*, as_json: AsJson = False) -> None:
    """显示数据库的版本与代码的版本；不一致时退出码为 1。"""
    has, newest = current(_owner_url())
    _say(
        as_json=as_json,
        data={"database": has, "code": newest},
        lines=[f"数据库 {has or '（空）'}，代码 {newest}"],
    )
    raise typer.Exit(0 if has == newest else 1)


@group.command("check")
def check(*, as_json: AsJson = False) -> None:
    """核对数据库结构与代码中的表定义；有差异时逐条列出，退出码为 1。"""
    found = [repr(difference) for difference in differences(_owner_url())]
    _say(as_json=as_json, data={"differences": found}, lines=found)
    raise typer.Exit(1 if found else 0)


def load_region(url: str, region: Region, *, demonstration: bool, since: timedelta = timedelta(0)) -> LoadReport:
    """Write the region in one transaction. Raises RegionError with every reason, and changes nothing then.

    ``since``: as if it had been loaded that long ago.
    """
    engine = make_engine(url, pool_size=1, application_name="guiyun-load")
    try:
        with make_sessions(engine).begin() as session:
            now = datetime.now(UTC)
            report = load(session, region, now=now - since, demonstration=demonstration, hasher=hash_password)
            if demonstration and report.counts.get("information_system.added"):
                # So that a newcomer finds the pages of networks and zombie systems alive; nothing was measured yet.
                session.flush()
                calendar = load_calendar(None)
                networks.load(session, calendar, now)
                work = Work(session, SYSTEM, now, calendar)
                zombies.record(work, facts.gather(work), facts.Measured({}, {}), read_rules())
            return report
    finally:
        engine.dispose()


@group.command("load-region")
@database_verb
def load_region_file(
    call: DatabaseCall,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="区域文件（YAML）")],
) -> None:
    """载入或更新区域文件；有任何一处不合规则时整个文件都不载入。"""
    settings = call.settings
    url = settings.owner_database_url or settings.database_url
    if url is None:
        raise typer.BadParameter("没有正在运行的桂云；请先 make run，或设置 GUIYUN_OWNER_DATABASE_URL")
    report = load_region(url.get_secret_value(), read_region(file), demonstration=settings.demonstration)
    lines = [f"{name} {count}" for name, count in report.counts.items()]
    call.done(dict(report.counts), "没有变化" if report.nothing_changed else "\n".join(lines))

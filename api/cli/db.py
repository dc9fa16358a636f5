"""``guiyun db``: bring a database's schema up to date, say where it stands.

Called by: the command line. Must not: run with the runtime role, which cannot change a schema.
"""

from __future__ import annotations

import typer

from broker.db.migrate import current, differences, upgrade
from broker.settings import Settings

app = typer.Typer()
group = typer.Typer(name="db", help="数据库结构：升级、查看版本、核对。", no_args_is_help=True)
app.add_typer(group)


def _owner_url() -> str:
    settings = Settings()
    url = settings.owner_database_url or settings.database_url
    if url is None:
        raise typer.BadParameter("请设置 GUIYUN_OWNER_DATABASE_URL（嵌入式数据库由 guiyun up 自动升级）")
    return url.get_secret_value()


@group.command("migrate")
def migrate() -> None:
    """升级到最新的数据库结构。"""
    typer.echo(upgrade(_owner_url()))


@group.command("current")
def show_current() -> None:
    """显示数据库的版本与代码的版本；不一致时退出码为 1。"""
    has, newest = current(_owner_url())
    typer.echo(f"数据库 {has or '（空）'}，代码 {newest}")
    raise typer.Exit(0 if has == newest else 1)


@group.command("check")
def check() -> None:
    """核对数据库结构与代码中的表定义；有差异时逐条列出，退出码为 1。"""
    found = differences(_owner_url())
    for difference in found:
        typer.echo(repr(difference))
    raise typer.Exit(1 if found else 0)

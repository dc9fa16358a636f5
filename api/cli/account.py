"""``guiyun login | logout | whoami``: who the command line is to a broker.

Called by: the command line. Must not: keep a password; what is stored is a token that can be revoked and runs out.
"""

from __future__ import annotations

import socket
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from api.cli import access
from api.cli.client import Api
from api.cli.display import Terminal, fields, moment
from api.cli.refusal import Refusal
from api.cli.verb import Call, client_verb
from api.texts import names

app = typer.Typer()


@app.command("login")
@client_verb
def login(
    call: Call,
    account: Annotated[str, typer.Argument(metavar="账号")],
    *,
    from_stdin: Annotated[bool, typer.Option("--password-stdin", help="从标准输入读取密码")] = False,
    days: Annotated[int, typer.Option(help="令牌的有效天数", min=1, max=366)] = 30,
) -> None:
    """登录，并在本机保存访问令牌（~/.config/guiyun/token，权限 0600）。"""
    password = sys.stdin.readline().rstrip("\n") if from_stdin else typer.prompt("密码", hide_input=True)
    with Api(call.url) as api:
        api.sign_in(account, password)
        until = datetime.now(UTC) + timedelta(days=days)
        name = f"命令行 {socket.gethostname()}"[:100]
        made = api.post("/tokens", {"name": name, "expires_at": until.isoformat()})
    before = access.stored(call.url)
    access.store(call.url, {"login": account, "id": made["id"], "token": made["token"]})
    if before:
        _revoke(call.url, before)
    answer = {"login": account, "url": call.url, "token_id": made["id"], "expires_at": made["expires_at"]}
    call.done(answer, f"已登录 {call.url}，有效至 {moment(made['expires_at'])}")


@app.command("logout")
@client_verb
def logout(call: Call) -> None:
    """撤销并删除本机保存的访问令牌。"""
    kept = access.stored(call.url)
    if not kept:
        raise Refusal("session.missing", f"本机没有保存 {call.url} 的登录。")
    revoked = _revoke(call.url, kept)
    access.store(call.url, None)
    note = "" if revoked else "（服务端未能撤销：令牌已失效或无法连接）"
    call.done({"login": kept["login"], "url": call.url, "revoked": revoked}, f"{kept['login']} 已退出登录{note}")


def _revoke(url: str, kept: dict[str, str]) -> bool:
    try:
        with Api(url, token=kept["token"]) as api:
            api.delete(f"/tokens/{kept['id']}")
    except Refusal:
        return False
    return True


@app.command("whoami")
@client_verb
def whoami(call: Call) -> None:
    """当前账号、单位与职责。"""
    found = {name: value for name, value in call.api.get("/me").items() if name != "csrf_token"}
    call.answer(found, lambda: _show(call.terminal, call.url, found))


def _show(terminal: Terminal, url: str, found: dict[str, object]) -> None:
    roles, deputy = found["roles"], found["deputy_for"]
    assert isinstance(roles, list)
    assert isinstance(deputy, dict)
    rows = (
        ("账号", str(found["login"])),
        ("单位", str(found["unit_name"])),
        ("职责", "、".join(names.ROLES[role] for role in roles)),
        ("代理", "、".join(names.ROLES[role] for role in deputy)),
        ("桂云", url),
    )
    terminal.say(fields(rows))

"""``guiyun sendings``: notices whose sending nobody knows the outcome of; sent again, or let be.

Called by: the command line. Must not: send anything itself.
"""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.verb import Call, client_verb
from api.texts import names

app = typer.Typer()


@app.command("sendings")
@client_verb
def sendings(
    call: Call,
    sending: Annotated[str, typer.Argument(metavar="[标识]", help="要处理的一条")] = "",
    *,
    again: Annotated[bool, typer.Option("--again", help="重发；收件人可能收到两次")] = False,
) -> None:
    """发送结果不明或未能发出的通知；注明标识则处理：默认不再发送，--again 重发。"""
    if sending:
        made = call.api.post(f"/notice-sendings/{sending}", {"again": again})
        call.done(made, "将重发" if again else "不再发送")
        return
    found = call.api.get("/notice-sendings")
    rows = (
        (s["id"], names.SENDINGS[s["channel"]], names.SENDINGS[s["state"]], s["code"], str(s["attempts"]))
        for s in found
    )
    call.listed(found, ("标识", "渠道", "状态", "原因", "次数"), rows, nothing="没有需要处理的通知。")

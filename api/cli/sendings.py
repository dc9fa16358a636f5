"""``guiyun sendings``: notices whose sending nobody knows the outcome of; sent again, or let be.

Called by: the command line. Must not: send anything itself.
"""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.display import moment
from api.cli.verb import Call, client_verb
from api.texts.notices import SENDINGS

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
        (
            s["id"], SENDINGS[s["channel"]], s["recipient"], moment(s["created_at"]), SENDINGS[s["state"]],
            f"{s['reason']}（{s['attempts']} 次）", s["message"],
        )
        for s in found
    )  # fmt: skip
    headers = ("标识", "渠道", "收件人", "通知于", "状态", "原因", "通知")
    call.listed(found, headers, rows, nothing="没有需要处理的通知。", folds=("原因", "通知"))

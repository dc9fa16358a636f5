"""``guiyun audit verify | head``: is the audit chain whole, and what its end is, to be kept outside the database.

Called by: the command line. Must not: seal or change an event.
"""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.refusal import Refusal
from api.cli.verb import DatabaseCall, database_verb
from broker.audit import seal
from broker.audit.seal import Finding, Head

app = typer.Typer()
group = typer.Typer(name="audit", help="审计链：核对、取末端。", no_args_is_help=True)
app.add_typer(group)

WORDS = {
    "changed": "事件被改动",
    "removed": "事件被删除",
    "reordered": "次序被改动",
    "head_differs": "与留存的末端不一致",
}


def parse_anchor(text: str) -> Head | None:
    """``SEQ:HEX`` as ``audit head`` prints it. Raises BadParameter."""
    if not text:
        return None
    seq, _, hexadecimal = text.partition(":")
    try:
        return Head(int(seq), bytes.fromhex(hexadecimal))
    except ValueError:
        raise typer.BadParameter("应为 guiyun audit head 给出的 序号:十六进制") from None


@group.command("verify")
@database_verb
def verify(
    call: DatabaseCall, *, anchor: Annotated[str, typer.Option(help="库外留存的末端", metavar="SEQ:HEX")] = ""
) -> None:
    """逐条核对审计链；有差异时逐条列出，退出码为 1。"""
    kept = parse_anchor(anchor)
    with call.core.sessions() as session:
        findings = list(seal.verify(session, kept))
        head, waiting = seal.head(session), seal.unsealed(session)
    answer = {
        "whole": not findings,
        "head": {"seq": head.seq, "hash": head.hash.hex()},
        "unsealed": waiting,
        "findings": [{"kind": f.kind, "seq": f.seq, "event_id": f.event_id} for f in findings],
    }
    call.answer(answer, lambda: call.terminal.say(*_lines(findings, head, waiting)))
    if findings:
        raise Refusal("audit.differs", f"审计链有 {len(findings)} 处不符。", body={**answer, "code": "audit.differs"})


def _lines(findings: list[Finding], head: Head, waiting: int) -> list[str]:
    if findings:
        return [f"第 {f.seq} 条：{WORDS.get(f.kind, f.kind)} {f.event_id}" for f in findings]
    later = f"；另有 {waiting} 条待封存" if waiting else ""
    return [f"审计链完整：{head.seq} 条，末端 {head.seq}:{head.hash.hex()}{later}"]


@group.command("head")
@database_verb
def show_head(call: DatabaseCall) -> None:
    """审计链的末端，供在库外留存；核对时用 --anchor 给出。"""
    with call.core.sessions() as session:
        head = seal.head(session)
    call.done({"seq": head.seq, "hash": head.hash.hex()}, f"{head.seq}:{head.hash.hex()}")

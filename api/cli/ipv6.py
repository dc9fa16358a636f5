"""``guiyun ipv6 plan | verify``: the address plan with what is in use, and whether nothing overlaps.

Called by: the command line. Must not: hand out or take back a prefix.
"""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.quota import tell
from api.cli.verb import DatabaseCall, database_verb
from api.texts import names
from quotas.ipv6 import service
from quotas.ipv6.values import PlanNode

app = typer.Typer()
group = typer.Typer(name="ipv6", help="IPv6 规划：查看、核对。", no_args_is_help=True)
app.add_typer(group)

LEVELS = {"province": "自治区", "city": "市", "county": "县", "department": "部门", "unit": "单位"}


@group.command("plan")
@database_verb
def plan(
    call: DatabaseCall,
    *,
    zone: Annotated[str, typer.Option(help="只看一个区域：shared、private、internet")] = "",
    everything: Annotated[bool, typer.Option("--all", help="包括没有用到的地址块")] = False,
) -> None:
    """各区域、各级的地址块与已用网段；默认只列出用到的。"""
    if zone and zone not in names.ZONES:
        raise typer.BadParameter(f"没有区域“{zone}”")
    with call.core.sessions() as session:
        nodes = [n for n in service.plan(session) if zone in ("", n.zone.value)]
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
    headers = ("地址块", "区域", "级别", "已用网段")
    call.listed(found, headers, rows, nothing="没有地址规划。", right=("已用网段",))


def _row(node: PlanNode) -> tuple[str, str, str, str]:
    indent = "  " * (node.depth - 1 if node.depth else 0)
    return f"{indent}{node.prefix}", names.ZONES[node.zone.value], LEVELS.get(node.level, node.level), f"{node.live:,}"


@group.command("verify")
@database_verb
def verify(call: DatabaseCall) -> None:
    """核对地址块互不重叠、都在上级之内；有差异时逐条列出，退出码为 1。"""
    with call.core.sessions() as session:
        differences = service.verify(session)
    tell(call, differences, "ipv6.differs", "地址规划没有重叠，也没有越界。")

"""``guiyun extranet``: load a topology, check a file, show what is attached where.

Called by: the command line. Must not: call a router (``guiyun reconcile`` does).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.client import Refusal
from api.cli.verb import DatabaseCall, database_verb
from api.texts import sentence
from broker.extranet import loading
from broker.extranet.overview import Routed, overview
from broker.extranet.reading import read_topology
from broker.yaml_file import read_yaml

app = typer.Typer()
group = typer.Typer(name="extranet", help="电子政务外网：拓扑、网段与路由器。", no_args_is_help=True)
app.add_typer(group)

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, metavar="文件", help="外网拓扑（YAML）")]
STATES = {"routed": "已开通", "attached": "开通中", "leaving": "撤除中"}


@group.command("check")
@database_verb
def check(call: DatabaseCall, file: File) -> None:
    """核对外网拓扑文件，列出全部错误；不载入。"""
    topology = read_topology(file)
    counts = {name: len(getattr(topology, name)) for name in ("routers", "vrfs", "sessions", "blocks")}
    words = "{routers} 台路由器，{vrfs} 个路由表，{sessions} 对邻居，{blocks} 个网段块，没有错误".format(**counts)
    call.done(counts, f"{topology.name}：{words}。")


@group.command("load")
@database_verb
def load(
    call: DatabaseCall,
    file: File,
    *,
    move_tunnels: Annotated[
        bool, typer.Option("--move-tunnels", help="隧道端点有变、其上有已开通网段时，确认随之改接")
    ] = False,
) -> None:
    """载入外网拓扑；有任何一处不合规则时整个文件都不载入。"""
    topology = read_topology(file)
    with call.core.works.begin() as work:
        changed = loading.load(work, read_yaml(file), moving_tunnels=move_tunnels)
    call.done({"changed": changed}, f"{topology.name}：{'已载入' if changed else '没有变化'}。")


@group.command("show")
@database_verb
def show(call: DatabaseCall) -> None:
    """列出已接入外网的网段：路由表、路由器、VNI 或 VLAN、核验时间。"""
    with call.core.works.begin() as work:
        found = overview(work)
    if found is None:
        raise Refusal("extranet.no_topology", sentence("extranet.no_topology"))
    rows = [_row(r) for r in found.segments]
    headers = ("资源", "单位", "路由表", "路由器", "VNI 或 VLAN", "网段", "状态")
    columns = ("number", "unit", "vrf", "router", "vni", "prefix")
    table = [(*(str(r[c]) for c in columns), STATES[r["state"]]) for r in rows]
    call.listed(rows, headers, table, nothing=f"{found.topology.name}：还没有网段。")


def _row(routed: Routed) -> dict[str, Any]:
    return {
        "number": routed.number,
        "unit": routed.unit,
        "vrf": routed.vrf,
        "router": routed.router,
        "vni": routed.vni,
        "prefix": routed.prefix,
        "state": routed.state,
        "verified_at": routed.verified_at.isoformat() if routed.verified_at else None,
    }

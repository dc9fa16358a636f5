"""``guiyun extranet``: load a topology, check a file, show what is attached where, have routers' filters written.

Called by: the command line. Must not: bring segments onto routers (delivery and ``guiyun reconcile`` do).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.refusal import Refusal
from api.cli.verb import DatabaseCall, database_verb
from api.texts import sentence, trouble
from broker.extranet import loading
from broker.extranet.filtering import filter_neighbours
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
    """列出已接入外网的网段：路由表、路由器、VNI 或 VLAN、核验时间（核验问网关及其转发，不逐一问主机）。"""
    with call.core.works.begin() as work:
        found = overview(work)
    if found is None:
        raise Refusal("extranet.no_topology", sentence("extranet.no_topology"))
    rows = [_row(r) for r in found.segments]
    headers = ("资源", "单位", "路由表", "路由器", "VNI 或 VLAN", "网段", "状态")
    columns = ("number", "unit", "vrf", "router", "vni", "prefix")
    table = [(*(str(r[c]) for c in columns), STATES[r["state"]]) for r in rows]
    call.listed(rows, headers, table, nothing=f"{found.topology.name}：还没有网段。")


@group.command("filters")
@database_verb
def filters(
    call: DatabaseCall,
    *,
    check: Annotated[bool, typer.Option("--check", help="只列出将写入的配置，不写入；有差异时退出码为 1")] = False,
) -> None:
    """按外网拓扑写入各路由器对上级和下级邻居的前缀过滤（接收与发送）；只用于能由本系统写入的路由器。"""
    found = filter_neighbours(call.core.networks, call.core.works, check=check)
    if found is None:
        raise Refusal("extranet.no_network", sentence("extranet.no_network"))
    rows = [asdict(f) for f in found if f.lines or f.code]
    told = [trouble(r["code"]) if r["code"] else "；".join(r["lines"]) for r in rows]
    table = [(r["router"], r["vrf"], r["neighbour"], words) for r, words in zip(rows, told, strict=True)]
    headers = ("路由器", "路由表", "邻居", "将写入" if check else "已写入")
    call.listed(rows, headers, table, nothing="各路由器对邻居的前缀过滤与外网拓扑一致。")
    if open_ones := [r for r in rows if check or r["code"]]:
        raise Refusal("extranet.differs", sentence("extranet.differs", {"count": len(open_ones)}))


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

"""``guiyun reconcile [CLOUD] [--sweep]``: what clouds have and the rows have not, and the reverse.

Called by: the command line. Must not: correct anything; ``--sweep`` is an operator's word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from api import texts
from api.cli.client import Mistake, Refusal
from api.cli.verb import DatabaseCall, database_verb
from api.texts import names
from broker.catalog import repository as catalog
from broker.delivery import reconcile as service
from broker.delivery.reconcile import Drift
from providers.errors import ProviderError

app = typer.Typer()

KINDS = {
    "orphan": "云上有、台账无",
    "lost": "台账有、云上无",
    "size": "规格不一致",
    "duplicate": "重复创建",
}
OBJECTS = {**names.KINDS, "project": "项目", "network": "网段", "attachment": "挂载", "snapshot": "快照"}


@app.command("reconcile")
@database_verb
def reconcile(
    call: DatabaseCall,
    *,
    cloud: Annotated[str, typer.Argument(metavar="云平台", help="云平台代码；不写则逐个核对全部")] = "",
    sweep: Annotated[bool, typer.Option("--sweep", help="删除云上有而台账没有的、重复创建的")] = False,
) -> None:
    """核对云平台与台账；有差异或有平台没有答复时退出码为 1。"""
    with call.core.sessions() as session:
        codes = [c.code for c in catalog.in_service(session) if cloud in ("", c.code)]
    if not codes:
        raise Refusal("cloud.unknown", f"没有云平台“{cloud}”。")
    drifts: list[Drift] = []
    silent: list[Mistake] = []
    for code in codes:
        try:
            drifts += (service.sweep if sweep else service.reconcile)(call.core.tools(), code)
        except ProviderError as error:
            silent.append(Mistake(error.code, code, f"没有答复：{texts.trouble(error.code)}"))
    _tell(call, codes, drifts, sweep=sweep)
    if silent:
        raise Refusal("cloud.silent", f"有 {len(silent)} 个云平台没有答复。", silent)
    if drifts and not sweep:
        raise Refusal("cloud.differs", f"有 {len(drifts)} 处差异；核实后可加 --sweep 清除云上多出的。")


def _tell(call: DatabaseCall, codes: Sequence[str], drifts: Sequence[Drift], *, sweep: bool) -> None:
    found: list[dict[str, Any]] = [
        {
            "kind": d.kind.value,
            "sub_cloud": d.sub_cloud,
            "object": d.key.kind.value,
            "id": str(d.key.id),
            "refs": list(d.refs),
            "row_state": d.row_state,
            "expected": dict(d.expected),
            "found": dict(d.found),
        }
        for d in drifts
    ]
    rows = (
        (
            f["sub_cloud"],
            KINDS[f["kind"]],
            OBJECTS.get(f["object"], f["object"]),
            f["id"],
            _sizes(f["expected"]),
            _sizes(f["found"]),
        )
        for f in found
    )
    nothing = f"{len(codes)} 个云平台：{'没有可清除的。' if sweep else '与台账一致。'}"
    headers = ("云平台", "已清除" if sweep else "差异", "对象", "标识", "台账", "云上")
    call.listed(found, headers, rows, nothing=nothing)


def _sizes(sizes: dict[str, object]) -> str:
    return " ".join(f"{names.FIELDS.get(name, name)} {value}" for name, value in sizes.items())

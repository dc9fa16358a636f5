"""``guiyun reconcile [CLOUD] [--sweep]``: what clouds have and the rows have not, the reverse, and totals that differ.

Called by: the command line. Must not: correct anything in a cloud; ``--sweep`` is an operator's word. On the extranet's
routers what is ours is repaired at once (``broker.extranet.drift``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from api import texts
from api.cli.refusal import Mistake, Refusal
from api.cli.verb import DatabaseCall, database_verb
from api.texts import names
from api.texts.extranet import GAPS
from broker.catalog import repository as catalog
from broker.delivery import capacity
from broker.delivery import reconcile as service
from broker.delivery.capacity import Compared, Gap
from broker.delivery.reconcile import Drift
from broker.extranet import drift
from broker.extranet.values import Fact
from broker.lifecycle import ResourceState
from broker.reclamation import missing, started
from broker.workflows import health
from providers.errors import ProviderError

app = typer.Typer()

KINDS = {
    "orphan": "云上有、台账无",
    "lost": "台账有、云上无",
    "found": "登记为云上不存在、现又找到",
    "size": "规格不一致",
    "uplink": "网段未接在外网安排的 VNI 或 VLAN 上",
    "duplicate": "重复创建",
    "power": "已停用而在运行",
    "total": "总量不一致",
    "less": "云上用量少于台账",
    "more": "云上用量多于台账",
}
EXTRANET = "extranet"
AMOUNTS = {"detail": "", "power": "", "total": "总量", "used": "已用", "held": "预留"}
POWER = {"on": "运行", "off": "停止"}
OBJECTS = {
    **names.CLASSES,
    **names.KINDS,
    "router": "路由器",
    "project": "项目",
    "network": "网段",
    "attachment": "挂载",
    "snapshot": "快照",
}


@app.command("reconcile")
@database_verb
def reconcile(
    call: DatabaseCall,
    *,
    cloud: Annotated[str, typer.Argument(metavar="云平台", help="云平台代码，或 extranet；不写则核对全部")] = "",
    sweep: Annotated[bool, typer.Option("--sweep", help="删除云上有而台账没有的、重复创建的")] = False,
    lost: Annotated[bool, typer.Option("--lost", help="大量资源在云上找不到，已核实确实不存在：据此停止计量")] = False,
) -> None:
    """核对云平台、外网路由器与台账；有差异或有平台没有答复时退出码为 1。路由器上属于本系统的差异自动修复。"""
    with call.core.sessions() as session:
        codes = [c.code for c in catalog.in_service(session) if cloud in ("", c.code)]
    if not codes and cloud != EXTRANET:
        raise Refusal("cloud.unknown", f"没有云平台“{cloud}”。")
    drifts: list[Drift] = []
    gaps: list[dict[str, Any]] = []
    wanting = 0
    silent: list[Mistake] = []
    routers: list[dict[str, Any]] = []
    if cloud in ("", EXTRANET) and not sweep:
        try:
            routers = _routers(call)
        except ProviderError as error:
            silent.append(Mistake(error.code, EXTRANET, f"未能核对：{texts.trouble(error.code)}"))
    for code in codes:
        try:
            drifts += service.sweep(call.core.tools(), code) if sweep else _compared(call, code, lost=lost)
            lines = [] if sweep else _totals(call, code)
            gaps += [gap for line in lines for gap in _gaps(line)]
            wanting += sum(line.wanting for line in lines)
        except ProviderError as error:
            silent.append(Mistake(error.code, code, f"没有答复：{texts.trouble(error.code)}"))
    _tell(call, codes, drifts, [*gaps, *routers], sweep=sweep)
    if silent:
        raise Refusal("cloud.silent", f"有 {len(silent)} 处没有答复。", silent)
    if drifts and not sweep:
        raise Refusal("cloud.differs", f"有 {len(drifts) + wanting} 处差异；核实后可加 --sweep 清除云上多出的。")
    if open_ones := [r for r in routers if r["row_state"] != "repaired"]:
        raise Refusal("extranet.differs", texts.sentence("extranet.differs", {"count": len(open_ones)}))
    if wanting:
        raise Refusal("cloud.differs", f"有 {wanting} 处容量差异，请在云平台页面核实后处理。")


def _compared(call: DatabaseCall, code: str, *, lost: bool) -> list[Drift]:
    """What differs at one cloud; which servers run, are gone or are back is written down."""
    found = service.reconcile(call.core.tools(), code)
    started.take_note(call.core.works, found)
    missing.take_note(call.core.works, call.core.settings, code, found, believed=lost)
    return found


def _totals(call: DatabaseCall, code: str) -> list[Compared]:
    """Ask the cloud anew, write down what it says, and compare its sums with ours."""
    with call.core.sessions() as session:
        cloud = next(c for c in catalog.in_service(session) if c.code == code)
    health.ask(call.core, cloud)
    with call.core.works.begin() as work:
        return capacity.compare(work, code)


def _routers(call: DatabaseCall) -> list[dict[str, Any]]:
    """What routers do and the plan does not contain, or the reverse; what was ours has been repaired."""
    return [
        {
            "kind": d.gap.value,
            "sub_cloud": EXTRANET,
            "object": "router",
            "id": f"{d.router} {d.vrf} {d.subject}".strip(),
            "refs": [d.router, d.vrf, d.subject],
            "row_state": "repaired" if d.repaired else "",
            "expected": {},
            "found": _facts(d.facts),
        }
        for d in drift.reconcile(call.core.networks, call.core.works) or ()
    ]


def _facts(facts: Sequence[Fact]) -> dict[str, Any]:
    """What is otherwise there, in words and as codes with what they are about."""
    plain = [each.plain() for each in facts]
    return {"detail": texts.facts(plain), "facts": plain} if plain else {}


def _gaps(line: Compared) -> Iterator[dict[str, Any]]:
    """A line's differences in the shape of the objects'. One that an operator left as it is says so."""
    for gap in line.gaps:
        total = gap is Gap.TOTAL
        yield {
            "kind": gap.value,
            "sub_cloud": line.sub_cloud,
            "object": line.resource_class.value,
            "id": "",
            "refs": [],
            "row_state": "left" if total and line.left else "",
            "expected": {"total": line.total} if total else {"used": line.use.in_use, "held": line.use.held},
            "found": {"total": line.reported_total} if total else {"used": line.reported_used},
        }


def _tell(
    call: DatabaseCall, codes: Sequence[str], drifts: Sequence[Drift], gaps: list[dict[str, Any]], *, sweep: bool
) -> None:
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
    ] + gaps
    rows = (
        (
            f["sub_cloud"],
            _kind(f),
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


def _kind(found: dict[str, Any]) -> str:
    if found["sub_cloud"] != EXTRANET:
        known = found["kind"] == "lost" and found["row_state"] == ResourceState.RELEASING.value
        return KINDS[found["kind"]] + ("（已停止计量，待释放）" if known else "")
    return GAPS[found["kind"]] + ("（已修复）" if found["row_state"] else "")


def _sizes(sizes: dict[str, object]) -> str:
    told = {n: v for n, v in sizes.items() if n != "facts"}  # they are in the detail's words
    shown = ((AMOUNTS.get(n, names.FIELDS.get(n, n)), POWER[str(v)] if n == "power" else v) for n, v in told.items())
    return " ".join(f"{name} {value}".strip() for name, value in shown)

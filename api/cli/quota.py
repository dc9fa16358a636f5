"""``guiyun quota show | verify``: what units may hold and hold, what clouds have left, and whether the counters agree.

Called by: the command line. Must not: hold, post or release anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from api.cli.client import Refusal
from api.cli.verb import DatabaseCall, database_verb
from api.texts import names
from broker.catalog import repository as catalog
from broker.tenancy import repository as tenancy
from quotas import service
from quotas.values import Difference

app = typer.Typer()
group = typer.Typer(name="quota", help="配额与容量：查看、核对。", no_args_is_help=True)
app.add_typer(group)


@group.command("show")
@database_verb
def show(
    call: DatabaseCall,
    *,
    unit: Annotated[str, typer.Argument(metavar="单位", help="单位代码；不写则列出各云平台的容量")] = "",
    cloud: Annotated[str, typer.Option(help="只看一个云平台（代码）")] = "",
) -> None:
    """单位的限额、已用与还可申请的数量；或各云平台的容量。"""
    if unit:
        _of_unit(call, unit, cloud)
        return
    with call.core.sessions() as session:
        clouds = [c for c in catalog.in_service(session) if cloud in ("", c.code)]
        stock = service.pool_left(session, [c.id for c in clouds])
    if not clouds:
        raise Refusal("cloud.unknown", f"没有云平台“{cloud}”。")
    found: list[dict[str, Any]] = [
        {"sub_cloud": c.code, "resource_class": kind.value, "capacity": s.capacity, "used": s.used, "left": s.left}
        for c in clouds
        for kind, s in sorted(stock[c.id].items())
    ]
    rows = ((f["sub_cloud"], *_amounts(f, "capacity")) for f in found)
    headers = ("云平台", "种类", "可用总量", "已用", "剩余")
    call.listed(found, headers, rows, nothing="没有容量记录。", right=headers[2:])


def _of_unit(call: DatabaseCall, unit: str, cloud: str) -> None:
    with call.core.works.begin() as work:
        node = tenancy.unit_id_of(work.session, unit, now=work.now)
        pool = next((c.id for c in catalog.in_service(work.session) if c.code == cloud), None)
        if cloud and pool is None:
            raise Refusal("cloud.unknown", f"没有云平台“{cloud}”。")
        left = service.left(work.session, node, pool)
        bound = tenancy.unit_names(work.session, [one.bound_by for one in left if one.bound_by], work.now)
    found: list[dict[str, Any]] = [
        {
            "resource_class": one.resource_class.value,
            "limit": one.limit,
            "used": one.used,
            "left": one.left,
            "bound_by": bound.get(one.bound_by) if one.bound_by else None,
        }
        for one in left
        if one.used or one.limit is not None
    ]
    rows = ((*_amounts(f, "limit"), f["bound_by"]) for f in found)
    headers = ("种类", "限额", "已用", "还可申请", "受限于")
    call.listed(found, headers, rows, nothing="没有限额，也没有用量。", right=headers[1:4])


def _amounts(found: dict[str, Any], whole: str) -> tuple[str, str, str, str]:
    unlimited = {name: "不限" if found[name] is None else f"{found[name]:,}" for name in (whole, "left")}
    kind = found["resource_class"]
    return names.CLASSES.get(kind, kind), unlimited[whole], f"{found['used']:,}", unlimited["left"]


@group.command("verify")
@database_verb
def verify(call: DatabaseCall) -> None:
    """由明细重新计数；有差异时逐条列出，退出码为 1。"""
    with call.core.sessions() as session:
        differences = service.verify(session)
    tell(call, differences, "quota.differs", "配额与容量的计数与明细一致。")


def tell(call: DatabaseCall, differences: Sequence[Difference], code: str, good: str) -> None:
    """Say that all agrees, or name what differs. Raises Refusal with the code."""
    found = [{"what": d.what, "id": d.id, "kept": d.kept, "recounted": d.recounted} for d in differences]
    answer = {"agrees": not found, "differences": found}
    call.answer(answer, lambda: call.terminal.say(*(_lines(differences) if found else [good])))
    if found:
        raise Refusal(code, f"有 {len(found)} 处不一致。", body={**answer, "code": code})


def _lines(differences: Iterable[Difference]) -> Iterable[str]:
    for d in differences:
        counted = f"，重新计数 {d.recounted}" if d.recounted else ""
        yield f"{d.what} {d.id}：记录 {d.kept}{counted}"

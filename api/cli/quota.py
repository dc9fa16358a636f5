"""``guiyun quota``: what units may hold and hold, what clouds have left, limits, loans, holds, and the recount.

Called by: the command line. Must not: hold a rule; how a hold is made stands in ``api.cli.quota_holds``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID, uuid4

import typer

from api.cli import quota_holds as holds
from api.cli.refusal import Refusal
from api.cli.verb import DatabaseCall, database_verb
from api.texts import names
from broker.catalog import repository as catalog
from broker.inventory import repository as inventory
from broker.inventory.repository import node_names
from broker.scarcity import by_hand, claims
from quotas import availability, borrowing, moving, service
from quotas.errors import QuotaError
from quotas.values import Difference

UNLIMITED = "unlimited"

app = typer.Typer()
group = typer.Typer(name="quota", help="配额与容量：查看、限额、预留、核对。", no_args_is_help=True)
app.add_typer(group)


@group.command("show")
@database_verb
def show(
    call: DatabaseCall,
    *,
    unit: Annotated[
        str, typer.Argument(metavar="单位", help="单位、（单设节点的）信息系统的代码；不写则列出云平台容量")
    ] = "",
    cloud: Annotated[str, typer.Option(help="只看一个云平台（代码）")] = "",
) -> None:
    """单位的限额、已用与还可申请的数量；或各云平台的容量。"""
    if unit:
        _of_unit(call, unit, cloud)
        return
    with call.core.sessions() as session:
        clouds = [c for c in catalog.in_service(session) if cloud in ("", c.code)]
        stock = availability.pool_left(session, [c.id for c in clouds])
    if not clouds:
        raise Refusal("cloud.unknown", f"没有云平台“{cloud}”。")
    found: list[dict[str, Any]] = [
        {
            "sub_cloud": c.code,
            "name": c.name,
            "resource_class": kind.value,
            "capacity": s.capacity,
            "used": s.used,
            "left": s.left,
        }
        for c in clouds
        for kind, s in sorted(stock[c.id].items())
    ]
    rows = ((f["name"], f["sub_cloud"], *_amounts(f, "capacity")) for f in found)
    headers = ("云平台", "代码", "种类", "可用总量", "已用", "剩余")
    call.listed(found, headers, rows, nothing="没有容量记录。", right=headers[3:])


def _of_unit(call: DatabaseCall, unit: str, cloud: str) -> None:
    with call.core.works.begin() as work:
        node = by_hand.node_of(work.session, unit, now=work.now)
        pool, called = next(((c.id, c.name) for c in catalog.in_service(work.session) if c.code == cloud), (None, ""))
        if cloud and pool is None:
            raise Refusal("cloud.unknown", f"没有云平台“{cloud}”。")
        left = availability.left(work.session, node, pool)
        bound = node_names(work.session, (one.bound_by for one in left), work.now)
    found: list[dict[str, Any]] = [
        {
            "resource_class": one.resource_class.value,
            "limit": one.limit,
            "used": one.used,
            "left": one.left,
            "bound_by": bound.get(one.bound_by) if one.bound_by else None,
        }
        for one in left
        if one.used or one.limit is not None or (cloud and one.left is not None)
    ]
    # Where no unit's limit binds and there is one nevertheless, it is what the cloud has.
    rows = ((*_amounts(f, "limit"), f["bound_by"] or (called if f["left"] is not None else None)) for f in found)
    headers = ("种类", "限额", "已用", "还可申请", "受限于")
    call.listed(found, headers, rows, nothing="没有限额，也没有用量。", right=headers[1:4])


def _amounts(found: dict[str, Any], whole: str) -> tuple[str, str, str, str]:
    unlimited = {name: "不限" if found[name] is None else f"{found[name]:,}" for name in (whole, "left")}
    kind = found["resource_class"]
    return names.CLASSES.get(kind, kind), unlimited[whole], f"{found['used']:,}", unlimited["left"]


@group.command("hold")
@database_verb
def hold(
    call: DatabaseCall,
    *,
    node: Annotated[str, typer.Argument(metavar="节点", help="单位、信息系统的代码或节点编号；用 --file 时不写")] = "",
    amounts: holds.Amounts = None,
    cloud: holds.Cloud = "",
    owner: holds.Owner = "",
    days: Annotated[int, typer.Option(help="预留的天数", min=1, max=3660)] = holds.DEFAULT_DAYS,
    until: Annotated[str, typer.Option(metavar="ISO", help="到期时间，代替 --days")] = "",
    hold_id: Annotated[str, typer.Option("--id", metavar="UUID", help="预留的编号；同一编号只计一次")] = "",
    replaces: Annotated[str, typer.Option(metavar="UUID", help="代替该预留，只占差额")] = "",
    file: holds.File = "",
    by: holds.By = "",
    reason: holds.Reason = "",
) -> None:
    """预留：从节点到根的所有限额与云平台容量，全部满足才成立；先落盘后应答。

    --file 的每一行：{"node": "jyt", "owner": "UUID", "cloud": "main", "amounts": {"vcpu_x86_64": 4},
    "days": 30 或 "expires_at": "…+08:00", "id": "UUID", "replaces": "UUID",
    "by": "账号", "reason": "理由"}（后六项可省；--by、--reason 用于没有写明的行）。
    应答一行：{"id", "outcome": "ok", "expires_at"} 或 {"code", "detail", "refusals"}；有任何一行被拒绝，退出码为 1。
    """
    if file:
        holds.many(call, "hold", file, {"by": by, "reason": reason})
        return
    given: dict[str, Any] = {
        "node": node,
        "owner": owner or hold_id or str(uuid4()),  # so that the same words with the same id are the same hold
        "cloud": cloud,
        "amounts": holds.amounts_of(amounts),
    }
    given |= {"days": days, "expires_at": until, "id": hold_id, "replaces": replaces, "by": by, "reason": reason}
    if not node or not amounts or not cloud:
        raise typer.BadParameter("需要 节点、种类=数量 与 --cloud，或 --file")
    holds.once(call, "hold", given)


HoldId = Annotated[str, typer.Argument(metavar="预留", help="预留的编号；用 --file 时不写")]


def _on_hold(call: DatabaseCall, verb: str, file: str, given: dict[str, Any]) -> None:
    if file:
        holds.many(call, verb, file, {"by": given["by"], "reason": given["reason"]})
        return
    if not given["id"]:
        raise typer.BadParameter("需要 预留的编号，或 --file")
    holds.once(call, verb, given)


@group.command("post")
@database_verb
def post(
    call: DatabaseCall,
    *,
    hold_id: HoldId = "",
    amounts: holds.Amounts = None,
    cloud: holds.Cloud = "",
    owner: holds.Owner = "",
    key: holds.Key = "",
    file: holds.File = "",
    by: holds.By = "",
    reason: holds.Reason = "",
) -> None:
    """预留转为使用：全部，或写明的部分。

    --file 的每一行：{"id", "amounts", "cloud", "owner", "key", "by", "reason"}（后六项可省）；
    应答：{"id", "outcome": "ok", "key"}。
    """
    given = {"id": hold_id, "amounts": holds.amounts_of(amounts), "cloud": cloud, "owner": owner, "key": key}
    given |= {"by": by, "reason": reason}
    _on_hold(call, "post", file, given)


@group.command("void")
@database_verb
def void(
    call: DatabaseCall,
    *,
    hold_id: HoldId = "",
    owner: holds.Owner = "",
    file: holds.File = "",
    by: holds.By = "",
    reason: holds.Reason = "",
) -> None:
    """作废仍在预留的部分；已转为使用的不变；重复作废无妨。

    --file 的每一行：{"id", "owner", "by", "reason"}（后三项可省）；应答一行：{"id", "outcome": "ok"}。
    """
    _on_hold(call, "void", file, {"id": hold_id, "owner": owner, "by": by, "reason": reason})


@group.command("release")
@database_verb
def release(
    call: DatabaseCall,
    *,
    hold_id: HoldId = "",
    amounts: holds.Amounts = None,
    cloud: holds.Cloud = "",
    owner: holds.Owner = "",
    key: holds.Key = "",
    file: holds.File = "",
    by: holds.By = "",
    reason: holds.Reason = "",
) -> None:
    """释放已使用的：全部，或写明的部分。

    --file 的每一行：{"id", "amounts", "cloud", "owner", "key", "by", "reason"}（后六项可省）；
    应答：{"id", "outcome": "ok", "key"}。
    """
    given = {"id": hold_id, "amounts": holds.amounts_of(amounts), "cloud": cloud, "owner": owner, "key": key}
    given |= {"by": by, "reason": reason}
    _on_hold(call, "release", file, given)


Kind = Annotated[str, typer.Argument(metavar="种类", help="如 vcpu、memory_gib、gpu")]
Node = Annotated[str, typer.Argument(metavar="节点", help="单位、（单设节点的）信息系统的代码，或节点编号")]


@group.command("limit")
@database_verb
def limit(
    call: DatabaseCall,
    node: Node,
    kind: Kind,
    amount: Annotated[str, typer.Argument(metavar="数量", help="整数，或 unlimited（不限）")],
    *,
    cloud: Annotated[str, typer.Option(help="只限一个云平台（代码或编号）；不写则合计")] = "",
    borrow: Annotated[str, typer.Option(help="可借入的上限：整数或 unlimited")] = "0",
    lend: Annotated[str, typer.Option(help="可借出的上限：整数或 unlimited；其余为自己保留")] = UNLIMITED,
    by: holds.By = "",
    reason: holds.Reason = "",
) -> None:
    """设置节点的限额（名义份额），以及可向同级借入、借出多少；也用于取消限额。"""
    desk = holds.Desk(call)
    try:
        at, pool, found = desk.node(node), desk.pool(cloud) if cloud else None, holds.class_of(kind)
        numbers = [None if word == UNLIMITED else holds.whole_number(word) for word in (amount, borrow, lend)]
        nominal, borrowed, lent = (None if n is None else service.whole(n, least=0) for n in numbers)
        hand = desk.hand({"by": by, "reason": reason})
        with call.core.works.begin() as work:
            by_hand.set_limit(work, hand, at, found, pool=pool, limit=nominal, borrowing=borrowed, lending=lent)
    except QuotaError as error:
        raise holds.told(call, error) from error
    answer: dict[str, Any] = {"node_id": str(at), "resource_class": kind, "sub_cloud_id": str(pool) if pool else None}
    answer |= {"limit": nominal, "borrowing": borrowed, "lending": lent}
    call.done(
        answer, f"已设置 {node} 的 {names.CLASSES.get(kind, kind)} 限额：{'不限' if nominal is None else nominal}"
    )


@group.command("node")
@database_verb
def node(
    call: DatabaseCall,
    system: Annotated[str, typer.Argument(metavar="信息系统", help="信息系统代码")],
    *,
    by: holds.By = "",
    reason: holds.Reason = "",
) -> None:
    """为信息系统在其单位之下单设节点：它已有的预留与用量随之移入，今后的申请在此计数，可另设限额（limit）。"""
    hand = holds.Desk(call).hand({"by": by, "reason": reason})
    try:
        with call.core.works.begin() as work:
            found = inventory.system_id_of(work.session, system)
            moved = by_hand.give_node(work, hand, found)
    except QuotaError as error:
        raise holds.told(call, error) from error
    answer = {"node_id": str(found), "moved_holds": moved}
    call.done(answer, f"{system} 已有自己的节点，移入 {moved} 个预留（含已用）。")


@group.command("move")
@database_verb
def move(
    call: DatabaseCall,
    node: Node,
    below: Annotated[str, typer.Argument(metavar="上级", help="新的上级：单位、信息系统的代码，或节点编号")],
    *,
    check: Annotated[bool, typer.Option("--check", help="只看会怎样，不移动")] = False,
    over: Annotated[bool, typer.Option("--over", help="超过新上级的限额也移动（此后只能减少）")] = False,
    by: holds.By = "",
    reason: holds.Reason = "",
) -> None:
    """把节点连同其下级移到新的上级之下：已有的预留与用量随之改在新的上级计数，不会丢失。

    超过新上级的限额时不移动，列出各项（quota.exceeded）；机构改革等已成事实的，用 --over。
    """
    desk = holds.Desk(call)
    try:
        at, to, hand = desk.node(node), desk.node(below), desk.hand({"by": by, "reason": reason})
        with call.core.works.begin() as work:
            if check:
                moved = moving.look(work.session, at, to)
            else:
                moved = by_hand.move_node(work, hand, at, to, how="over" if over else "within")
            called = node_names(work.session, (r.node for r in moved.over), work.now)
    except QuotaError as error:
        raise holds.told(call, error) from error
    found = [
        {"node_id": str(r.node), "resource_class": r.resource_class.value, "limit": r.limit, "load": r.used + r.asked}
        for r in moved.over
    ]
    done = f"{'将移动' if check else '已移动'} {moved.nodes} 个节点。"
    lines = [
        f"  {called.get(r.node, r.node) if r.node else ''}的{names.CLASSES.get(r.resource_class, r.resource_class)}"
        f"限额 {r.limit:,}，{'将为' if check else '现为'} {r.used + r.asked:,}，只能减少。"
        for r in moved.over
    ]
    call.done({"nodes": moved.nodes, "moved": not check, "over": found}, "\n".join([done, *lines]))


@group.command("loans")
@database_verb
def loans(
    call: DatabaseCall,
    node: Node,
    kind: Kind,
    *,
    cloud: Annotated[str, typer.Option(help="只看一个云平台的限额")] = "",
    claim: Annotated[str, typer.Option(metavar="节点", help="假设该节点要收回 --amount，列出应通知谁归还多少")] = "",
    amount: Annotated[int, typer.Option(min=1, help="要收回的数量")] = 1,
) -> None:
    """节点之下谁向谁借用了多少、已通知归还多少；或者，出借方要用时应通知谁归还多少。

    按各方闲置的份额分摊；出借方另有通知而分摊中没有的，数量为 0。
    """
    desk = holds.Desk(call)
    try:
        at, pool, found = desk.node(node), desk.pool(cloud) if cloud else None, holds.class_of(kind)
        lender = desk.node(claim) if claim else None
    except QuotaError as error:
        raise holds.told(call, error) from error
    with call.core.works.begin() as work:
        cohort = availability.cohort(work.session, at, found, pool)
        called = {} if cohort is None else node_names(work.session, (m.node for m in cohort.members), work.now)
        told = claims.open_claims(work, [] if cohort is None else [at, *(m.node for m in cohort.members)])
    called[at] = node
    claimed: Counter[tuple[UUID, UUID | None]] = Counter()
    for one in told:
        if (one.claim.resource_class, one.claim.pool_id) == (kind, pool):
            claimed[one.claim.borrower_id, one.claim.lender_id] += one.claim.amount
    listed: list[tuple[UUID, UUID | None, int]] = []
    if cohort is not None and lender is not None:
        listed = [(borrower, lender, due) for borrower, due in borrowing.claims(cohort, lender, amount).items()]
    elif cohort is not None:
        listed = [(loan.borrower, loan.lender, loan.amount) for loan in borrowing.loans(cohort)]
        listed += [(b, of, 0) for b, of in claimed if (b, of) not in {(x, y) for x, y, _ in listed}]
    answer = [
        {"borrower_id": str(b), "lender_id": str(of) if of else None, "amount": n, "claimed": claimed[b, of]}
        for b, of, n in listed
    ]
    rows = (
        (called.get(b, str(b)), called.get(of, str(of)) if of else "上级", f"{n:,}", f"{claimed[b, of]:,}")
        for b, of, n in listed
    )
    headers = ("借用方", "出借方", "数量", "已通知归还")
    call.listed(answer, headers, rows, nothing="没有借用。", right=headers[2:])


@group.command("verify")
@database_verb
def verify(call: DatabaseCall) -> None:
    """由明细重新计数；有差异时逐条列出，退出码为 1。"""
    with call.core.sessions() as session:
        differences = service.verify(session)
    tell(call, differences, "quota.differs", "配额与容量的计数与明细一致。")


def tell(
    call: DatabaseCall,
    differences: Sequence[Difference],
    code: str,
    *good: str,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Say that all agrees, or name what differs; ``more`` goes into the JSON. Raises Refusal with the code."""
    found = [{"what": d.what, "id": d.id, "kept": d.kept, "recounted": d.recounted} for d in differences]
    answer = {"agrees": not found, "differences": found, **(more or {})}
    call.answer(answer, lambda: call.terminal.say(*(_lines(differences) if found else good)))
    if found:
        raise Refusal(code, f"有 {len(found)} 处不一致。", body={**answer, "code": code})


def _lines(differences: Iterable[Difference]) -> Iterable[str]:
    for d in differences:
        counted = f"，重新计数 {d.recounted}" if d.recounted else ""
        yield f"{d.what}（{names.DIFFERENCES.get(d.what, '')}）{d.id}：记录 {d.kept}{counted}"

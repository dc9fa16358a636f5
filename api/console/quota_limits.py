"""The Bureau's page of a node's limits: as they are, what a change would do to whom, and setting them.

Called by: browsers. Must not: count, or decide who may (``scarcity.setting`` does).
"""

from __future__ import annotations

import re
from itertools import count
from typing import Annotated

from fastapi import Query
from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import FormData

from api.console import show
from api.console.page import Context, Form, act, console_router, go, page, text_of
from api.permissions import Permission, needs
from api.texts import console, names
from api.uow import UnitOfWork, Uow
from broker.errors import BrokerError
from broker.inventory.repository import node_names
from broker.scarcity import by_hand, setting
from broker.scarcity.setting import MOST_LINES, Outcome, Wanted
from broker.tenancy.work import Work
from quotas.values import ENDLESS, Limit, ResourceClass

router = console_router("配额")

BLANK_ROWS = 2
Node = Annotated[str, Query(max_length=40)]


@router.get("/quota/limits", openapi_extra=needs(Permission.QUOTA_SET))
def limits(uow: Uow, node: Node = "") -> Response:
    """设置限额。"""
    return _show(uow, node)


@router.post("/quota/limits", openapi_extra=needs(Permission.QUOTA_SET))
def apply(form: Form, uow: Uow, node: Node = "") -> Response:
    """预览或设置。"""
    rows = _rows(form)
    wanted = [_wanted(row) for row in rows]
    given = {"reason": text_of(form, "reason"), "seen": text_of(form, "seen")}
    if text_of(form, "action") == "look":
        return act(
            uow,
            lambda work: setting.look(work, node, wanted),
            reads=True,
            then=lambda outcome: _show(uow, node, rows=rows, outcome=outcome, given=given),
            instead=lambda error: _show(uow, node, error, rows=rows, given=given),
        )
    return act(
        uow,
        lambda work: setting.apply(work, node, wanted, **given),
        then=lambda _: go(f"/quota/limits?node={node}", done="limits_set"),
        instead=lambda error: _show(uow, node, error, rows=rows, given=given),
    )


def _show(
    uow: UnitOfWork,
    node: str,
    error: BrokerError | None = None,
    *,
    rows: list[dict[str, str]] | None = None,
    outcome: Outcome | None = None,
    given: dict[str, str] | None = None,
) -> HTMLResponse:
    def collect(work: Work) -> Context:
        found, mark = setting.limits(work, node)
        clouds = {cloud.id: cloud for cloud in setting.clouds_of(work, found)}
        at = by_hand.node_of(work.session, node, now=work.now)
        standing = [_row(limit, clouds[limit.pool].code if limit.pool else "") for limit in found]
        return {
            "node": node,
            "name": node_names(work.session, [at], work.now).get(at, node),
            "rows": [*(standing if rows is None else rows), *[_row(None, "")] * BLANK_ROWS],
            "load": {(m.resource_class.value, clouds[m.pool].code if m.pool else ""): m.load for m in found},
            "clouds": list(clouds.values()),
            "classes": {kind.value: names.CLASSES[kind.value] for kind in ResourceClass},
            "outcome": outcome,
            "given": {"reason": "", "seen": mark} | (given or {}),
            "may_set": setting.may_set(work),
            "endless": ENDLESS // 2,
            "unlimited": names.UNLIMITED,
            "problems": _problems(error) if error else [],
        }

    return page(uow, "quota/limits.html", collect, status=error.status if error else 200)


def _problems(error: BrokerError) -> list[dict[str, str]]:
    """With the row that each is about."""
    found = show.problems(error.problems)
    for problem in found:
        if row := re.match(r"lines\[(\d+)\]", problem["field"]):
            problem["text"] = console.ROW.format(n=int(row[1]) + 1, text=problem["text"])
    return found


def _row(limit: Limit | None, cloud: str) -> dict[str, str]:
    if limit is None:
        return {"kind": "", "cloud": "", "limit": "", "borrowing": "0", "lending": names.UNLIMITED}
    amounts = {"limit": limit.limit, "borrowing": limit.borrowing, "lending": limit.lending}
    shown = {name: names.UNLIMITED if amount is None else str(amount) for name, amount in amounts.items()}
    return {"kind": limit.resource_class.value, "cloud": cloud} | shown


def _rows(form: FormData) -> list[dict[str, str]]:
    """The rows that name a class, as they were typed."""
    found: list[dict[str, str]] = []
    for number in count():
        if f"kind.{number}" not in form or number >= MOST_LINES:
            return found
        row = {name: text_of(form, f"{name}.{number}") for name in ("kind", "cloud", "limit", "borrowing", "lending")}
        if row["kind"]:
            found.append(row)
    raise AssertionError("unreachable")


def _wanted(row: dict[str, str]) -> Wanted:
    return Wanted(row["kind"], row["cloud"], *(_amount(row[name]) for name in ("limit", "borrowing", "lending")))


def _amount(text: str) -> int | None:
    """A whole number, thousands apart or not; 不限 is None; what is neither is -1, which nothing may be."""
    if text == names.UNLIMITED:
        return None
    digits = text.replace(",", "").replace("，", "")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 16 else -1

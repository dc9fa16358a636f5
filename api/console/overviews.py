"""What payers owe, industry clouds, settlements: pages with charts. Numbers in charts are whole fen.

Called by: browsers. Must not: compute an amount, or decide who may see what.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from fastapi.responses import JSONResponse, Response

from api.console.chargeback import WORDS, tabs
from api.console.page import Context, console_router, page
from api.documents import files
from api.permissions import Permission, needs
from api.texts import dedicated, money
from api.uow import Uow
from broker.chargeback import overviews
from broker.chargeback.overviews import PayersOverview
from broker.chargeback.views import Axis, PayerRow, Sum, TrendPoint
from broker.dedicated import stops
from broker.pricing.months import Month
from broker.tenancy.work import Work

router = console_router("账单")

_BARS = 20


@router.get("/payers", openapi_extra=needs(Permission.STATEMENT_READ))
def payers(uow: Uow, month: str = "") -> Response:
    """各市各单位应付总览。"""

    def collect(work: Work) -> Context:
        months, chosen = _choose(work, month)
        return _around(work, months, chosen) | {"found": overviews.payers(work, chosen)}

    return page(uow, "chargeback/payers.html", collect)


@router.get("/payers/chart/{what}", openapi_extra=needs(Permission.STATEMENT_READ))
def payers_chart(uow: Uow, what: str, month: str = "") -> Response:
    """各市各单位应付（图表数据）。"""

    def collect(work: Work) -> Context:
        found = overviews.payers(work, _choose(work, month)[1])
        return _trend(found) if what == "trend" else _owed(found.payers)

    return JSONResponse(uow.look(collect))


@router.get("/payers/{payer_unit_id}", openapi_extra=needs(Permission.STATEMENT_READ))
def payer(payer_unit_id: UUID, uow: Uow, month: str = "") -> Response:
    """一个付费主体的走势与变动。"""

    def collect(work: Work) -> Context:
        months, chosen = _choose(work, month)
        found = overviews.payer(work, payer_unit_id, chosen)
        more = {"stops": stops.standing(work, payer=payer_unit_id), "texts": dedicated}
        return _around(work, months, chosen) | more | {"found": found, "summary": found.statement}

    return page(uow, "chargeback/payer.html", collect)


@router.get("/payers/{payer_unit_id}/chart/{what}", openapi_extra=needs(Permission.STATEMENT_READ))
def payer_chart(payer_unit_id: UUID, uow: Uow, what: str, month: str = "") -> Response:
    """一个付费主体的走势，或按云平台、使用单位（图表数据）。"""

    def collect(work: Work) -> Context:
        found = overviews.payer(work, payer_unit_id, _choose(work, month)[1])
        if what == "trend":
            return _line(money.OWED, found.trend)
        return _sums(found.statement.by(Axis.UNIT if what == "unit" else Axis.CLOUD))

    return JSONResponse(uow.look(collect))


@router.get("/industry-clouds", openapi_extra=needs(Permission.STATEMENT_READ))
def industry(uow: Uow, month: str = "") -> Response:
    """行业云费用总览（《实施细则》第十六条第（三）项）。"""

    def collect(work: Work) -> Context:
        months, chosen = _choose(work, month)
        return _around(work, months, chosen) | {"found": overviews.bureau(work, chosen)}

    return page(uow, "chargeback/industry.html", collect)


@router.get("/industry-clouds/chart", openapi_extra=needs(Permission.STATEMENT_READ))
def industry_chart(uow: Uow, month: str = "") -> Response:
    """行业云与主云逐月费用（图表数据）。"""

    def collect(work: Work) -> Context:
        found = overviews.bureau(work, _choose(work, month)[1])
        sides = {
            unified: [
                sum(cloud.by_month[n] for cloud in found.clouds if cloud.unified is unified)
                for n in range(len(found.months))
            ]
            for unified in (True, False)
        }
        return _chart(
            "bar",
            [str(each) for each in found.months],
            (
                (money.UNIFIED, sides[True], "industry"),
                (money.OUTSIDE, sides[False], "industry"),
                (money.MAIN, found.main_by_month, "main"),
            ),
        )

    return JSONResponse(uow.look(collect))


@router.get("/settlements", openapi_extra=needs(Permission.SETTLEMENT_READ))
def settlements(uow: Uow) -> Response:
    """各运营方结算（《实施细则》第十五条）。"""
    return page(
        uow,
        "chargeback/settlements.html",
        lambda work: WORDS | {"tabs": tabs(work), "rows": overviews.settlements(work)},
    )


@router.get("/settlements/{settlement_id}", openapi_extra=needs(Permission.SETTLEMENT_READ))
def settlement(settlement_id: UUID, uow: Uow) -> Response:
    """一个运营方一个月的结算单。"""
    return page(
        uow,
        "chargeback/settlement.html",
        lambda work: WORDS | {"tabs": tabs(work), "found": overviews.settlement(work, settlement_id)},
    )


@router.get("/settlements/{settlement_id}/chart", openapi_extra=needs(Permission.SETTLEMENT_READ))
def settlement_chart(settlement_id: UUID, uow: Uow) -> Response:
    """运营方逐月结算（图表数据）。"""

    def collect(work: Work) -> Context:
        found = overviews.settlement(work, settlement_id)
        return _chart(
            "line",
            [str(row.month) for row in found.trend],
            ((money.SETTLED, [row.total_fen for row in found.trend], ""),),
        )

    return JSONResponse(uow.look(collect))


def _choose(work: Work, text: str) -> tuple[tuple[Month, ...], Month]:
    """The months there are, and the one asked for: without a wish the newest. Raises Invalid ``month.invalid``."""
    months = overviews.months(work)
    if not text:
        return months, next(iter(months), Month.of(work.now))
    return months, files.month_of(text)


def _around(work: Work, months: Sequence[Month], chosen: Month) -> Context:
    return WORDS | {"tabs": tabs(work), "months": months, "month": chosen}


def _chart(kind: str, names: Sequence[str], series: Sequence[tuple[str, Sequence[int], str]]) -> Context:
    shown = [{"name": name, "data": list(data), "stack": stack} for name, data, stack in series]
    return {"kind": kind, "names": list(names), "series": shown}


def _owed(rows: Sequence[PayerRow]) -> Context:
    top = rows[:_BARS]
    this, before = [row.total_fen for row in top], [row.before_fen for row in top]
    return _chart("rows", [row.name for row in top], ((money.THIS_MONTH, this, ""), (money.LAST_MONTH, before, "")))


def _sums(rows: Sequence[Sum]) -> Context:
    top = rows[:_BARS]
    this, before = [row.amount_fen for row in top], [row.before_fen for row in top]
    return _chart("rows", [row.name for row in top], ((money.THIS_MONTH, this, ""), (money.LAST_MONTH, before, "")))


def _trend(found: PayersOverview) -> Context:
    """Cities, the region and departments, stacked, month by month."""
    kinds = [kind for kind in money.PAYER_KINDS if any(point.kind == kind for point in found.trend)]
    return _chart(
        "bar", [str(m) for m in found.months], [(money.PAYER_KINDS[kind], _of(found, kind), "all") for kind in kinds]
    )


def _of(found: PayersOverview, kind: str) -> list[int]:
    return [sum(p.total_fen for p in found.trend if p.month == month and p.kind == kind) for month in found.months]


def _line(name: str, points: Sequence[TrendPoint]) -> Context:
    return _chart("line", [str(p.month) for p in points], ((name, [p.total_fen for p in points], ""),))

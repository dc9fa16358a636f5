"""Prices, payers and operators of the file that would change what closed months cost: each is refused with its place.

Called by: ``region.loader``, before anything is written. Must not: decide which those are: the database does, in
functions that its own guard uses as well (``closed_is_priced``). What it lets pass here it may refuse no more later.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import text

from broker.catalog.models import SubCloudOperator
from broker.db.base import Base
from broker.errors import Problem
from broker.pricing.models import Payer, TariffPrice
from broker.region.rows import Run

_CLOSED = text("""
SELECT CAST(upper(closed) AT TIME ZONE 'Asia/Shanghai' AS date) AS free_from
FROM (SELECT broker.closed_time() AS closed) AS books WHERE NOT isempty(closed)
""")


def _asked(table: str, function: str) -> str:
    return f"""
SELECT p.id FROM jsonb_populate_recordset(CAST(NULL AS broker.{table}), CAST(:rows AS jsonb)) AS p
WHERE broker.{function}(p, tstzmultirange(p.during))
"""  # noqa: S608 - our own constants


_ASKED: dict[type[Base], str] = {
    TariffPrice: _asked("tariff_price", "reprices_closed"),
    Payer: _asked("payer", "repays_closed"),
    SubCloudOperator: _asked("sub_cloud_operator", "reoperates_closed"),
}


_RENAMED = text("""
SELECT p.id, p.operator FROM broker.sub_cloud_operator p
WHERE p.id = ANY (CAST(:ids AS uuid[])) AND broker.reoperates_closed(p, tstzmultirange(p.during))
""")


def refuse(run: Run) -> None:
    """Note ``region.closed`` for each price, payer and operator that is to be added and reaches into closed months.

    And ``region.operator_closed`` where an operator's name is to be corrected under which closed months were settled.
    """
    free_from = run.session.execute(_CLOSED).scalar_one_or_none()
    if free_from is None:
        return
    for model, asked in _ASKED.items():
        rows = [_plain(row) for row in run.inserts[model]]
        for found in run.session.execute(text(asked), {"rows": json.dumps(rows)}).scalars():
            run.problems.append(
                Problem("region.closed", f"{run.places[found]}.from", params={"from": free_from.isoformat()})
            )
    renamed = [row["id"] for row in run.updates[SubCloudOperator] if "operator" in row]
    for row in run.session.execute(_RENAMED, {"ids": renamed}):
        said = {"from": free_from.isoformat(), "operator": row.operator}
        run.problems.append(Problem("region.operator_closed", run.places[row.id], params=said))


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """As JSON has it: a range as PostgreSQL writes it, everything else as text."""
    during = row["during"]
    begins, ends = ("" if end is None else end.isoformat() for end in (during.lower, during.upper))
    named = {name: value if value is None else str(value) for name, value in row.items()}
    return {**named, "during": f"[{begins},{ends})"}

"""How the tables of ``feed`` get into a statement: as parameters, or into working tables of the transaction.

Called by: ``rating_sql``, ``bill_sql``, ``facts``. Must not: know what is in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_PIECE = "place_n int, term_months int, meter text"
_KIND = "once boolean, charged_when_stopped boolean"
_TIME = "start_s bigint, end_s bigint"

SHAPES: Mapping[str, str] = {
    "place": "place_n int, spot_n int, unit_id uuid, sub_cloud_id uuid",
    "piece": f"line_n int, {_PIECE}, bill_n int, pool_n int, {_KIND}, payer_start_s bigint, {_TIME}, rule text,"
    " article text",
    "unpaid": f"{_PIECE}, {_KIND}, {_TIME}",
    "covered": f"{_PIECE}, once boolean",
    "head": "line_n int, payer_unit_id uuid, unit_id uuid, sub_cloud_id uuid, meter text, tariff_price_id uuid,"
    " price_cny numeric, per text, payer_rule text, article text",
    "rate": "month_s bigint, tariff_price_id uuid, numerator numeric, denominator numeric, numerator_64 bigint,"
    " denominator_64 bigint, most bigint",
    "granted": "month_s bigint, pool_n int, granted numeric",
    "supply": f"supply_n int, spot_n int, term_months int, meter text, {_KIND}, {_TIME}",
    "supply_covered": "spot_n int, term_months int, meter text, once boolean",
    "supply_head": "supply_n int, sub_cloud_id uuid, operator text, meter text, tariff_price_id uuid",
    "supplied_spot": f"spot_n int, sub_cloud_id uuid, operator text, {_TIME}",
    "paid": f"place_n int, payer_unit_id uuid, operator text, {_TIME}",
}
"""The columns of each table, in the order of ``feed``'s rows."""

CHARGES = ("piece", "unpaid", "covered", "head", "rate", "granted")
SUPPLIES = ("supply", "supply_covered", "supply_head", "supplied_spot")


def given(*names: str) -> str:
    """These tables as parameters of a statement: what stands between others in its WITH."""
    return "".join(f", {name} AS MATERIALIZED ({rows_of(name)})" for name in names)


def kept(table: str, *names: str) -> str:
    """The same, of the working tables of ``make``."""
    return "".join(f", {name} AS NOT MATERIALIZED (SELECT * FROM pg_temp.{table}_{name})" for name in names)  # noqa: S608


def make(table: str, *names: str) -> str:
    """Working tables for these, gone with the transaction."""
    gone = ", ".join(f"pg_temp.{table}_{name}" for name in names)
    return f"DROP TABLE IF EXISTS {gone} CASCADE;" + "".join(
        f"CREATE TEMP TABLE {table}_{name} ({SHAPES[name]}) ON COMMIT DROP;" for name in names
    )


def keep(table: str, name: str) -> str:
    """Fills a working table from the parameters."""
    return f"INSERT INTO pg_temp.{table}_{name} {rows_of(name)}"


def parameters(rows: Mapping[str, Sequence[tuple[Any, ...]]]) -> dict[str, Any]:
    """What ``given`` and ``keep`` ask for: an array for each column."""
    return {
        f"{name}_{column}": [row[at] for row in found]
        for name, found in rows.items()
        for at, (column, _) in enumerate(_columns(name))
    }


def rows_of(name: str) -> str:
    """A table's rows from the parameters."""
    arrays = ", ".join(f"CAST(:{name}_{column} AS {kind}[])" for column, kind in _columns(name))
    return f"SELECT * FROM unnest({arrays}) AS given({', '.join(column for column, _ in _columns(name))})"  # noqa: S608


def _columns(name: str) -> list[tuple[str, str]]:
    return [(column, kind) for column, _, kind in (one.strip().partition(" ") for one in SHAPES[name].split(","))]

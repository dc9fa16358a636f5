"""The SQL that rates whole months into a working table: a million resources in a minute.

Called by: ``chargeback.bill``. Must not: hold a rule of its own: the parts are those of ``rating_sql``.

The first statement reads all usage, and with it the snapshot that a close remembers, into a table; then the tables of
``feed`` are written beside it, and one statement rates. Of tables PostgreSQL knows the size: in one statement it takes
millions of rows for a few hundred, and joins and groups them accordingly.
"""

from __future__ import annotations

from broker.chargeback import given_sql
from broker.chargeback.rating_sql import LINES, MONTHS, OWED, PLACE, SPENT, used_rows
from broker.pricing.rules import LIMIT_FEN

_BILL = (
    "payer_unit_id, unit_id, resource_id, sub_cloud_id, meter, tariff_price_id, payer_rule, article, quantity_seconds,"
    " free_seconds, amount_fen"
)

ODD = f"(kind <> 'line' OR abs(amount_fen) > {LIMIT_FEN})"
"""What is not an ordinary line; an index finds these few among millions."""


KEPT = (*given_sql.CHARGES, *given_sql.SUPPLIES)


def make_usage(table: str) -> str:
    """Where usage stands, and where it can belong: gone with the transaction."""
    return f"""
DROP TABLE IF EXISTS pg_temp.{table}_used, pg_temp.{table}_place;
CREATE TEMP TABLE {table}_place (
  place_n int, spot_n int, unit_id uuid, unit_class text, sub_cloud_id uuid, tier text, operator text
) ON COMMIT DROP;
CREATE TEMP TABLE {table}_used (
  resource_id uuid, place_n int, spot_n int, term_months int, meter text, quantity bigint, stopped boolean,
  once boolean, begun_s bigint, month_s bigint, start_s bigint, end_s bigint
) ON COMMIT DROP
"""


def make(table: str) -> str:
    """Where a bill stands while it is made, and what it is made of: gone with the transaction.

    ``kind``: line, owed; or what is wrong: price, payer, settlement, once, before, below (``obstacles``).
    """
    return f"""
{given_sql.make(table, *KEPT)}
DROP TABLE IF EXISTS pg_temp.{table}, pg_temp.due, pg_temp.due_at;
CREATE TEMP TABLE {table} (
  usage_month date, payer_unit_id uuid, unit_id uuid, resource_id uuid, sub_cloud_id uuid, meter text,
  tariff_price_id uuid, payer_rule text, article text, quantity_seconds numeric, free_seconds numeric,
  amount_fen numeric, kind text NOT NULL, adjustment_id uuid
) ON COMMIT DROP;
CREATE INDEX ON pg_temp.{table} (kind) WHERE {ODD}
"""


def keep_usage(table: str) -> str:
    """Reads the usage of its parameters' months; answers with the snapshot it did that in (``pg_snapshot``)."""
    # The parts are our own constants, the tables' names our own words.
    return f"""
{MONTHS}{SPENT}{PLACE}, kept_place AS (INSERT INTO pg_temp.{table}_place SELECT * FROM place),
kept_used AS (INSERT INTO pg_temp.{table}_used {used_rows("JOIN")})
SELECT CAST(pg_current_snapshot() AS text)
"""  # noqa: S608 - as said


def rate(table: str) -> str:
    """Rates what was kept, both sides."""
    none = "NULL, NULL, quantity_seconds, 0"
    return f"""
INSERT INTO pg_temp.{table} (usage_month, {_BILL}, kind)
{MONTHS}{given_sql.kept(table, "used", *KEPT)}{LINES}{OWED}
SELECT m.first_day, {_BILL}, kind FROM (
  SELECT month_s, {_BILL}, 'line' FROM rated
  UNION ALL
  SELECT month_s, NULL, NULL, NULL, sub_cloud_id, meter, tariff_price_id, {none}, amount_fen, 'owed' FROM owed
  UNION ALL
  SELECT month_s, NULL, NULL, resource_id, NULL, meter, NULL, {none}, NULL, missing FROM gap
  UNION ALL
  SELECT month_s, NULL, NULL, NULL, sub_cloud_id, meter, NULL, {none}, NULL, 'settlement' FROM owed_gap
) AS b(month_s, {_BILL}, kind)
JOIN month m ON m.start_s = b.month_s
"""  # noqa: S608 - our own constants

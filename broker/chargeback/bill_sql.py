"""The SQL that rates whole months into a working table: a million resources in a minute.

Called by: ``chargeback.bill``. Must not: hold a rule of its own: the parts are those of ``rating_sql``.

The first statement reads all usage, and with it the snapshot that a close remembers, into a table; then the tables of
``feed`` are written beside it, those lines that are not explained by them (``joined``, ``ruled``), and one statement
rates. Of tables PostgreSQL knows the size: in one statement it takes millions of rows for a few hundred or the other
way round, and joins and groups them accordingly.
"""

from __future__ import annotations

from broker.chargeback import given_sql
from broker.chargeback.rating_sql import JOINED, LINES, MONTHS, OWED, PLACE, RULED, SPENT, used_rows
from broker.pricing.rules import LIMIT_FEN

_OF_HEAD = ("payer_unit_id", "unit_id", "sub_cloud_id", "meter", "tariff_price_id", "payer_rule", "article")
_OF_LINE = "resource_id, quantity_seconds, free_seconds, amount_fen"
_BILL = f"{', '.join(_OF_HEAD)}, {_OF_LINE}"

ODD = f"(kind <> 'line' OR abs(amount_fen) > {LIMIT_FEN})"
"""What is not an ordinary line; an index finds these few among millions."""

KEPT = (*given_sql.CHARGES, *given_sql.SUPPLIES)


def make_usage(table: str) -> str:
    """Where usage stands, and where it can belong: gone with the transaction."""
    return f"""
DROP TABLE IF EXISTS pg_temp.{table}_used, pg_temp.{table}_place;
CREATE TEMP TABLE {table}_place (
  place_n int, spot_n int, unit_id uuid, unit_class text, sub_cloud_id uuid, tier text
) ON COMMIT DROP;
CREATE TEMP TABLE {table}_used (
  resource_id uuid, place_n int, spot_n int, term_months int, meter text, quantity bigint, stopped boolean,
  once boolean, begun_s bigint, month_s bigint, start_s bigint, end_s bigint
) ON COMMIT DROP
"""


def make(table: str) -> str:
    """Where a bill stands while it is made, and what it is made of: gone with the transaction.

    ``kind``: line, owed; or what is wrong: price, payer, settlement, once, before, below (``obstacles``). An
    ordinary line has the number of its ``head`` (``line_n``), which says all that it shares with others, and no second
    copy of that: of millions a third is written and read. ``<table>_line`` shows every row whole.
    """
    of_head = ", ".join(f"{whole(name)} AS {name}" for name in _OF_HEAD)
    return f"""
{given_sql.make(table, *KEPT)}
DROP TABLE IF EXISTS pg_temp.{table}, pg_temp.{table}_joined, pg_temp.{table}_ruled CASCADE;
DROP TABLE IF EXISTS pg_temp.due, pg_temp.due_at;
CREATE TEMP TABLE {table}_joined (month_s bigint, resource_id uuid, line_n int, into_n int) ON COMMIT DROP;
CREATE TEMP TABLE {table}_ruled (
  month_s bigint, resource_id uuid, line_n int, payer_rule text, article text
) ON COMMIT DROP;
CREATE TEMP TABLE {table} (
  usage_month date, payer_unit_id uuid, unit_id uuid, resource_id uuid, sub_cloud_id uuid, meter text,
  tariff_price_id uuid, payer_rule text, article text, quantity_seconds numeric, free_seconds numeric,
  amount_fen numeric, kind text NOT NULL, adjustment_id uuid, line_n int, operator text
) ON COMMIT DROP;
CREATE INDEX ON pg_temp.{table} (kind) WHERE {ODD};
CREATE INDEX ON pg_temp.{table} (kind) WHERE line_n IS NULL;
CREATE TEMP VIEW {table}_line AS
SELECT b.usage_month, {of_head}, b.resource_id, b.quantity_seconds, b.free_seconds, b.amount_fen, b.kind,
       b.adjustment_id, b.operator
FROM pg_temp.{table} b LEFT JOIN pg_temp.{table}_head h ON h.line_n = b.line_n
"""  # noqa: S608 - as below


def whole(name: str) -> str:
    """What a line ``b`` of a bill says of itself, or its head ``h``."""
    return f"coalesce(b.{name}, h.{name})"


def keep_usage(table: str) -> str:
    """Reads the usage of its parameters' months; answers with the snapshot it did that in (``pg_snapshot``)."""
    # The parts are our own constants, the tables' names our own words.
    return f"""
{MONTHS}{SPENT}{PLACE}, kept_place AS (INSERT INTO pg_temp.{table}_place SELECT * FROM place),
kept_used AS (INSERT INTO pg_temp.{table}_used {used_rows("JOIN")})
SELECT CAST(pg_current_snapshot() AS text)
"""  # noqa: S608 - as said


def keep_joined(table: str) -> str:
    """Keeps which lines are one with another."""
    return f"""
INSERT INTO pg_temp.{table}_joined
{MONTHS}{given_sql.kept(table, "used", "piece")}{JOINED}
SELECT month_s, resource_id, line_n, into_n FROM joined
"""  # noqa: S608 - our own constants


def keep_ruled(table: str) -> str:
    """Keeps what stands on the few lines that their head does not explain."""
    return f"""
INSERT INTO pg_temp.{table}_ruled
WITH {given_sql.kept(table, "used", "piece", "joined").removeprefix(", ")}{RULED}
SELECT month_s, resource_id, line_n, payer_rule, article FROM ruled
"""  # noqa: S608 - our own constants


def rate(table: str) -> str:
    """Rates what was kept, both sides."""
    own = ", ".join(f"CASE WHEN line_n IS NULL THEN {name} END" for name in _OF_HEAD)
    nobody, unruled = "NULL, NULL", "NULL, NULL"
    return f"""
INSERT INTO pg_temp.{table} (usage_month, {_BILL}, kind, line_n, operator)
{MONTHS}{given_sql.kept(table, "used", "joined", "ruled", *KEPT)}{LINES}{OWED}
SELECT m.first_day, {_BILL}, kind, line_n, operator FROM (
  SELECT month_s, {own}, {_OF_LINE}, 'line', line_n, NULL FROM rated
  UNION ALL
  SELECT month_s, {nobody}, sub_cloud_id, meter, tariff_price_id, {unruled}, NULL, quantity_seconds, 0, amount_fen,
         'owed', NULL, operator
  FROM owed
  UNION ALL
  SELECT month_s, {nobody}, NULL, meter, NULL, {unruled}, resource_id, quantity_seconds, 0, NULL, missing, NULL, NULL
  FROM gap
  UNION ALL
  SELECT month_s, {nobody}, sub_cloud_id, meter, NULL, {unruled}, NULL, quantity_seconds, 0, NULL, 'settlement', NULL,
         operator
  FROM owed_gap
) AS b(month_s, {_BILL}, kind, line_n, operator)
JOIN month m ON m.start_s = b.month_s
"""  # noqa: S608 - our own constants

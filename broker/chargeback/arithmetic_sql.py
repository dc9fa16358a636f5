"""The arithmetic of a bill in SQL, once for both dialects: what of usage counts, what is free, the one rounding.

Called by: ``rating_sql`` (PostgreSQL) and ``columnar`` (DuckDB), which name usage ``u`` and a piece of time ``p`` and
have ``div`` and ``mod`` of whole numbers. Must not: hold a rule that ``rules`` decides, use ``/``, ``round()`` or a
binary type: NUMERIC division is inexact and its ``round()`` takes half away from zero.
"""

from __future__ import annotations

MEET = "p.start_s < u.end_s AND p.end_s > u.start_s"
COUNTS = f"{MEET} AND (p.charged_when_stopped OR NOT u.stopped)"
"""Where usage counts under a piece of time."""

HELD = "u.quantity * (least(u.end_s, p.end_s) - greatest(u.start_s, p.start_s))"
"""Unit-seconds of usage within a piece of time."""


def freed(segments: str, key: str, pool: str) -> str:
    """What is free of each ``key``: used up in order of start, then resource, by all that share a ``pool``.

    ``segments``: usage within pieces, with ``used`` (unit-seconds) and ``granted`` (the pool's size).
    """
    return f"""
  SELECT {key}, sum(greatest(0, least(used, granted - (up_to - used)))) AS free
  FROM (
    SELECT *, sum(used) OVER (PARTITION BY {pool} ORDER BY begun_s, resource_id, start_s ROWS UNBOUNDED PRECEDING)
                AS up_to
    FROM ({segments}) AS segment
  ) AS taken
  GROUP BY {key}
"""  # noqa: S608 - our own constants


def half_even(numerator: str, denominator: str, *, div: str = "div") -> str:
    """A fraction, not negative, as the nearest whole number, a tie as the even one.

    The whole number nearest from above the half, and one less if that was a tie and came out odd. ``div``: the name of
    the division of whole numbers, where the numbers are not NUMERIC.
    """
    twice, whole = f"2 * {numerator} + {denominator}", f"2 * {denominator}"
    return (
        f"{div}({twice}, {whole})"
        f" - CASE WHEN mod({twice}, {whole}) = 0 AND mod({div}({twice}, {whole}), 2) = 1 THEN 1 ELSE 0 END"
    )

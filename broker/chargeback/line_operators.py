"""Whose cloud a line's own seconds were used on, where the sub-cloud changed hands while its price held.

Called by: ``chargeback.views_sql``, for such lines alone. Must not: say which price holds (``rules`` does).

A general price names no operator, and its line may be of one operator's time, or of several'. Usage and prices are
asked again: prices of closed months stay, and usage that was taken back since leaves a line with no seconds to ask.
Who pays is not: of a resource that went to another payer in that month, all of its time counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from broker.chargeback import facts
from broker.chargeback.feed import Tenure, operated
from broker.chargeback.rules import FOR_EVER, Place, Price, by_meter, cut, epoch_seconds
from broker.pricing.months import Month

_Stretch = tuple[int, int, int]
"""A term committed to (0: none), and since when until when, in seconds."""

# Cut by the terms that were committed to.
_USED = text(f"""
SELECT DISTINCT s.resource_id, s.meter, x.term_months,
       CAST(extract(epoch FROM lower(x.during)) AS bigint) AS start_s,
       CAST(coalesce(extract(epoch FROM upper(x.during)), {FOR_EVER}) AS bigint) AS end_s
FROM broker.usage_span s
CROSS JOIN LATERAL (
  SELECT 0 AS term_months, unnest(tstzmultirange(tstzrange(s.start_at, s.end_at)) - coalesce(
           (SELECT range_agg(t.during) FROM broker.resource_term t WHERE t.resource_id = s.resource_id), '{{}}'))
         AS during
  UNION ALL
  SELECT t.term_months, t.during * tstzrange(s.start_at, s.end_at) FROM broker.resource_term t
  WHERE t.resource_id = s.resource_id AND t.during && tstzrange(s.start_at, s.end_at)
) AS x
WHERE s.resource_id = ANY (CAST(:resource_ids AS uuid[])) AND s.start_at < :until_at
  AND (s.end_at IS NULL OR s.end_at > :since_at)
""")  # noqa: S608 - our own constant


def named(session: Session, lines: Sequence[RowMapping]) -> dict[int, str]:
    """By line, its operators in the order in which they had the cloud; a line without any seconds is left out."""
    if not lines:
        return {}
    months = sorted({Month(line.usage_month.year, line.usage_month.month) for line in lines})
    since, until = months[0].start, months[-1].end
    prices = [one for one in facts.prices(session) if one.side == "charge"]
    meters = by_meter([one.price for one in prices])
    ids = [one.id for one in prices]
    clouds = operated(facts.tenures(session, since, until), epoch_seconds(since), epoch_seconds(until))
    used: dict[tuple[UUID, str], list[_Stretch]] = {}
    asked = {"resource_ids": sorted({line.resource_id for line in lines}), "since_at": since, "until_at": until}
    for row in session.execute(_USED, asked):
        used.setdefault((row.resource_id, row.meter), []).append((row.term_months, row.start_s, row.end_s))
    found = {}
    for line in lines:
        stretches = used.get((line.resource_id, line.meter), ())
        names = dict.fromkeys(
            tenure.operator
            for tenure in clouds.get(line.sub_cloud_id, ())
            if any(ids[number] == line.tariff_price_id for number in _prices_of(line, tenure, stretches, meters))
        )
        if names:
            found[line.id] = " + ".join(names)
    return found


def _prices_of(
    line: Any, tenure: Tenure, stretches: Sequence[_Stretch], meters: Mapping[str, Sequence[tuple[int, Price]]]
) -> set[int]:
    """The prices under which the line's usage of its month fell while the operator had the cloud."""
    month = Month(line.usage_month.year, line.usage_month.month)
    start = max(tenure.start, epoch_seconds(month.start))
    end = min(tenure.end, epoch_seconds(min(month.end, line.covers_until)))
    return {
        piece.number
        for term, begins, ends in stretches
        if max(start, begins) < min(end, ends)
        for piece in cut(
            meters,
            Place(line.meter, str(line.sub_cloud_id), tenure.operator, line.unit_class, term),
            max(start, begins),
            min(end, ends),
        )
    }

"""Reads what a bill is decided by (prices, payers, the tree, terms, operators), and gives a rating its parameters.

Called by: ``chargeback.repository``, ``bill``, ``export``. Must not: decide anything (``rules``), or read usage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from broker.chargeback import given_sql
from broker.chargeback.feed import Facts, Home, Named, Tenure, feed, operated, payers_at
from broker.chargeback.rating_sql import PLACE
from broker.chargeback.rules import FOR_EVER, PayerRow, Price, Seat, epoch_seconds
from broker.pricing.months import Month
from broker.pricing.rules import FREE_WHEN_STOPPED, charged_when_stopped
from broker.pricing.values import Per


def _time(alias: str = "") -> str:
    """The whole seconds a row begins and ends in, as ``rating_sql`` counts them."""
    bound = "coalesce(CAST(floor(extract(epoch FROM {}({}during))) AS bigint), {})"
    return f"{bound.format('lower', alias, 0)} AS start_s, {bound.format('upper', alias, FOR_EVER)} AS end_s"


_PRICES = text(f"""
SELECT id, side, meter, coalesce(CAST(sub_cloud_id AS text), '') AS sub_cloud, coalesce(operator, '') AS operator,
       coalesce(unit_class, '') AS unit_class, term_months, price_cny, per, discount, free_quantity,
       charged_when_stopped, {_time()}
FROM broker.tariff_price WHERE NOT isempty(during) ORDER BY id
""")  # noqa: S608 - our own constants
_PLACES = text(f"WITH nothing AS (SELECT){PLACE} SELECT * FROM place")  # noqa: S608 - our own constants
_DURING = "during && tstzrange(:since_at, :until_at)"
_SEATS = text(f"""
SELECT unit_id, ancestors, {_time()} FROM broker.unit_period
WHERE unit_id = ANY (CAST(:unit_ids AS uuid[])) AND {_DURING}
""")  # noqa: S608 - our own constants
_PAYERS = text(f"""
SELECT unit_id, tier, sub_cloud_id, payer_unit_id, rule, article, {_time()} FROM broker.payer
WHERE {_DURING} ORDER BY id
""")  # noqa: S608 - our own constants
_TENURES = text(f"SELECT sub_cloud_id, operator, {_time()} FROM broker.sub_cloud_operator WHERE {_DURING}")  # noqa: S608
_TERMS = "SELECT DISTINCT term_months FROM broker.resource_term"


class Reading:
    """The facts of one rating: ``usage`` are the parameters of what reads it, ``given`` those of what it is joined to.

    Prices are read at once; where usage can belong, and who pays there, when ``at`` asks.
    """

    def __init__(
        self, session: Session, months: Iterable[Month], until: datetime, resource_ids: Sequence[UUID] | None = None
    ) -> None:
        self._session = session
        until = until.replace(microsecond=0)  # usage is counted in whole seconds
        self.months = sorted(month for month in months if month.start < until)
        since = self.months[0].start if self.months else until
        self._prices = prices(session)
        every = [one.price for one in self._prices]
        charged = {price.meter for price in every if price.charged_when_stopped}
        self.usage: dict[str, Any] = {
            "first_days": [month.first_day for month in self.months],
            "month_starts": [epoch_seconds(month.start) for month in self.months],
            "month_ends": [epoch_seconds(month.end) for month in self.months],
            "since_at": since,
            "until": epoch_seconds(until),
            "until_at": until,
            "resource_ids": None if resource_ids is None else list(resource_ids),
            "shared_meters": sorted({price.meter for price in every if price.free_quantity}),
            # What no tariff charges a stopped server for is not read.
            "free_when_stopped": [meter for meter in FREE_WHEN_STOPPED if meter not in charged],
        }
        self._since, self._until = epoch_seconds(since), epoch_seconds(until)

    def homes(self) -> list[Home]:
        """Where the usage of the resources asked for can belong, as it is known now."""
        return _homes(self._session, _PLACES, self.usage)

    def kept_homes(self, table: str) -> list[Home]:
        """The same, of usage that stands in a working table."""
        return _homes(self._session, text(f"SELECT * FROM pg_temp.{table}_place"), {})  # noqa: S608 - our own word

    def given(self, homes: Sequence[Home], read: Callable[[str], str] = str) -> dict[str, Any]:
        """The tables of ``feed`` for these homes, as parameters."""
        rows = feed(self._facts(homes, read), homes, self.months, self._since, self._until)
        places = [(home.place_n, home.spot_n, home.unit_id, home.sub_cloud_id) for home in homes]
        return given_sql.parameters({"place": places, **rows})

    def paid(self, homes: Sequence[Home]) -> dict[str, Any]:
        """Who pays when at these homes, and when nobody does, cut by who operates the sub-cloud, as parameters."""
        facts = self._facts(homes, str)
        clouds = operated(facts.tenures, self._since, self._until)
        cloud_of = {home.place_n: home.sub_cloud_id for home in homes}
        rows: list[tuple[Any, ...]] = []
        for place_n, pieces in payers_at(facts, homes, self._since, self._until).items():
            stretches: list[tuple[UUID | None, int, int]] = []
            over = self._since
            for piece in pieces:
                stretches.append((None, over, piece.start))
                stretches.append((facts.payers[piece.number].payer_unit_id, piece.start, piece.end))
                over = piece.end
            stretches.append((None, over, self._until))
            rows += [
                (place_n, payer, tenure.operator, max(start, tenure.start), min(end, tenure.end))
                for payer, start, end in stretches
                for tenure in clouds.get(cloud_of[place_n], ())
                if max(start, tenure.start) < min(end, tenure.end)
            ]
        return given_sql.parameters({"paid": rows})

    def _facts(self, homes: Sequence[Home], read: Callable[[str], str]) -> Facts:
        when = {"since_at": self.usage["since_at"], "until_at": self.usage["until_at"]}
        units = {"unit_ids": sorted({home.unit_id for home in homes})}
        seats = [Seat(*row) for row in self._session.execute(_SEATS, when | units)]
        payers = [PayerRow(*row) for row in self._session.execute(_PAYERS, when)]
        terms = self._session.scalars(text(read(_TERMS)))
        operators = tenures(self._session, when["since_at"], when["until_at"])
        return Facts(self._prices, payers, seats, sorted({0, *terms}), operators)


def tenures(session: Session, since: datetime, until: datetime) -> list[Tenure]:
    """Who operated which sub-cloud when within [since, until)."""
    return [Tenure(*row) for row in session.execute(_TENURES, {"since_at": since, "until_at": until})]


def _homes(session: Session, statement: TextClause, values: Mapping[str, Any]) -> list[Home]:
    rows = session.execute(statement, values)
    return [Home(r.place_n, r.spot_n, r.unit_id, r.unit_class, r.sub_cloud_id, r.tier) for r in rows]


def prices(session: Session) -> list[Named]:
    """Every price version of both sides."""
    return [
        Named(
            row.id,
            row.side,
            Price(
                place=str(row.id),
                meter=row.meter,
                sub_cloud=row.sub_cloud,
                price_cny=row.price_cny,
                per=Per(row.per),
                valid_from="",
                start=row.start_s,
                end=row.end_s,
                operator=row.operator,
                unit_class=row.unit_class,
                term_months=row.term_months,
                discount=row.discount,
                free_quantity=row.free_quantity,
                charged_when_stopped=charged_when_stopped(row.meter, said=row.charged_when_stopped),
            ),
        )
        for row in session.execute(_PRICES)
    ]

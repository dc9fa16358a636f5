"""How amounts, prices and instants are written for people, on pages and in documents alike. Pure.

Called by: the console's filters, ``api.documents``. Must not: use a float for money.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from api.texts import console
from broker.pricing.rules import half_even

LOCAL = ZoneInfo("Asia/Shanghai")


def yuan(fen: int | None) -> str:
    """Whole fen as 元 with two decimals: ``123456`` -> ``1,234.56``."""
    return console.NO_NAME if fen is None else f"{Decimal(fen).scaleb(-2):,.2f}"


def percent(change: int, before: int) -> str:
    """A change in percent with its sign and one decimal, half-even; a dash where there was nothing before."""
    if before <= 0:
        return console.NO_NAME
    tenths = half_even(change * 1000, before)
    whole, rest = divmod(abs(tenths), 10)
    return f"{'-' if tenths < 0 else '+' if tenths else ''}{whole}.{rest}%"


def price(value: object) -> str:
    """A price in 元 without needless zeros, at least two decimals: ``5000`` -> ``5,000.00``."""
    text = f"{Decimal(str(value)):f}"
    whole, _, rest = text.partition(".")
    return f"{int(whole):,}.{rest.rstrip('0'):0<2}"


def when(moment: datetime | str | None) -> str:
    """An instant to the minute in Asia/Shanghai."""
    if moment is None:
        return console.NO_NAME
    return aware(moment).astimezone(LOCAL).strftime("%Y-%m-%d %H:%M")


def last_day(moment: datetime | str | None) -> str:
    """The last day before an instant at which something has ended, as people say it: ``2027-06-30（含）``."""
    if moment is None:
        return console.NO_NAME
    return f"{(aware(moment) - timedelta(microseconds=1)).astimezone(LOCAL).date()}（含）"


def second(moment: datetime | str | None) -> str:
    """An instant to the second in Asia/Shanghai, where a bill turns on it."""
    return console.NO_NAME if moment is None else aware(moment).astimezone(LOCAL).strftime("%Y-%m-%d %H:%M:%S")


def aware(moment: datetime | str) -> datetime:
    """An instant with its zone; one without is in UTC."""
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found if found.tzinfo else found.replace(tzinfo=UTC)

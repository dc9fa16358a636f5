"""Reads a tariff file (YAML) for the rating of files.

Called by: ``chargeback.offline``. Must not: let YAML turn a price into a float or a time into something else: it reads
the text of every value as it stands in the file, with its line. What it does not know it refuses: a discount that is
passed over is a wrong bill.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import yaml

from broker.chargeback.problems import Problems
from broker.chargeback.rules import Price, check_prices, epoch_seconds
from broker.chargeback.span_file import read_decimal
from broker.errors import Invalid, Problem
from broker.pricing.rules import charged_when_stopped
from broker.pricing.values import Per

LIMIT_BYTES = 16 * 1024 * 1024
PRICE_DECIMALS = 8
FACTOR_DECIMALS = 4
TERM_LIMIT_MONTHS = 1200
"""As in the database; a longer one would outweigh whom a price is for (``rules.Price.distance``)."""
PRICE_LIMIT_CNY = Decimal(10) ** 10
"""As the database keeps prices: NUMERIC(18, 8)."""

_NEEDED = ("meter", "price_cny", "per", "valid_from")
_KEYS = frozenset(
    {
        *_NEEDED,
        *("valid_to", "sub_cloud", "operator", "unit_class", "term_months"),
        *("discount", "free_quantity", "charged_when_stopped"),
    }
)
_FRACTION = re.compile(r"[.,][0-9]*[1-9]")
_TRUTH = {"true": True, "false": False, "": None}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})

Entry = dict[str, tuple[str, str]]
"""Key -> text and place."""


def read_tariff(path: Path, problems: Problems) -> tuple[Price, ...]:
    """The price versions of a file, in its order. Notes what is wrong with one (``tariff.*``), with its line.

    Raises Invalid for a file that cannot be read at all: ``tariff.too_large``, ``tariff.not_utf8``, ``tariff.broken``,
    ``tariff.shape``, ``tariff.empty``.
    """
    prices = tuple(
        price
        for place, entry in _entries(_root(path), path.name, problems)
        if (price := _price(entry, place, problems)) is not None
    )
    check_prices(prices, problems)
    return prices


def _root(path: Path) -> yaml.Node:
    if path.stat().st_size > LIMIT_BYTES:
        raise Invalid([Problem("tariff.too_large", path.name, params={"limit_bytes": LIMIT_BYTES})])
    try:
        node = yaml.compose(path.read_bytes().decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise Invalid([Problem("tariff.not_utf8", path.name)]) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Invalid([Problem("tariff.broken", f"{path.name}:{line}", params={"detail": error.problem})]) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise Invalid([Problem("tariff.broken", path.name, params={"detail": str(error)[:200]})]) from error
    if node is None:
        raise Invalid([Problem("tariff.empty", path.name)])
    return node


def _entries(root: yaml.Node, name: str, problems: Problems) -> Iterator[tuple[str, Entry]]:
    """Each price's keys and values as text."""
    listed = None
    for key, value in _pairs(root, name, problems):
        if key == "prices":
            listed = value
        else:
            problems.add("tariff.key_unknown", _place(name, value), key=key)
    if not isinstance(listed, yaml.SequenceNode):
        raise Invalid([Problem("tariff.shape", _place(name, listed or root), params={"expected": "prices: [...]"})])
    if not listed.value:
        raise Invalid([Problem("tariff.empty", _place(name, listed))])
    for node in listed.value:
        entry: Entry = {}
        for key, value in _pairs(node, name, problems):
            if key not in _KEYS:
                problems.add("tariff.key_unknown", _place(name, value), key=key)
            elif not isinstance(value, yaml.ScalarNode):
                raise Invalid([Problem("tariff.shape", _place(name, value), params={"expected": key})])
            else:
                entry[key] = (value.value, _place(name, value))
        yield _place(name, node), entry


def _pairs(node: yaml.Node, name: str, problems: Problems) -> Iterator[tuple[str, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise Invalid([Problem("tariff.shape", _place(name, node), params={"expected": "key: value"})])
    seen: set[str] = set()
    for key, value in node.value:
        word = str(key.value)
        if word in seen:
            problems.add("tariff.key_twice", _place(name, key), key=word)
        seen.add(word)
        yield word, value


def _price(entry: Entry, place: str, problems: Problems) -> Price | None:
    missing = [key for key in _NEEDED if entry.get(key, ("", ""))[0] in _NULLS]
    if missing:
        problems.add("tariff.key_missing", place, key=missing[0])
        return None
    price = _money(*entry["price_cny"], problems)
    start = _time(*entry["valid_from"], problems)
    end_text, end_place = entry.get("valid_to", ("", place))
    end = None if end_text in _NULLS else _time(end_text, end_place, problems)
    discount, free = _factor(entry, problems), _free(entry, problems)
    per, per_place = entry["per"]
    term, stopped = _word(entry, "term_months"), _word(entry, "charged_when_stopped").lower()
    both_places = _word(entry, "sub_cloud") and _word(entry, "operator")
    term_fits = bool(re.fullmatch(r"[0-9]{0,4}", term)) and int(term or 0) <= TERM_LIMIT_MONTHS
    if per not in set(Per):
        problems.add("tariff.per", per_place, value=per[:40])
    elif not term_fits or stopped not in _TRUTH or both_places:
        problems.add("tariff.condition", place)
    elif end is not None and start is not None and end <= start:
        problems.add("tariff.ends_before_start", end_place)
    wrong = per not in set(Per) or stopped not in _TRUTH or not term_fits or both_places
    if wrong or price is None or start is None or discount is None or free is None:
        return None
    if (end is None and end_text not in _NULLS) or (end is not None and end <= start):
        return None
    return Price(
        place=place,
        meter=entry["meter"][0],
        sub_cloud=_word(entry, "sub_cloud"),
        operator=_word(entry, "operator"),
        unit_class=_word(entry, "unit_class"),
        term_months=int(term or 0),
        discount=discount,
        free_quantity=free,
        charged_when_stopped=charged_when_stopped(entry["meter"][0], said=_TRUTH[stopped]),
        price_cny=price,
        per=Per(per),
        valid_from=entry["valid_from"][0],
        start=start,
        end=end,
    )


def _money(text: str, place: str, problems: Problems) -> Decimal | None:
    price = read_decimal(text)
    if price is None:
        problems.add("tariff.price", place, value=text[:40])
    elif price < 0:
        problems.add("tariff.price_negative", place, value=text[:40])
    elif len(text.partition(".")[2].rstrip("0")) > PRICE_DECIMALS:
        problems.add("tariff.price_decimals", place, value=text[:40], decimals=PRICE_DECIMALS)
    elif price >= PRICE_LIMIT_CNY:
        problems.add("tariff.price_limit", place, value=text[:40])
    else:
        return price
    return None


def _word(entry: Entry, key: str) -> str:
    text = entry.get(key, ("", ""))[0]
    return "" if text in _NULLS else text


def _factor(entry: Entry, problems: Problems) -> Decimal | None:
    """What the price is multiplied by: above 0, at most 1, four decimals; 0.9 is nine tenths."""
    text, place = entry.get("discount", ("", ""))
    if text in _NULLS:
        return Decimal(1)
    factor = read_decimal(text)
    if factor is None or not 0 < factor <= 1 or len(text.partition(".")[2].rstrip("0")) > FACTOR_DECIMALS:
        problems.add("tariff.discount", place, value=text[:40], decimals=FACTOR_DECIMALS)
        return None
    return factor


def _free(entry: Entry, problems: Problems) -> Decimal | None:
    """Unit-hours or unit-months that are free for each payer and month."""
    text, place = entry.get("free_quantity", ("", ""))
    if text in _NULLS:
        return Decimal(0)
    quantity = read_decimal(text)
    if quantity is None or quantity < 0:
        problems.add("tariff.free_quantity", place, value=text[:40])
        return None
    return quantity


def _time(text: str, place: str, problems: Problems) -> int | None:
    """A whole second; the text must say its offset."""
    try:
        at = datetime.fromisoformat(text)
        # Of a fraction Python keeps six digits, in the time and in the offset; the text has them all.
        instant = None if at.tzinfo is None or _FRACTION.search(text) else at.astimezone(UTC)
    except (ValueError, OverflowError):  # the second: in UTC it lies before the first year or after the last
        instant = None
    if instant is None:
        problems.add("tariff.time", place, value=text[:40])
        return None
    return epoch_seconds(instant)


def _place(name: str, node: yaml.Node) -> str:
    return f"{name}:{node.start_mark.line + 1}"

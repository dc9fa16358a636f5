"""Rates a file of spans in DuckDB: millions of lines in seconds, exact in 128-bit integers.

Called by: ``chargeback.offline``. Must not: report what is wrong with a row (``span_file`` and ``rating`` do, with its
line), or give an amount it is not sure of. What is out of the ordinary, a row that does not parse, a price that is
missing, spans that overlap, a number that might not fit, is set aside, with all of its resource's meter: the slow exact
path rates it, and only it, and hands back its lines. A file that cannot be read at all raises ``NotOrdinary``.

The rules are ``rules``, the arithmetic is ``arithmetic_sql``: those of the database. Integers in DuckDB raise when they
overflow, ``//`` and ``%`` on HUGEINT are exact; tests prove both.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from broker.chargeback import broken_rows
from broker.chargeback.arithmetic_sql import COUNTS, HELD, MEET, freed, half_even
from broker.chargeback.broken_rows import BrokenRow
from broker.chargeback.rating import Line, plain
from broker.chargeback.rules import Place, Price, by_meter, cut, epoch_seconds, grants
from broker.chargeback.span_file import COLUMNS, OPTIONAL, STATES
from broker.chargeback.span_source import (
    NotOrdinary,
    csv_source,
    instant,
    named_plainly,
    parquet_source,
    quoted,
    text_of,
)
from broker.pricing.months import Month
from broker.pricing.rules import EXACT, LIMIT_FEN, fen_per_unit_second
from broker.pricing.values import Per

MEMORY_LIMIT = "1200MB"
"""DuckDB's own; beyond it, it works on disk, beside the result."""

ROOM = 2**124
"""No product may reach this, nor with what it is divided by: HUGEINT ends at 2**127, and rounding takes twice of it."""

SMALL = 2**62
"""What stays below is computed in 64 bits, which is several times as fast."""

BATCH = 400_000
"""So many spans the slow path takes at a time: it holds them in memory."""

_QUANTITY = r"0{0,9}[0-9]{1,15}(\.[0-9]{1,9}0{0,15})?"
MOST_DECIMALS = 9
_TERM = r"[0-9]{0,4}"


@dataclass(frozen=True, slots=True)
class Counts:
    """What was read and written."""

    spans: int
    lines: int
    payers: int
    amount_fen: int


class Columns:
    """One run on one file: ``rate`` first, then of ``odd_rows`` what they come to to ``add``, then ``write``."""

    odd = 0
    """Spans set aside."""

    spans = 0
    """How many there are, odd ones too."""

    broken: Sequence[BrokenRow] = ()
    """Rows that are none: with any of these the file is refused, and they are told with whatever else is wrong."""

    batches = 0
    certain = True
    """False: of what was set aside something must be wrong; if the slow path finds nothing, it has to rate it all."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, prices: Sequence[Price], month: Month) -> None:
        self._connection = connection
        self._prices = prices
        self._month = month
        self._start = epoch_seconds(month.start)
        self._end = self._start + month.seconds

    def rate(self, spans: Path, *, parquet: bool) -> None:
        """Read, set aside what is not ordinary, and rate the rest. Raises NotOrdinary."""
        self._read(spans, parquet=parquet)
        self.spans = self._one("SELECT count(*) FROM span")
        self._places()
        self._find_odd()
        self._line()
        self._amounts()

    def odd_rows(self, batch: int | None = None) -> Iterator[tuple[int, list[str]]]:
        """What was set aside, or one batch of it, as the file has it: each row's number, from 1, and its values.

        To be read to its end before anything else is asked.
        """
        mine = "" if batch is None else f"WHERE hash(resource_id, meter) % {self.batches} = {batch}"
        values = ", ".join(self._text.get(name, "''") for name in (*COLUMNS, *OPTIONAL))
        key = ", ".join(self._text[name] for name in ("resource_id", "meter"))
        rows = self._do(f"""
            SELECT n, {values} FROM (SELECT *, row_number() OVER () AS n FROM {self._source})
            WHERE ({key}) IN (SELECT (resource_id, meter) FROM suspect {mine}) ORDER BY n""")
        while block := rows.fetchmany(10_000):
            yield from ((number, row) for number, *row in block)

    def add(self, lines: Sequence[Line], folder: Path) -> None:
        """Take in the lines of what was set aside."""
        path = folder.joinpath(".odd.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
            for x in lines:
                number, seconds = x.price_number - 1, plain(x.quantity_seconds)
                writer.writerow((x.payer_id, x.city_code, x.resource_id, x.meter, number, seconds, x.amount_fen))
        names = ("payer_id", "city_code", "resource_id", "meter", "number", "quantity_seconds", "amount_fen")
        every = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
        if lines:
            self._do(f"""
                INSERT INTO amount BY NAME
                SELECT payer_id, coalesce(city_code, '') AS city_code, resource_id, meter,
                       CAST(number AS INTEGER) AS number, quantity_seconds, CAST(amount_fen AS HUGEINT) AS amount_fen
                FROM read_csv({quoted(str(path))}, columns = {{{every}}}, header = false, delim = ',', quote = '"',
                              escape = '"', auto_detect = false, max_line_size = 1048576)""")
        path.unlink()

    def write(self, lines: Path, totals: Path) -> Counts:
        """The two files, sorted, and what is in them."""
        self._do(f"""
            COPY (SELECT a.payer_id, a.resource_id, a.meter, p.valid_from, a.quantity_seconds, a.amount_fen,
                         a.number + 1 AS price
                  FROM amount a JOIN price p USING (number)
                  ORDER BY a.payer_id, a.resource_id, a.meter, p.start_s, a.number)
            TO {quoted(str(lines))} (FORMAT csv, HEADER)""")
        self._do(f"""
            COPY (SELECT payer_id, nullif(city_code, '') AS city_code, sum(amount_fen) AS amount_fen FROM amount
                  GROUP BY payer_id, city_code ORDER BY payer_id, city_code NULLS FIRST)
            TO {quoted(str(totals))} (FORMAT csv, HEADER)""")
        found = self._do("SELECT count(*), count(DISTINCT payer_id), coalesce(sum(amount_fen), 0) FROM amount")
        lines_, payers, fen = found.fetchall()[0]
        return Counts(self.spans, lines_, payers, int(fen))

    def _read(self, path: Path, *, parquet: bool) -> None:
        with named_plainly(path) as plain:
            if parquet:
                self._keep(*parquet_source(self._connection, path, plain))
                return
            try:
                self._keep(*csv_source(path, plain))
            except duckdb.Error:
                self._keep(*csv_source(path, plain, reject=True))
                self.broken = broken_rows.find(self._connection, path)

    def _keep(self, source: str, types: dict[str, str]) -> None:
        text = {name: f"coalesce({text_of(name, kind)}, '')" for name, kind in types.items()}
        self._source, self._text = source, text
        quantity, start, end = text["quantity"], text["start_at"], text["end_at"]
        self._scale = self._one(
            f"SELECT coalesce(max(CASE WHEN digits <= {MOST_DECIMALS} THEN digits END), 0) FROM ("
            f"SELECT CASE WHEN NOT contains(q, '.') THEN 0 WHEN length(q) - instr(q, '.') <= {MOST_DECIMALS}"
            f" THEN length(q) - instr(q, '.') ELSE length(rtrim(q, '0')) - instr(q, '.') END AS digits"
            f" FROM (SELECT {quantity} AS q FROM {source}))"
        )
        free = max((_decimals(price.free_quantity) for price in self._prices), default=0)
        self._scale = max(self._scale, free)
        if self._scale > MOST_DECIMALS:
            raise NotOrdinary
        number = f"TRY_CAST({quantity} AS DECIMAL(27, {self._scale}))"
        most = self._one(f"SELECT coalesce(CAST(max({number}) * {10**self._scale} AS HUGEINT), 0) FROM {source}")
        self._most = most
        self._whole = "BIGINT" if 0 <= most * self._month.seconds < SMALL else "HUGEINT"
        optional = {name: text.get(name, "''") for name in OPTIONAL}
        # What no price asks for does not tell places apart.
        asked = {name for price in self._prices for name in _CONDITIONS if getattr(price, name)}
        self._names = ", ".join(("meter", *(name for name in _CONDITIONS if name in asked)))
        term = f"TRY_CAST(coalesce(nullif({optional['term_months']}, ''), '0') AS INTEGER)"
        ordinary_term = f"regexp_full_match({optional['term_months']}, '{_TERM}')"
        where = {"sub_cloud": text["sub_cloud"], **optional, "term_months": term}
        where |= {name: "0" if name == "term_months" else "''" for name in _CONDITIONS if name not in asked}
        # A DECIMAL cannot be spelled otherwise; it may only be negative.
        typed = types["quantity"].startswith("DECIMAL")
        ordinary = f"{number} >= 0" if typed else f"regexp_full_match({quantity}, '{_QUANTITY}')"
        self._do(f"""
            CREATE TEMP TABLE span AS
            SELECT {text["resource_id"]} AS resource_id, {text["payer_id"]} AS payer_id,
                   {text["city_code"]} AS city_code,
                   {text["meter"]} AS meter, {where["sub_cloud"]} AS sub_cloud, {where["operator"]} AS operator,
                   {where["unit_class"]} AS unit_class, {where["term_months"]} AS term_months,
                   {optional["state"]} = 'stopped' AS stopped, {optional["state"]} = 'once' AS once,
                   CAST({number} * {10**self._scale} AS {self._whole}) AS quantity,
                   epoch_us({instant(start)}) // 1000000 AS begun_s,
                   greatest(begun_s, {self._start}) AS start_s,
                   epoch_us({instant(end)}) // 1000000 AS over_s, least(over_s, {self._end}) AS end_s,
                   {ordinary} AND {optional["state"]} IN {STATES}
                     AND resource_id <> '' AND payer_id <> '' AND meter <> '' AND {number} IS NOT NULL
                     AND begun_s IS NOT NULL AND over_s >= begun_s AND {ordinary_term} AS ordinary
            FROM {source}""")

    def _places(self) -> None:
        """Which price holds where and when: worked out by ``rating.cut`` for each place that the file names."""
        rows = self._do(
            "SELECT DISTINCT meter, sub_cloud, operator, unit_class, term_months FROM span"
            " WHERE start_s < end_s AND ordinary"
        ).fetchall()
        places = [Place(*row) for row in rows]
        meters = by_meter(self._prices)
        pieces, gaps = [], []
        for place in places:
            covered = 0
            for piece in cut(meters, place, self._start, self._end):
                charged = self._prices[piece.number].charged_when_stopped
                pieces.append((*place, piece.start, piece.end, piece.number, charged))
                covered += piece.end - piece.start
            if covered < self._month.seconds:
                gaps.append(place)
        cuts = "start_s BIGINT, end_s BIGINT, number INTEGER, charged_when_stopped BOOLEAN"
        self._table("piece", f"{_PLACE}, {cuts}", pieces)
        self._table("gap_place", _PLACE, gaps)
        fractions = [self._fraction(price) for price in self._prices]
        free = {n: (grant.series, self._pool(grant.pool)) for n, grant in grants(self._prices, self._month).items()}
        self._table(
            "price",
            "number INTEGER, valid_from VARCHAR, start_s BIGINT, numerator HUGEINT, denominator HUGEINT,"
            " series INTEGER, pool HUGEINT, once BOOLEAN",
            [
                (n, price.valid_from, price.start, *fractions[n], *free.get(n, (None, 0)), price.per is Per.ONCE)
                for n, price in enumerate(self._prices)
            ],
        )

    def _fraction(self, price: Price) -> tuple[int, int]:
        """Fen for one scaled unit-second, as numerator and denominator."""
        cny = EXACT.multiply(price.price_cny, price.discount)
        fen = fen_per_unit_second(cny, price.per, self._month.seconds) * Fraction(1, 10**self._scale)
        if fen.numerator >= ROOM or fen.denominator >= ROOM:
            raise NotOrdinary
        return fen.numerator, fen.denominator

    def _pool(self, free: Decimal) -> int:
        pool = Fraction(free) * 10**self._scale
        if pool.denominator != 1 or pool >= ROOM:
            raise NotOrdinary
        return int(pool)

    def _find_odd(self) -> None:
        """Set aside what is not ordinary, with all that it could change: its resource's meter, what shares its pool."""
        self._do("CREATE TEMP TABLE suspect (resource_id VARCHAR, meter VARCHAR)")
        numerator = max((self._fraction(price)[0] for price in self._prices), default=0)
        most = (ROOM - 1) // max(numerator * self._month.seconds, 1)
        self._suspect("span u WHERE ordinary IS NOT TRUE" + (f" OR quantity > {most}" if self._most > most else ""))
        # By a hash of the two names, which sorts faster: two that share one can only make a run too careful.
        self._suspect("""span u WHERE hash(resource_id, meter) IN (SELECT key FROM (
              SELECT key, start_s, lag(key) OVER spans AS before_key, lag(end_s) OVER spans AS before_s
              FROM (SELECT hash(resource_id, meter) AS key, start_s, end_s FROM span WHERE start_s < end_s)
              WINDOW spans AS (ORDER BY key, start_s, end_s)
            ) WHERE before_key = key AND before_s > start_s)""")
        self._suspect(f"""span u JOIN gap_place g USING ({self._names})
            WHERE u.start_s < u.end_s AND u.end_s - u.start_s > coalesce((
              SELECT sum(least(u.end_s, p.end_s) - greatest(u.start_s, p.start_s)) FROM piece p
              WHERE p.meter = u.meter AND p.sub_cloud = u.sub_cloud AND p.operator = u.operator
                AND p.unit_class = u.unit_class AND p.term_months = u.term_months AND {MEET}), 0)""")
        self._suspect(f"""span u JOIN piece p USING ({self._names}) JOIN price USING (number)
            WHERE {MEET} AND u.start_s < u.end_s
              AND (u.once <> price.once OR price.once) AND NOT (price.once AND u.over_s - u.begun_s = 1)""")
        self._set_aside()

    def _suspect(self, rows: str) -> bool:
        """Note the resources' meters of ``rows`` (``u``); whether there were any that were not noted."""
        before = self._one("SELECT count(*) FROM suspect")
        self._do(f"""
            INSERT INTO suspect SELECT DISTINCT resource_id, meter FROM (SELECT u.resource_id, u.meter FROM {rows})
            EXCEPT SELECT resource_id, meter FROM suspect""")
        return self._one("SELECT count(*) FROM suspect") > before

    def _set_aside(self) -> None:
        free = ", ".join(sorted({quoted(self._prices[n].meter) for n in grants(self._prices, self._month)}))
        shared = f"""span u WHERE u.meter IN ({free}) AND (u.payer_id, u.meter) IN (
            SELECT o.payer_id, o.meter FROM span o JOIN suspect USING (resource_id, meter))"""
        pooled = False
        while free and self._suspect(shared):
            pooled = True
        self.odd = self._one("SELECT count(*) FROM span JOIN suspect USING (resource_id, meter)")
        self.batches = 0 if not self.odd else 1 if pooled else 1 + self.odd // BATCH
        if self.odd:
            self._do("DELETE FROM span WHERE (resource_id, meter) IN (SELECT resource_id, meter FROM suspect)")

    def _impossible(self, rows: str) -> None:
        """Something of ``rows`` must be wrong: the slow path is to say what."""
        if self._suspect(rows):
            self.certain, self.batches = False, max(self.batches, 1)

    def _line(self) -> None:
        joined = f"FROM span u JOIN piece p USING ({self._names})"
        self._do(f"""
            CREATE TEMP TABLE line AS
            SELECT u.payer_id, u.resource_id, u.meter, p.number,
                   arg_max(u.city_code, least(u.end_s, p.end_s)) AS city_code,
                   CAST(sum({HELD}) AS {self._whole}) AS used
            {joined} WHERE u.start_s < u.end_s AND {COUNTS}
            GROUP BY u.payer_id, u.resource_id, u.meter, p.number""")
        segments = f"""
            SELECT u.payer_id, u.resource_id, p.number, price.series, price.pool AS granted, {HELD} AS used,
                   u.begun_s, greatest(u.start_s, p.start_s) AS start_s
            {joined} JOIN price USING (number) WHERE price.pool > 0 AND u.start_s < u.end_s AND {COUNTS}"""
        free = freed(segments, key="payer_id, resource_id, number", pool="payer_id, series")
        some = "true" if any(price.free_quantity for price in self._prices) else "false"
        whole = f"* REPLACE (CAST(free AS {self._whole}) AS free)"
        self._do(f"CREATE TEMP TABLE free_of AS SELECT {whole} FROM ({free}) WHERE {some}")

    def _amounts(self) -> None:
        most = self._one("SELECT coalesce(max(used), 0) FROM line")
        fractions = [self._fraction(price) for price in self._prices]
        largest = max((most * numerator + denominator for numerator, denominator in fractions), default=0)
        if largest >= ROOM:
            raise NotOrdinary
        whole_type = "BIGINT" if self._whole == "BIGINT" and largest < SMALL else "HUGEINT"
        places = self._scale
        if places:
            whole, rest = f"used // {10**places}", f"used % {10**places}"
            digits = f"rtrim(lpad(CAST({rest} AS VARCHAR), {places}, '0'), '0')"
            shown = f"CAST({whole} AS VARCHAR) || CASE WHEN {rest} = 0 THEN '' ELSE '.' || {digits} END"
        else:
            shown = "CAST(used AS VARCHAR)"
        self._do(f"""
            CREATE TEMP TABLE amount AS
            SELECT payer_id, city_code, resource_id, meter, number, {shown} AS quantity_seconds,
                   {half_even("exact", "denominator")} AS amount_fen
            FROM (
              SELECT l.*, CAST(p.denominator AS {whole_type}) AS denominator,
                     CAST(l.used - coalesce(f.free, 0) AS {whole_type}) * CAST(p.numerator AS {whole_type}) AS exact
              FROM line l JOIN price p USING (number) LEFT JOIN free_of f USING (payer_id, resource_id, number)
            )""")
        self._impossible(f"amount u WHERE amount_fen > {LIMIT_FEN}")

    def _table(self, name: str, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
        self._do(f"CREATE TEMP TABLE {name} ({columns})")
        if rows:
            marks = ", ".join("?" for _ in rows[0])
            self._connection.executemany(f"INSERT INTO {name} VALUES ({marks})", [list(row) for row in rows])

    def _one(self, question: str) -> int:
        return int(self._do(question).fetchall()[0][0])

    def _do(self, statement: str) -> duckdb.DuckDBPyConnection:
        return self._connection.execute(statement)


_CONDITIONS = ("sub_cloud", "operator", "unit_class", "term_months")
_PLACE = "meter VARCHAR, sub_cloud VARCHAR, operator VARCHAR, unit_class VARCHAR, term_months INTEGER"


@contextmanager
def columns(prices: Sequence[Price], month: Month, folder: Path) -> Iterator[Columns]:
    """A DuckDB in memory, which may spill into ``folder``. What it cannot do it raises as NotOrdinary."""
    with TemporaryDirectory(dir=folder, prefix=".rate-spill-") as spill, duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        connection.execute(f"SET temp_directory = {quoted(spill)}")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("SET enable_progress_bar = false")
        for name, operator in (("div", "//"), ("mod", "%")):  # as PostgreSQL calls them
            connection.execute(f"CREATE TEMP MACRO {name}(a, b) AS a {operator} b")
        try:
            yield Columns(connection, prices, month)
        except duckdb.Error as error:
            raise NotOrdinary from error


def _decimals(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0

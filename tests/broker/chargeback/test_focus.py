"""FOCUS 1.2: what was billed in the words of the FinOps specification, checked where its validator does not look."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from broker.chargeback import focus_file, statements
from broker.chargeback.focus import COLUMNS, PLACES, Writer, check, list_fen, quantity, text_of, yuan
from broker.chargeback.views import ExplainedLine, StatementSummary
from broker.db.base import new_id
from broker.errors import Invalid
from broker.metering.models import OneOffItem
from broker.pricing.models import TariffPrice
from broker.pricing.rules import half_even
from broker.tenancy.values import SYSTEM
from tests.broker.chargeback.billed import Billed, bill, close
from tests.broker.chargeback.money_worlds import CITY
from tests.broker.chargeback.small_region import HOUR, NOW, START

Statements = list[tuple[StatementSummary, list[ExplainedLine]]]


@pytest.fixture
def billed(session: Session) -> Billed:
    return bill(session)


@pytest.fixture
def closed(billed: Billed) -> Statements:
    """The closed statements of October with their lines, one of an item charged once."""
    billed.session.add_all(
        [
            TariffPrice(
                side="charge", meter="migration", price_cny=Decimal(5000), per="once", version="once", source="test",
                during=Range(START, None),
            ),
            OneOffItem(resource_id=billed.city.id, meter="migration", quantity=2, at=START + HOUR),
        ]
    )  # fmt: skip
    billed.session.flush()
    out = []
    for one in close(billed.session).values():
        head = statements.summary(billed.session, one, actor=SYSTEM, now=NOW)
        out.append((head, list(statements.every_line(billed.session, one, actor=SYSTEM, now=NOW))))
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def city(closed: Statements) -> tuple[Writer, list[ExplainedLine]]:
    head, lines = next((h, x) for h, x in closed if h.head.payer_unit_id == CITY)
    return Writer(head), lines


def test_a_month_is_written_with_one_billing_account_a_payer(closed: Statements, tmp_path: Path) -> None:
    """Rows sum to what was billed, account by account; numbers are decimals and times UTC."""
    target = tmp_path / "focus.csv"
    written = focus_file.write(target, closed)
    found = rows(target)
    assert (written.rows, written.accounts) == (len(found), 3)
    assert list(found[0]) == list(COLUMNS)
    for head, _ in closed:
        mine = [row for row in found if row["BillingAccountId"] == f"GX-{head.payer_code}"]
        assert sum(Decimal(row["BilledCost"]) for row in mine) == yuan(head.head.total_fen)
        assert {row["InvoiceId"] for row in mine} == {f"GX-{head.payer_code}-2026-10-v{head.head.version}"}
    assert {row["BillingPeriodStart"] for row in found} == {"2026-09-30T16:00:00Z"}
    numbers = [row[name] for row in found for name in COLUMNS if COLUMNS[name].startswith("DECIMAL") and row[name]]
    assert not any("E" in number for number in numbers)
    # A column of whole numbers alone would be read as integers, which the specification's quantities are not.
    assert all("." in number for number in numbers)
    assert [text_of(Decimal(number)) for number in ("720", "1E+3", "0.50")] == ["720.0", "1000.0", "0.50"]
    assert "CN-450100" in {row["RegionId"] for row in found}
    [item] = [row for row in found if row["SkuMeter"] == "migration"]
    named = ("ChargeCategory", "ChargeFrequency", "EffectiveCost", "ConsumedQuantity", "PricingQuantity", "PricingUnit")
    assert [item[name] for name in named] == ["Usage", "One-Time", "10000.00", "2.0", "2.0", "Units"]
    assert list(tmp_path.iterdir()) == [target]


def test_an_interim_statement_is_no_invoice(billed: Billed, tmp_path: Path) -> None:
    """Before the close nobody owes anything."""
    one = billed.statements[CITY]
    head = statements.summary(billed.session, one, actor=SYSTEM, now=NOW)
    lines = statements.every_line(billed.session, one, actor=SYSTEM, now=NOW)
    focus_file.write(tmp_path / "focus.csv", [(head, lines)])
    assert {row["InvoiceId"] for row in rows(tmp_path / "focus.csv")} == {""}


def test_parquet_holds_the_same_with_exact_types(closed: Statements, tmp_path: Path) -> None:
    """Money is DECIMAL and not DOUBLE; instants are instants."""
    focus_file.write(tmp_path / "focus.csv", closed)
    focus_file.write(tmp_path / "focus.parquet", closed, form="parquet")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(f"SELECT * FROM '{tmp_path / 'focus.parquet'}'")
        names = [column[0] for column in found.description]
        parquet = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    assert names == list(COLUMNS)
    for mine, other in zip(parquet, rows(tmp_path / "focus.csv"), strict=True):
        for name, kind in COLUMNS.items():
            if kind.startswith("DECIMAL"):
                assert isinstance(mine[name], Decimal)
                assert mine[name] == Decimal(other[name])
            else:
                assert text_of(mine[name]) == other[name]


def test_the_ascii_view_says_the_same_in_ascii(closed: Statements, tmp_path: Path) -> None:
    """The official validator wants ASCII where the specification does not: names give way to codes."""
    focus_file.write(tmp_path / "focus.csv", closed, ascii_only=True)
    focus_file.write(tmp_path / "full.csv", closed)
    text = (tmp_path / "focus.csv").read_text(encoding="utf-8")
    assert text.isascii()
    assert not (tmp_path / "full.csv").read_text(encoding="utf-8").isascii()
    numbers = [name for name in COLUMNS if COLUMNS[name] != "VARCHAR"]
    for plain, full in zip(rows(tmp_path / "focus.csv"), rows(tmp_path / "full.csv"), strict=True):
        assert [plain[name] for name in numbers] == [full[name] for name in numbers]


def test_a_discount_and_a_free_quantity_show_in_list_and_contracted_cost(closed: Statements) -> None:
    """The list cost is the same quantity at the list price; what was free is not in the pricing quantity."""
    writer, lines = city(closed)
    line = next(x for x in lines if x.per == "hour")
    free = Decimal(3600 * 10)
    cheaper = dataclasses.replace(line, discount=Decimal("0.9"), free_seconds=free)
    paid = (cheaper.quantity_seconds - free) * cheaper.price_cny * 9
    fen = half_even(int(paid * 10**9), 360 * 10**9)
    row = writer.row(dataclasses.replace(cheaper, amount_fen=fen))
    assert list(check(row, "x")) == []
    assert row["ListCost"] == yuan(list_fen(cheaper))
    assert row["ContractedUnitPrice"] == cheaper.price_cny * Decimal("0.9")
    assert Decimal(str(row["ConsumedQuantity"])) - Decimal(str(row["PricingQuantity"])) == 10


def test_late_usage_is_a_correction_and_a_decision_an_adjustment(closed: Statements) -> None:
    """A difference about an earlier month is a Correction; what a person decided has no quantity and no price."""
    writer, lines = city(closed)
    late = dataclasses.replace(lines[0], usage_month=START.date().replace(month=8, day=1))
    assert writer.row(late)["ChargeClass"] == "Correction"
    row = writer.row(dataclasses.replace(lines[0], adjustment_id=new_id(), amount_fen=-500))
    assert (row["ChargeCategory"], row["ChargeClass"], row["PricingQuantity"]) == ("Adjustment", "Correction", None)
    assert row["BilledCost"] == Decimal("-5.00")
    assert list(check(row, "x")) == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"ListCost": Decimal("999.00")}, "focus.cost"),
        ({"ContractedCost": Decimal("0.01")}, "focus.cost"),
        ({"EffectiveCost": Decimal("0.01")}, "focus.cost"),
        ({"ListUnitPrice": None}, "focus.price"),
        ({"ChargePeriodEnd": START - timedelta(days=90)}, "focus.period"),
        ({"BillingPeriodEnd": START}, "focus.period"),
    ],
)
def test_the_checks_find_what_the_validator_does_not(closed: Statements, wrong: dict[str, Any], code: str) -> None:
    """Cost is price times quantity within one rounding; every period ends after it starts."""
    writer, lines = city(closed)
    row = writer.row(lines[0])
    assert list(check(row, "x")) == []
    assert {problem.code for problem in check({**row, **wrong}, "x")} == {code}


def test_a_fen_too_much_is_found_and_no_file_is_left(closed: Statements, tmp_path: Path) -> None:
    """The smallest possible mistake: refused with the line's name, and a statement that does not sum up as well."""
    head, lines = next((h, x) for h, x in closed if h.head.payer_unit_id == CITY)
    wrong = [dataclasses.replace(lines[0], amount_fen=lines[0].amount_fen + 1), *lines[1:]]
    with pytest.raises(Invalid) as refused:
        focus_file.write(tmp_path / "focus.csv", [(head, wrong)])
    assert {problem.code for problem in refused.value.problems} == {"focus.cost", "focus.total"}
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 10**16), st.sampled_from([1, 3600, 28 * 86400, 31 * 86400]))
def test_a_quantity_is_exact_to_its_last_place(seconds: int, per: int) -> None:
    """Half-even at twelve decimals: never off by more than half a unit of the last."""
    shown = quantity(Decimal(seconds), per)
    assert abs(int(shown.scaleb(PLACES)) * per - seconds * 10**PLACES) * 2 <= per


def test_the_sample_for_the_official_validator(closed: Statements) -> None:
    """Where ``GUIYUN_FOCUS_SAMPLE`` names a folder, a closed month is left there (see tools/focus-validate)."""
    folder = os.environ.get("GUIYUN_FOCUS_SAMPLE")
    for head, lines in closed:
        for line in lines:
            assert json.loads(str(Writer(head).row(line)["Tags"]))["payer_rule"] == line.payer_rule
    if folder:
        focus_file.write(Path(folder) / "focus.csv", closed, ascii_only=True)
        focus_file.write(Path(folder) / "focus.parquet", closed, form="parquet", ascii_only=True)

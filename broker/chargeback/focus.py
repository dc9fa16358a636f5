"""A statement's line as a row of FOCUS 1.2 (FinOps Open Cost and Usage Specification, Cost and Usage dataset). Pure.

Called by: ``chargeback.focus_file``. Must not: read the database, use a float, or leave a row unchecked.

One billing account for each payer. The region provides and invoices (the specification has both be one where the money
goes to the invoicing one), the operator publishes; the sub-cloud is the availability zone, its city the region. There
are no commitment discounts, but a rule of the validator reads their status: that column is there and empty. Costs are
the fen that were billed; the list cost is the same quantity at the list price, rounded the same way. What is charged
once is used once: a Purchase is paid ahead for charges to come, and has no effective cost of its own.

Quantities have ``PLACES`` decimals, so ``check`` allows what that and one rounding may do, and nothing more: it finds
what the official validator does not (a cost that is not price times quantity, an end before its start).

In the ASCII view (the validator wants ASCII where the specification does not) names give way to codes, and what is left
is escaped. Codes of digits only are prefixed, or they would be read as numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from broker.chargeback.views import ExplainedLine, Standing, StatementSummary
from broker.errors import Problem
from broker.pricing.months import Month
from broker.pricing.rules import EXACT, FEN_PER_CNY, SECONDS_PER_HOUR, half_even

PLACES = 12
HALF_A_FEN = Decimal("0.005")
CURRENCY = "CNY"
REGION_CODE = "450000"
"""The division of what belongs to no city: the main cloud and industry clouds."""

Value = str | Decimal | datetime | None

COLUMNS: Mapping[str, str] = {
    "AvailabilityZone": "VARCHAR",
    "BilledCost": "DECIMAL(18,2)",
    "BillingAccountId": "VARCHAR",
    "BillingAccountName": "VARCHAR",
    "BillingAccountType": "VARCHAR",
    "BillingCurrency": "VARCHAR",
    "BillingPeriodEnd": "TIMESTAMPTZ",
    "BillingPeriodStart": "TIMESTAMPTZ",
    "ChargeCategory": "VARCHAR",
    "ChargeClass": "VARCHAR",
    "ChargeDescription": "VARCHAR",
    "ChargeFrequency": "VARCHAR",
    "ChargePeriodEnd": "TIMESTAMPTZ",
    "ChargePeriodStart": "TIMESTAMPTZ",
    "CommitmentDiscountStatus": "VARCHAR",
    "ConsumedQuantity": "DECIMAL(38,12)",
    "ConsumedUnit": "VARCHAR",
    "ContractedCost": "DECIMAL(18,2)",
    "ContractedUnitPrice": "DECIMAL(38,12)",
    "EffectiveCost": "DECIMAL(18,2)",
    "InvoiceId": "VARCHAR",
    "InvoiceIssuerName": "VARCHAR",
    "ListCost": "DECIMAL(18,2)",
    "ListUnitPrice": "DECIMAL(38,12)",
    "PricingCategory": "VARCHAR",
    "PricingCurrency": "VARCHAR",
    "PricingCurrencyContractedUnitPrice": "DECIMAL(38,12)",
    "PricingCurrencyEffectiveCost": "DECIMAL(18,2)",
    "PricingCurrencyListUnitPrice": "DECIMAL(38,12)",
    "PricingQuantity": "DECIMAL(38,12)",
    "PricingUnit": "VARCHAR",
    "ProviderName": "VARCHAR",
    "PublisherName": "VARCHAR",
    "RegionId": "VARCHAR",
    "RegionName": "VARCHAR",
    "ResourceId": "VARCHAR",
    "ResourceName": "VARCHAR",
    "ResourceType": "VARCHAR",
    "ServiceCategory": "VARCHAR",
    "ServiceName": "VARCHAR",
    "ServiceSubcategory": "VARCHAR",
    "SkuId": "VARCHAR",
    "SkuMeter": "VARCHAR",
    "SkuPriceDetails": "VARCHAR",
    "SkuPriceId": "VARCHAR",
    "SubAccountId": "VARCHAR",
    "SubAccountName": "VARCHAR",
    "SubAccountType": "VARCHAR",
    "Tags": "VARCHAR",
}
"""Columns in the file's order, and what they are in Parquet."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a meter is in FOCUS's words."""

    category: str
    subcategory: str
    name: str
    unit: str


_OTHER = Service("Other", "Other (Other)", "Other Service", "Units")
_SERVICES = (
    ("vcpu_", Service("Compute", "Virtual Machines", "Cloud Server", "vCPU")),
    ("memory_gib", Service("Compute", "Virtual Machines", "Cloud Server", "GiB")),
    ("gpu", Service("Compute", "Virtual Machines", "Cloud Server", "GPU")),
    ("block_gib_", Service("Storage", "Block Storage", "Cloud Disk", "GiB")),
    ("object_gib", Service("Storage", "Object Storage", "Object Storage", "GiB")),
    ("ipv6_segment", Service("Networking", "Network Infrastructure", "IPv6 Segment", "Segment")),
    ("public_ip", Service("Networking", "Network Connectivity", "Public Address", "Address")),
)
_TYPES = {"server": "Virtual Machine", "volume": "Block Volume", "segment": "Network Segment"}


def service_of(meter: str) -> Service:
    """What a meter is; one that nobody knows is Other."""
    return next((service for prefix, service in _SERVICES if meter.startswith(prefix)), _OTHER)


@dataclass(frozen=True, slots=True)
class Writer:
    """Makes the rows of one statement."""

    statement: StatementSummary
    ascii_only: bool = False

    def row(self, line: ExplainedLine) -> dict[str, Value]:
        """One line as a row, in the order of ``COLUMNS``."""
        found = self._account() | self._charge(line) | self._price(line) | self._resource(line)
        return {name: self._plain(found[name]) for name in COLUMNS}

    def _plain(self, value: Value) -> Value:
        if self.ascii_only and isinstance(value, str):
            return value.encode("ascii", "backslashreplace").decode("ascii")
        return value

    def _name(self, name: str, code: str) -> str:
        return code if self.ascii_only or not name else name

    def _account(self) -> dict[str, Value]:
        one, month = self.statement, self.statement.month
        code = f"GX-{one.payer_code}"
        owed = one.standing is Standing.CLOSED
        return {
            "BillingAccountId": code,
            "BillingAccountName": self._name(one.head.payer_name, code),
            "BillingAccountType": "Payer",
            "BillingCurrency": CURRENCY,
            "BillingPeriodStart": month.start,
            "BillingPeriodEnd": month.end,
            "InvoiceId": f"{code}-{month}-v{one.head.version}" if owed else None,
            "InvoiceIssuerName": self._name(one.issuer_name, f"GX-{one.issuer_code}"),
        }

    def _charge(self, line: ExplainedLine) -> dict[str, Value]:
        start, end = charge_period(line, self.statement.head.covers_until)
        once = line.per == "once"
        category = "Adjustment" if line.adjustment_id else "Usage"
        late = line.usage_month != self.statement.head.month
        tags = {
            "article": line.article or "own rule",
            "cloud": self._name(line.sub_cloud_name, line.sub_cloud_code),
            "cloud_tier": line.tier,
            "information_system": self._name(line.system_name, line.system_code) or "none",
            "payer_rule": line.payer_rule,
            "usage_month": line.usage_month.strftime("%Y-%m"),
        }
        unit = f"GX-{line.unit_code}"
        return {
            "ChargeCategory": category,
            "ChargeClass": "Correction" if late or line.adjustment_id else None,
            "ChargeDescription": f"{service_of(line.meter).name}: {line.meter}, tariff {line.tariff_version}",
            "CommitmentDiscountStatus": None,
            "ChargeFrequency": "One-Time" if once or line.adjustment_id else "Usage-Based",
            "ChargePeriodStart": start,
            "ChargePeriodEnd": end,
            "SubAccountId": unit,
            "SubAccountName": self._name(line.unit_name, unit),
            "SubAccountType": "Unit",
            "Tags": json.dumps(tags, ensure_ascii=self.ascii_only, sort_keys=True),
        }

    def _price(self, line: ExplainedLine) -> dict[str, Value]:
        billed = yuan(line.amount_fen)
        costs: dict[str, Value] = dict.fromkeys(
            ("BilledCost", "EffectiveCost", "ContractedCost", "PricingCurrencyEffectiveCost"), billed
        )
        if line.adjustment_id:  # a person's decision: it has no quantity and no price
            nothing = (
                "PricingQuantity", "PricingUnit", "ConsumedQuantity", "ConsumedUnit", "ListUnitPrice",
                "ContractedUnitPrice", "PricingCurrencyListUnitPrice", "PricingCurrencyContractedUnitPrice",
                "PricingCategory", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId",
            )  # fmt: skip
            return costs | dict.fromkeys(nothing) | {"ListCost": billed, "PricingCurrency": CURRENCY}
        once, unit = line.per == "once", service_of(line.meter).unit
        price = line.price_cny.normalize(EXACT)
        contracted = EXACT.multiply(price, line.discount).normalize(EXACT)
        return costs | {
            "ListCost": yuan(list_fen(line)),
            "ListUnitPrice": price,
            "ContractedUnitPrice": contracted,
            "PricingCurrencyListUnitPrice": price,
            "PricingCurrencyContractedUnitPrice": contracted,
            "PricingCurrency": CURRENCY,
            "PricingQuantity": quantity(priced_seconds(line), seconds_of(line)),
            "PricingUnit": "Units" if once else f"{unit}-{'Hours' if line.per == 'hour' else 'Months'}",
            "ConsumedQuantity": quantity(line.quantity_seconds, 1 if once else SECONDS_PER_HOUR),
            "ConsumedUnit": "Units" if once else f"{unit}-Hours",
            "PricingCategory": "Standard",
            "SkuId": line.meter,
            "SkuMeter": line.meter,
            "SkuPriceId": str(line.tariff_price_id),
            "SkuPriceDetails": json.dumps(
                {
                    "x_Discount": f"{line.discount:f}",
                    "x_FreeUnitSeconds": f"{line.free_seconds:f}",
                    "x_TariffVersion": line.tariff_version,
                },
                ensure_ascii=self.ascii_only,
            ),
        }

    def _resource(self, line: ExplainedLine) -> dict[str, Value]:
        service = service_of(line.meter)
        region = f"CN-{line.division_code or REGION_CODE}"
        return {
            "ProviderName": self._name(self.statement.issuer_name, f"GX-{self.statement.issuer_code}"),
            "PublisherName": self._name(line.operator, line.sub_cloud_code),
            "AvailabilityZone": line.sub_cloud_code,
            "RegionId": region,
            "RegionName": self._name(line.division_name or self.statement.issuer_name, region),
            "ResourceId": line.resource_number,
            "ResourceName": self._name(line.resource_name, line.resource_number),
            "ResourceType": _TYPES.get(line.kind, line.kind),
            "ServiceCategory": service.category,
            "ServiceName": service.name,
            "ServiceSubcategory": service.subcategory,
        }


def charge_period(line: ExplainedLine, covers_until: datetime) -> tuple[datetime, datetime]:
    """When a line's price version held in its month of use, up to where the statement counts."""
    month = Month(line.usage_month.year, line.usage_month.month)
    start = month.start if line.price_from is None else max(month.start, line.price_from)
    end = month.end if line.price_to is None else min(month.end, line.price_to)
    return start, min(end, covers_until) if start < covers_until else end


def seconds_of(line: ExplainedLine) -> int:
    """How many seconds of use one unit of the price is for."""
    month = Month(line.usage_month.year, line.usage_month.month)
    return {"hour": SECONDS_PER_HOUR, "once": 1}.get(line.per, month.seconds)


def priced_seconds(line: ExplainedLine) -> Decimal:
    """The unit-seconds that cost something."""
    return EXACT.subtract(line.quantity_seconds, line.free_seconds)


def list_fen(line: ExplainedLine) -> int:
    """What the priced quantity costs without the discount, rounded once, half-even."""
    numerator, denominator = EXACT.multiply(line.price_cny, priced_seconds(line)).as_integer_ratio()
    return half_even(numerator * FEN_PER_CNY, denominator * seconds_of(line))


def quantity(unit_seconds: Decimal, seconds: int) -> Decimal:
    """Unit-seconds in units of ``seconds``, with ``PLACES`` decimals, half-even."""
    numerator, denominator = unit_seconds.as_integer_ratio()
    return Decimal(half_even(numerator * 10**PLACES, denominator * seconds)).scaleb(-PLACES, EXACT).normalize(EXACT)


def yuan(fen: int) -> Decimal:
    """Whole fen as yuan with two decimals, exactly."""
    return Decimal(fen).scaleb(-2, EXACT)


def text_of(value: Value) -> str:
    """A value as the specification writes it: decimals without exponent, UTC to the second, nothing for null.

    A whole number has its point too: a column of nothing else (a month of whole hours) would be read as integers, which
    quantities, prices and costs must not be.
    """
    match value:
        case None:
            return ""
        case Decimal():
            text = f"{value:f}"
            return text if "." in text else f"{text}.0"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case _:
            return value


def check(row: Mapping[str, Value], place: str) -> Iterator[Problem]:
    """What is wrong with a row and the official validator would not see; nothing for a good one."""
    for name in ("ChargePeriod", "BillingPeriod"):
        start, end = row[f"{name}Start"], row[f"{name}End"]
        if not (isinstance(start, datetime) and isinstance(end, datetime) and start < end):
            yield Problem("focus.period", place, params={"column": name})
    for kind in ("List", "Contracted"):
        cost, price, amount = row[f"{kind}Cost"], row[f"{kind}UnitPrice"], row["PricingQuantity"]
        if not (isinstance(cost, Decimal) and isinstance(price, Decimal) and isinstance(amount, Decimal)):
            if row["ChargeCategory"] != "Adjustment":
                yield Problem("focus.price", place, params={"column": f"{kind}Cost"})
            continue
        # A correction is the difference of two amounts, each rounded once.
        roundings = 2 if row["ChargeClass"] == "Correction" else 1
        most = EXACT.add(
            EXACT.multiply(HALF_A_FEN, Decimal(roundings)), EXACT.multiply(abs(price), Decimal(1).scaleb(-PLACES))
        )
        if abs(EXACT.subtract(EXACT.multiply(price, amount), cost)) > most:
            yield Problem("focus.cost", place, params={"column": f"{kind}Cost"})
    if row["BilledCost"] != row["EffectiveCost"]:
        yield Problem("focus.cost", place, params={"column": "EffectiveCost"})

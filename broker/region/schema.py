"""The shape of a region file: strict models, one for each section. What refers to what is checked in ``region.checks``.

Called by: ``region.reading``. Must not: read files or the database.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
from ipaddress import IPv6Network
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from broker.lifecycle import Role
from broker.tenancy.rules import EMAIL

FORMAT = "guiyun-region/1"

T = TypeVar("T")
Rows = Annotated[tuple[T, ...], Field(strict=False, max_length=20_000)]
"""A list in the file; its entries stay strict."""


def _text(value: Any) -> Any:
    """450100 without quotes is a number to YAML and a code to everybody else."""
    return str(value) if type(value) is int else value


def _decimal(value: Any) -> Any:
    """From text or a whole number. A float has lost its last digits already and is refused."""
    try:
        return Decimal(value) if isinstance(value, str | int) and not isinstance(value, bool) else value
    except InvalidOperation as error:
        raise ValueError("not a decimal number") from error


def _network(value: Any) -> Any:
    return IPv6Network(value) if isinstance(value, str) else value


def _no_control(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("control characters, or spaces at an end")
    return value


def _some(value: tuple[T, ...]) -> tuple[T, ...]:
    # Not a minimal length in the schema: that would also complain of a list whose only entry is wrong.
    if not value:
        raise ValueError("an empty list")
    return value


Code = Annotated[str, BeforeValidator(_text), Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Block = Annotated[str, BeforeValidator(_text), Field(pattern=r"^[0-9a-f]{2}$")]
Text = Annotated[str, AfterValidator(_no_control), Field(min_length=1, max_length=200)]
Article = Annotated[str, Field(pattern=r"^(Art\. [0-9]{1,3}(\([0-9]{1,2}\))?)?$")]
Meter = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Price = Annotated[Decimal, BeforeValidator(_decimal), Field(ge=0, le=1_000_000, decimal_places=8)]
Prefix = Annotated[IPv6Network, BeforeValidator(_network)]
Percent = Annotated[int, Field(ge=0, le=90)]
Cores = Annotated[int, Field(ge=1, le=10_000_000)]
Gib = Annotated[int, Field(ge=1, le=10_000_000_000)]
UnitKind = Literal["region", "department", "city", "county", "office"]
Tier = Literal["main", "industry", "city"]
ZoneCode = Literal["shared", "private", "internet"]
Arch = Literal["x86_64", "aarch64"]
BlockClass = Literal["ssd", "hdd"]
RoleName = Annotated[Role, BeforeValidator(lambda v: Role(v) if isinstance(v, str) else v)]
LimitClass = Literal[
    "vcpu",
    "vcpu_x86_64",
    "vcpu_aarch64",
    "memory_gib",
    "memory_gib_x86_64",
    "memory_gib_aarch64",
    "block_gib_ssd",
    "block_gib_hdd",
    "ipv6_64",
]


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)


class _Dated(_Entry):
    """A rule that holds from a day on, until the next one for the same thing."""

    since: date | None = Field(default=None, alias="from")


class Zone(_Entry):
    code: ZoneCode
    name: Text
    routing_domain: Code


class UnitEntry(_Entry):
    code: Code
    kind: UnitKind
    name: Text
    parent: Code | None = None
    block: Block | None = None


class UnitChange(_Entry):
    """From a day on: another name, another parent, or both; or merged ``into`` another unit for good."""

    unit: Code
    since: date = Field(alias="from")
    name: Text | None = None
    parent: Code | None = None
    into: Code | None = None


class Units(_Entry):
    files: Rows[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+\.csv$")]] = ()
    more: Rows[UnitEntry] = ()
    changes: Rows[UnitChange] = ()


class ImageEntry(_Entry):
    code: Code
    name: Text
    cpu_arch: Arch
    provider_name: Text | None = None
    """What the clouds call it; by default as we do."""


class ServerOffering(_Entry):
    cpu_arch: Arch
    max_vcpu: Annotated[int, Field(ge=1, le=4096)]
    max_memory_gib: Annotated[int, Field(ge=1, le=65_536)]
    max_system_disk_gib: Annotated[int, Field(ge=1, le=65_536)]


class VolumeOffering(_Entry):
    block_class: BlockClass
    max_gib: Annotated[int, Field(ge=1, le=1_048_576)]


class OfferingSet(_Entry):
    servers: Rows[ServerOffering] = ()
    volumes: Rows[VolumeOffering] = ()
    segments: bool = False


class Authority(_Dated):
    """Which units decide, assess and deliver for a sub-cloud."""

    decides: Code
    assesses: Code
    delivers: Code


class ComputeInventory(_Entry):
    """Physical cores and memory of one CPU architecture; ``vcpu_ratio`` vCPU are given out per core."""

    cores: Cores
    vcpu_ratio: Annotated[Decimal, BeforeValidator(_decimal), Field(ge=1, le=32, decimal_places=4)] = Decimal(1)
    memory_gib: Gib
    reserved_percent: Percent = 0


class BlockInventory(_Entry):
    gib: Gib
    reserved_percent: Percent = 0


class CapacityEntry(_Entry):
    compute: dict[Arch, ComputeInventory] = Field(default_factory=dict)
    block: dict[BlockClass, BlockInventory] = Field(default_factory=dict)


class OperatorChange(_Entry):
    """From a day on another company operates the sub-cloud."""

    since: date = Field(alias="from")
    operator: Text


class SubCloudEntry(_Entry):
    code: Code
    name: Text
    tier: Tier
    division: Code | None = None
    operator: Text
    """Who operates it, until ``operator_changes`` name another."""
    operator_changes: Rows[OperatorChange] = ()
    provider: Code
    options: dict[Code, Annotated[str, BeforeValidator(_text), Field(max_length=400)]] = Field(default_factory=dict)
    options_ref: Code | None = None
    mlps_level: Annotated[int, Field(ge=1, le=5)]
    zones: Rows[ZoneCode]
    offering: Code
    images: Rows[Code]
    accredited_on: date | None = None
    unified_management: bool
    authorities: Annotated[Rows[Authority], AfterValidator(_some)]
    capacity: CapacityEntry


class HomeCloudRule(_Dated):
    unit: Code
    cloud: Code
    article: Article


class PayerRule(_Dated):
    unit: Code
    tier: Tier
    cloud: Code | None = None
    """For this sub-cloud alone: it goes before the rules for its tier."""
    pays: Code
    rule: Code
    article: Article


class FinanceOfficeRule(_Dated):
    office: Code
    """Its finance people act for ``payer``."""
    payer: Code


class PriceEntry(_Dated):
    side: Literal["charge", "settlement"] = "charge"
    meter: Meter
    cloud: Code | None = None
    operator: Text | None = None
    unit_class: UnitKind | None = None
    term_months: Annotated[int, Field(ge=0, le=1200)] = 0
    price_cny: Price
    per: Literal["hour", "month", "once"]
    discount: Annotated[Decimal, BeforeValidator(_decimal), Field(gt=0, le=1, decimal_places=4)] = Decimal(1)
    free_quantity: Annotated[Decimal, BeforeValidator(_decimal), Field(ge=0, decimal_places=4)] = Decimal(0)
    charged_when_stopped: bool | None = None
    version: Code
    source: Text


class QuotaEntry(_Entry):
    unit: Code
    cloud: Code | None = None
    limits: dict[LimitClass, Annotated[int, Field(ge=0, le=10_000_000_000)]]


class ZonePrefix(_Entry):
    zone: ZoneCode
    prefix: Prefix


class PlanLevel(_Entry):
    kinds: Rows[UnitKind]
    length: Annotated[int, Field(ge=1, le=64)]


class PrivatePlan(_Entry):
    """A department's own plan in the private zone: unique local space (RFC 4193), which others may use too."""

    unit: Code
    routing_domain: Code
    prefix: Prefix


class Ipv6Plan(_Entry):
    space: Prefix
    segment_length: Annotated[int, Field(ge=48, le=64)]
    zones: Rows[ZonePrefix]
    levels: Rows[PlanLevel]
    private: Rows[PrivatePlan] = ()


class PersonEntry(_Entry):
    """An account and the person behind it. There is no place for a password here."""

    login: Code
    name: Annotated[str, AfterValidator(_no_control), Field(min_length=1, max_length=60)]
    title: Annotated[str, Field(max_length=60)] = ""
    phone: Annotated[str, Field(max_length=30, pattern=r"^[0-9+ -]*$")] = ""
    email: Annotated[str, Field(max_length=120, pattern=rf"^({EMAIL})?$")] = ""
    unit: Code
    roles: Annotated[Rows[RoleName], AfterValidator(_some)]
    operator: Text | None = None


class DeputyEntry(_Entry):
    principal: Code = Field(alias="for")
    deputy: Code = Field(alias="by")
    role: RoleName
    since: date = Field(alias="from")
    until: date = Field(alias="to")
    reason: Text


class InformationSystemEntry(_Entry):
    code: Code
    unit: Code
    name: Text
    mlps_level: Annotated[int, Field(ge=1, le=5)]
    function: Text
    scope_of_use: Text
    frequency_of_use: Text
    approving_department: Text
    approved_on: date | None = None
    funding_source: Text
    in_use_since: date | None = None
    monthly_users: Annotated[int, Field(ge=0)] | None = None
    last_business_on: date | None = None
    business_stopped_on: date | None = None
    last_maintained_on: date | None = None
    maintenance_until: date | None = None
    replaceable_by: Code | None = None
    reported_on: date | None = None


class Region(_Entry):
    """A whole region file. ``units.more`` holds all units once the tables beside the file have been read."""

    format: Literal["guiyun-region/1"]
    name: Text
    valid_from: date
    zones: Rows[Zone]
    units: Units
    images: Rows[ImageEntry]
    offerings: dict[Code, OfferingSet]
    sub_clouds: Rows[SubCloudEntry]
    home_clouds: Rows[HomeCloudRule]
    payers: Rows[PayerRule]
    finance_offices: Rows[FinanceOfficeRule] = ()
    prices: Rows[PriceEntry]
    quotas: Rows[QuotaEntry] = ()
    ipv6: Ipv6Plan
    people: Rows[PersonEntry] = ()
    deputies: Rows[DeputyEntry] = ()
    information_systems: Rows[InformationSystemEntry] = ()

    def since(self, rule: _Dated) -> date:
        """The day from which a rule holds."""
        return rule.since or self.valid_from

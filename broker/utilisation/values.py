"""Metrics, policies as read, and what a scan finds. Frozen values.

Called by: every module of the room, the command line. Must not: read files or run SQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from broker.errors import Invalid, Problem


class Unreadable(Invalid):
    """A file that cannot be used: every problem of it; a lone problem's code is the error's own. 422."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        if len(self.problems) == 1:
            self.code = self.problems[0].code


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of a sample. ``most``: what is larger is a mistake of whoever measured (ours: no source names one)."""

    name: str
    unit: str
    most: int


METRICS: Mapping[str, Metric] = {
    m.name: m
    for m in (
        Metric("vcpu", "vCPU", 100_000),
        Metric("mem_gib", "GiB", 1_000_000),
        Metric("cpu_avg_pct", "%", 10_000),
        Metric("cpu_max_pct", "%", 10_000),
        Metric("mem_used_gib", "GiB", 1_000_000),
        Metric("disk_kbps", "KB/s", 999_999_999),
        Metric("net_kbps", "KB/s", 999_999_999),
        Metric("n_samples", "", 100_000),
        Metric("n_off", "", 100_000),
    )
}
"""What an hourly sample holds, in the order of the file's columns. CPU may pass 100 % (Bitbrains: 182 %)."""

ID = "vm_id"
HOUR = "hour_utc"
COLUMNS = (ID, HOUR, *METRICS)


class Daily(StrEnum):
    """How the rows of one day become one figure; ``p95`` by nearest rank."""

    MEAN = "mean"
    MAX = "max"
    MIN = "min"
    P95 = "p95"
    SUM = "sum"


@dataclass(frozen=True, slots=True)
class Condition:
    """A day's figure lies below one limit, above another, or between the two. Limits themselves do not match."""

    metric: str
    daily: Daily
    below: Decimal | None = None
    above: Decimal | None = None


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part holds."""

    parts: tuple[When, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[When, ...]


When = Condition | AllOf | AnyOf


def conditions(when: When) -> Iterator[Condition]:
    """The leaves of a condition, as they stand in the file."""
    if isinstance(when, Condition):
        yield when
    else:
        for part in when.parts:
            yield from conditions(part)


class MissingDay(StrEnum):
    """What a day with too few samples does to a run: ends it, or neither ends it nor counts."""

    BREAK = "break"
    SKIP = "skip"


OURS = "ours"
"""The basis of what no article says (自定规则)."""


@dataclass(frozen=True, slots=True)
class Exemption:
    """Whom a policy leaves alone, and why. One that names nothing matches nothing.

    ``units`` cover what is below them.
    ``newer_than_days``: the resource was first handed over less than so many days before the run's last day.
    ``months``: with it the others hold only for runs that end in one of these months (seasonal use); alone it holds for
    every resource then.
    """

    name: str
    reason: str
    resources: frozenset[str] = frozenset()
    systems: frozenset[str] = frozenset()
    units: frozenset[str] = frozenset()
    mlps_level_from: int | None = None
    newer_than_days: int | None = None
    months: frozenset[int] = frozenset()
    includes: tuple[str, ...] = ()


SEEN: Mapping[str, str] = {
    "stopped": "server",
    "unattached": "volume",
    "empty": "segment",
    "unbound": "address",
    "unused": "snapshot",
}
"""What is seen and not measured, and of which kind: by the inventory and by what a cloud shows of itself each day."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One rule for detection: a condition over samples (``when``), or what has to be seen day after day (``seen``).

    ``grace_working_days``: by MLPS level, how long an owner may object (for reclaiming).
    """

    name: str
    title: str
    kind: str
    when: When
    days: int
    min_samples_per_day: int
    missing_day: MissingDay
    basis: str = OURS
    exempt: tuple[str, ...] = ()
    grace_working_days: Mapping[int, int] = field(default_factory=dict)
    seen: str = ""


@dataclass(frozen=True, slots=True)
class PolicySet:
    """All policies of a file and the exemptions they name; ``version`` is the file's own word for itself."""

    version: str
    policies: tuple[Policy, ...]
    exemptions: Mapping[str, Exemption] = field(default_factory=dict)

    @property
    def measured(self) -> tuple[Policy, ...]:
        """Those that look at samples."""
        return tuple(policy for policy in self.policies if not policy.seen)


@dataclass(frozen=True, slots=True)
class Figures:
    """One condition over a run: the least, the greatest and the mean of its daily figures.

    For ``p95`` the figures are the share (0..1) of the day's samples below the limit (not above it, for ``above``).
    """

    condition: Condition
    least: float
    greatest: float
    mean: float


@dataclass(frozen=True, slots=True)
class Run:
    """A maximal run of matching days. ``days`` counts days that match, which a skipped day does not."""

    resource_id: str
    policy: str
    first_day: date
    last_day: date
    days: int
    evidence: tuple[Figures, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What the inventory knows of a resource. ``since``: the first day it was in use; sizes are a server's.

    ``units``: the codes of its unit and of all above it. ``ref``: the cloud's own id.
    """

    number: str
    name: str
    kind: str
    system: str
    unit: str
    sub_cloud: str
    mlps_level: int
    since: date | None
    resource_id: UUID | None = None
    vcpu: int = 0
    memory_gib: int = 0
    units: frozenset[str] = frozenset()
    ref: str = ""

    @property
    def names(self) -> frozenset[str]:
        """What a sample, a person or an exemption may call it: our number, our id, the cloud's own id."""
        return frozenset(name for name in (self.number, str(self.resource_id or ""), self.ref) if name)


@dataclass(slots=True)
class Left:
    """Rows left out for one reason: how many, and where the first of them stand."""

    reason: str
    count: int
    first: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Intake:
    """What reading did: rows read, and those left out with their reasons, most frequent first."""

    rows: int
    left: tuple[Left, ...] = ()

    @property
    def dropped(self) -> int:
        return sum(each.count for each in self.left)

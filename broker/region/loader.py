"""Brings a region file into the rows: once at the start, and again whenever an operator has edited it.

Called by: ``guiyun up`` (the demonstration region, once) and ``guiyun db load-region``. Must not: commit (its caller
does), delete anything, or change what held until today.

A second load of the same file changes nothing. An edited file adds dated rows, corrects what may be edited (names,
sizes, quotas) and is refused as a whole, with every reason, where it would rewrite history (``region.history``: give a
new ``from``; ``region.closed``: a price, payer or operator that would change closed months) or what is fixed
(``region.fixed``). Rows that the file does not name are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import MappingProxyType

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from broker.audit import events
from broker.catalog.models import HomeCloud, Image, Offering, SubCloud, SubCloudAuthority, SubCloudOperator
from broker.db.base import Base
from broker.inventory.models import InformationSystem, SystemRevision
from broker.pricing.models import FinanceOffice, Payer, TariffPrice
from broker.region import closed, scarce, sections
from broker.region.reading import RegionError
from broker.region.rows import Run
from broker.region.schema import Region
from broker.tenancy.models import Account, Deputy, Person, RoleGrant, Unit, UnitPeriod

DEMONSTRATION_PASSWORD = "guiyun-demo-2026"  # noqa: S105 - for loopback demonstrations, printed by `make run`
"""The one password of all demonstration accounts. They exist only where ``Settings.demonstration`` is on."""

_LOCK = 0x67_78_72_65
"""Two loads at once wait for each other."""

_REFERRED_TO: tuple[type[Base], ...] = (Unit, SubCloud, Person, Account)
_REFERRING: tuple[type[Base], ...] = (
    UnitPeriod,
    SubCloudOperator,
    SubCloudAuthority,
    Offering,
    Image,
    HomeCloud,
    Payer,
    FinanceOffice,
    TariffPrice,
    RoleGrant,
    Deputy,
    InformationSystem,
    SystemRevision,
)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did, by table: ``{"unit.added": 249, "tariff_price.changed": 1}``."""

    counts: Mapping[str, int]

    @property
    def nothing_changed(self) -> bool:
        """Whether the rows said already what the file says."""
        return not self.counts


def load(
    session: Session, region: Region, *, now: datetime, demonstration: bool, hasher: Callable[[str], str]
) -> LoadReport:
    """Write the region into the session's transaction. ``hasher`` hashes the demonstration's password, once.

    Raises RegionError with every reason; then the caller must roll back.
    """
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    run = Run(session, region, now)

    @cache
    def password_hash() -> str | None:
        return hasher(DEMONSTRATION_PASSWORD) if demonstration else None

    sections.units(run)
    sections.clouds(run)
    sections.rules(run)
    sections.people(run, password_hash)
    sections.systems(run)
    closed.refuse(run)
    _refuse(run)
    run.write(_REFERRED_TO, _REFERRING)
    scarce.nodes(run)
    scarce.capacity(run)
    scarce.limits(run)
    scarce.prefix_pools(run)
    _refuse(run)
    report = LoadReport(MappingProxyType({name: count for name, count in sorted(run.counts.items()) if count}))
    if not report.nothing_changed:
        _record(run, report)
    return report


def _refuse(run: Run) -> None:
    if run.problems:
        raise RegionError(run.problems)


def _record(run: Run, report: LoadReport) -> None:
    root = next(unit.code for unit in run.region.units.more if unit.kind == "region")
    events.record(
        run.session,
        at=run.now,
        actor_id=None,
        action="region.loaded",
        subject_type="unit",
        subject_id=run.ids["unit"][root],
        data=report.counts,
    )

"""Detection over the stored samples, joined with what the inventory knows; and import into the store.

Called by: the command line (``guiyun idle``, ``guiyun utilisation``). Must not: take anything back (reclaiming's), or
hold a transaction while files are read: facts are read first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import duckdb

from broker.db.base import AnyRow
from broker.errors import Forbidden
from broker.inventory import repository as inventory
from broker.inventory.models import Resource
from broker.lifecycle import Role
from broker.settings import Settings
from broker.tenancy.repository import codes_above
from broker.tenancy.work import Work
from broker.utilisation import store
from broker.utilisation.engine import Engine, engine, parquet
from broker.utilisation.files import Found, joined
from broker.utilisation.policy_file import read_policies
from broker.utilisation.samples import Report
from broker.utilisation.scan import Question, scan
from broker.utilisation.store import Imported
from broker.utilisation.values import ID, Facts, PolicySet
from providers.contract import Provider

BY_HAND_WAIT_S = 30.0
"""A collector is at it for some seconds an hour: whoever imports a file waits for it rather than being sent away."""

_MAY = frozenset({Role.SYSTEM, Role.ADMINISTRATOR, Role.AUDIT, Role.ASSESSOR, Role.OPERATOR})


Providers = Callable[[str], Provider]
"""Looks an adapter up by its sub-cloud's code."""


def policies_of(settings: Settings, path: Path | None = None) -> PolicySet:
    """The policies named, else those of the settings, else the shipped ones. Raises Invalid."""
    file = path or settings.idle_policy_file
    return read_policies(file) if file is not None else read_policies()


def facts_of(work: Work, sub_cloud: str = "") -> Mapping[str, Facts]:
    """``named``, of one sub-cloud or of all. Raises Forbidden ``role.missing``: detection looks at the whole region."""
    if not work.actor.roles & _MAY:
        raise Forbidden("role.missing")
    return named(work, sub_cloud)


def named(work: Work, sub_cloud: str = "") -> Mapping[str, Facts]:
    """What is in use, by every name a sample may bear: our id, our number, the cloud's own id where it is unique."""
    rows = inventory.in_use(work.session, now=work.now, sub_cloud=sub_cloud)
    above = codes_above(work.session, work.now)
    refs: dict[str, Facts | None] = {}
    found: dict[str, Facts] = {}
    for row in rows:
        resource, each = row[0], facts(row, above)
        found[str(resource.id)] = found[resource.number] = each
        if resource.ref:
            refs[resource.ref] = None if resource.ref in refs else each
    return {ref: each for ref, each in refs.items() if each is not None} | found


def facts(row: AnyRow, above: Mapping[UUID, frozenset[str]]) -> Facts:
    """A row of ``inventory.in_use`` as a value. ``above``: by unit, the codes of it and of all above it."""
    resource: Resource = row[0]
    return Facts(
        number=resource.number,
        name=resource.name,
        kind=resource.kind,
        system=row.system_code or "",
        unit=row.unit_code,
        sub_cloud=row.sub_cloud,
        mlps_level=row.mlps_level or 0,
        since=row.since.date(),
        resource_id=resource.id,
        vcpu=resource.spec.get("vcpu", 0),
        memory_gib=resource.spec.get("memory_gib", 0),
        units=above.get(resource.unit_id, frozenset()),
        ref=resource.ref or "",
    )


def scan_store(
    settings: Settings,
    facts: Mapping[str, Facts],
    policies: PolicySet,
    when: tuple[ZoneInfo, datetime],
    report: Report,
    *,
    first: date | None = None,
) -> Iterator[Found]:
    """Runs in the stored samples of what is in use. Samples of what the inventory does not know are passed over.

    ``first``: the local day from which on samples are read (the day before it in part); None: all that are kept.
    """
    zone, now = when
    files = store.hourly_files(settings, first and first - timedelta(days=1))
    asked = {policy.name: policy for policy in policies.measured}
    if not files or not policies.measured:
        return
    with engine(settings.utilisation_memory_mib) as db:
        ask = Question(policies.measured, zone, now, aliases=_aliases(db, files, facts))
        for run in scan(db, files, ask, report):
            known, policy = facts.get(run.resource_id), asked[run.policy]
            if known is not None and known.kind == policy.kind:
                yield joined(run, known, policy, policies)


def _aliases(db: Engine, files: Sequence[Path], facts: Mapping[str, Facts]) -> dict[str, str]:
    """Names under which these files hold samples of what has a number, each with that number: one machine, one run."""
    try:
        names = [str(row[0]) for row in db.rows(f"SELECT DISTINCT {ID} FROM {parquet(files)}")]
    except duckdb.Error:
        return {}  # what cannot be read is told of by the scan
    return {name: facts[name].number for name in names if name in facts and name != facts[name].number}


def import_file(
    settings: Settings, path: Path, now: datetime, *, wait_s: float = 0, remember: bool = False, correct: bool = False
) -> Imported:
    """Take a file or folder of samples into the store. Raises Invalid, Conflict ``store.busy``.

    ``wait_s``: how long to wait for another import to end. ``remember``: a person's file, which may come again after
    another has put its hours right; ``correct``: it is what puts them right.
    """
    storage = store.storage_of(settings)
    with engine(settings.utilisation_memory_mib) as db:
        months = settings.utilisation_months
        return store.import_samples(db, storage, path, now, months, wait_s=wait_s, remember=remember, correct=correct)


def import_by_hand(
    settings: Settings, path: Path, facts: Mapping[str, Facts], now: datetime, *, correct: bool = False
) -> tuple[Imported, list[str]]:
    """As ``import_file``, of a person's file; and its names that nothing in use bears: no detection reads these.

    ``facts``: as ``facts_of`` says.
    """
    storage = store.storage_of(settings)
    with engine(settings.utilisation_memory_mib) as db:
        months = settings.utilisation_months
        done = store.import_samples(
            db, storage, path, now, months, wait_s=BY_HAND_WAIT_S, remember=True, correct=correct
        )
        return done, sorted(store.names_taken_in(db) - facts.keys())

"""Detection over the stored samples, joined with what the inventory knows; and import into the store.

Called by: the command line (``guiyun idle``, ``guiyun utilisation``). Must not: take anything back (reclaiming's), or
hold a transaction while files are read: facts are read first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from broker.db.base import AnyRow
from broker.errors import Forbidden
from broker.inventory import repository as inventory
from broker.inventory.models import Resource
from broker.lifecycle import Role
from broker.settings import Settings
from broker.tenancy.work import Work
from broker.utilisation import store
from broker.utilisation.engine import engine
from broker.utilisation.policy_file import read_policies
from broker.utilisation.rules import exemption_of
from broker.utilisation.samples import Report, files_of
from broker.utilisation.scan import Question, scan
from broker.utilisation.store import Imported
from broker.utilisation.values import Exemption, Facts, PolicySet, Run
from providers.contract import Provider

_MAY = frozenset({Role.SYSTEM, Role.ADMINISTRATOR, Role.AUDIT, Role.ASSESSOR, Role.OPERATOR})


Providers = Callable[[str], Provider]
"""Looks an adapter up by its sub-cloud's code."""


@dataclass(frozen=True, slots=True)
class Found:
    """A run, the resource it belongs to (None: the inventory does not know it), and the exemption that covers it."""

    run: Run
    facts: Facts | None
    exemption: Exemption | None


def policies_of(settings: Settings, path: Path | None = None) -> PolicySet:
    """The policies named, else those of the settings, else the shipped ones. Raises Invalid."""
    file = path or settings.idle_policy_file
    return read_policies(file) if file is not None else read_policies()


def facts_of(work: Work, sub_cloud: str = "") -> Mapping[str, Facts]:
    """What is in use, by every name a sample may bear: our id, our number, the cloud's own id where it is unique.

    Of one sub-cloud, or of all.

    Raises Forbidden ``role.missing``: detection looks at the whole region.
    """
    if not work.actor.roles & _MAY:
        raise Forbidden("role.missing")
    rows = inventory.in_use(work.session, now=work.now, sub_cloud=sub_cloud)
    refs: dict[str, Facts | None] = {}
    found: dict[str, Facts] = {}
    for row in rows:
        resource, each = row[0], facts(row)
        found[str(resource.id)] = found[resource.number] = each
        if resource.ref:
            refs[resource.ref] = None if resource.ref in refs else each
    return {ref: each for ref, each in refs.items() if each is not None} | found


def facts(row: AnyRow) -> Facts:
    """A row of ``inventory.in_use`` as a value."""
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
    )


def scan_files(
    settings: Settings, path: Path, policies: PolicySet, when: tuple[ZoneInfo, datetime], report: Report
) -> Iterator[Found]:
    """Runs in files named by hand; no database. ``when``: whose days, and the instant of the scan.

    Raises Invalid for files that cannot be read at all.
    """
    zone, now = when
    if not policies.measured:
        return
    with engine(settings.utilisation_memory_mib) as db:
        runs = scan(db, files_of(path), Question(policies.measured, zone, now), report)
        yield from (_join(run, None, policies) for run in runs)


def scan_store(
    settings: Settings, facts: Mapping[str, Facts], policies: PolicySet, when: tuple[ZoneInfo, datetime], report: Report
) -> Iterator[Found]:
    """Runs in the stored samples of what is in use. Samples of what the inventory does not know are passed over."""
    zone, now = when
    files = store.hourly_files(settings)
    kinds = {policy.name: policy.kind for policy in policies.policies}
    with engine(settings.utilisation_memory_mib) as db:
        for run in (
            scan(db, files, Question(policies.measured, zone, now), report) if files and policies.measured else ()
        ):
            known = facts.get(run.resource_id)
            if known is not None and known.kind == kinds[run.policy]:
                yield _join(run, known, policies)


def _join(run: Run, facts: Facts | None, policies: PolicySet) -> Found:
    policy = next(each for each in policies.policies if each.name == run.policy)
    return Found(run, facts, exemption_of(run, facts, policy, policies))


def import_file(settings: Settings, path: Path, now: datetime, *, wait_s: float = 0) -> Imported:
    """Take a file or folder of samples into the store. Raises Invalid, Conflict ``store.busy``.

    ``wait_s``: how long to wait for another import to end.
    """
    storage = store.storage_of(settings)
    with engine(settings.utilisation_memory_mib) as db:
        return store.import_samples(db, storage, path, now, settings.utilisation_months, wait_s=wait_s)

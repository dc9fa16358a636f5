"""Runs in files named by hand, with whatever exempts them: no database, and nothing that loads one.

Called by: ``guiyun idle scan --metrics``, ``utilisation.service`` (the same over the store). Must not: import SQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from broker.utilisation.engine import engine
from broker.utilisation.rules import exemption_of
from broker.utilisation.samples import Report, files_of
from broker.utilisation.scan import Question, scan
from broker.utilisation.values import Exemption, Facts, Policy, PolicySet, Run


@dataclass(frozen=True, slots=True)
class Found:
    """A run, the resource it belongs to (None: the inventory does not know it), and the exemption that covers it."""

    run: Run
    facts: Facts | None
    exemption: Exemption | None


def scan_files(
    path: Path, policies: PolicySet, when: tuple[ZoneInfo, datetime], report: Report, memory_mib: int
) -> Iterator[Found]:
    """Runs in a file or a folder of files. ``when``: whose days, and the instant of the scan.

    Raises Invalid for files that cannot be read at all.
    """
    zone, now = when
    if not policies.measured:
        return
    with engine(memory_mib) as db:
        runs = scan(db, files_of(path), Question(policies.measured, zone, now), report)
        asked = {policy.name: policy for policy in policies.measured}
        yield from (joined(run, None, asked[run.policy], policies) for run in runs)


def joined(run: Run, facts: Facts | None, policy: Policy, policies: PolicySet) -> Found:
    """A run with what is known of its resource and what exempts it."""
    return Found(run, facts, exemption_of(run, facts, policy, policies))

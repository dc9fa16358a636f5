"""The register's use-cases by which a system may go elsewhere: moved by the Bureau, or merged (Art. 28, 29).

Called by: the API, the console. Must not: hold a rule of the register: each runs it, then takes along what later stages
know, in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from broker.inventory import register as entries
from broker.inventory import register_import, register_move
from broker.inventory.models import InformationSystem, SystemImport, SystemProposal
from broker.inventory.register import Ending
from broker.inventory.register_import import Looked
from broker.inventory.system_entry import SystemEntry
from broker.reorganisation import following
from broker.tenancy.work import Work


def move(work: Work, system_id: UUID, *, to: str, reason: str, version: int | None) -> InformationSystem:
    """As ``register_move.move``; raises what ``following.follow`` raises as well."""
    before = following.units_of(work, [system_id])
    system = register_move.move(work, system_id, to=to, reason=reason, version=version)
    following.follow(work, [(system, before[system_id])])
    return system


def register(work: Work, entry: SystemEntry) -> InformationSystem:
    """As ``inventory.register.register``, with what the systems had that it merges."""
    made = entries.register(work, entry)
    _take_along(work)
    return made


def revise(work: Work, system_id: UUID, entry: SystemEntry, *, version: int | None) -> InformationSystem:
    """As ``inventory.register.revise``, with what the systems had that it merges."""
    found = entries.revise(work, system_id, entry, version=version)
    _take_along(work)
    return found


def decide(work: Work, proposal_id: UUID, *, approved: bool, answer: str) -> SystemProposal:
    """As ``inventory.register.decide``, with what the systems had that it merges."""
    decided = entries.decide(work, proposal_id, approved=approved, answer=answer)
    _take_along(work)
    return decided


def end(work: Work, system_id: UUID, ending: Ending, *, version: int | None) -> InformationSystem:
    """As ``inventory.register.end``, with what the system had if it is merged."""
    ended = entries.end(work, system_id, ending, version=version)
    _take_along(work)
    return ended


def apply_import(work: Work, import_id: UUID, digest: str, headings: Mapping[str, str]) -> tuple[SystemImport, Looked]:
    """As ``inventory.register_import.apply``, with what the systems had that its lines merge."""
    applied = register_import.apply(work, import_id, digest, headings)
    _take_along(work)
    return applied


def _take_along(work: Work) -> None:
    """What the systems had that ended just now by merger; each kept its own unit on the register, as it was."""
    work.session.flush()
    merged = [work.session.get_one(InformationSystem, each) for each in following.merged_now(work)]
    following.follow(work, [(system, system.unit_id) for system in merged])

"""The register of information systems (Art. 26, 28, 29): register, propose, decide, revise, end.

Called by: the API, the console, the import. Must not: delete a system, or let the total rise by one without a merger
or a reason that the Bureau approved. Each version of an entry stays as a revision.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select

from broker.catalog import repository as catalog
from broker.db.base import AnyRow, AnySelect, new_id
from broker.errors import Conflict, Forbidden, Invalid, NotFound, Problem, Stale
from broker.inventory import nodes, owners, systems
from broker.inventory.cells import day
from broker.inventory.models import InformationSystem, SystemProposal, SystemRevision
from broker.inventory.system_entry import (
    IN_FORCE,
    READ,
    Known,
    KnownSystem,
    SystemEntry,
    leaves_stock,
    problems_of,
)
from broker.lifecycle import Role
from broker.tenancy.models import Account, Unit, UnitPeriod
from broker.tenancy.repository import accounts_of_one, holds, visible_units
from broker.tenancy.rules import mandate
from broker.tenancy.values import SYSTEM
from broker.tenancy.work import Work

LOCAL = ZoneInfo("Asia/Shanghai")
_WRITERS = frozenset({Role.APPLICANT, Role.UNIT_LEADER, Role.ADMINISTRATOR})
MERGED, SHUT_DOWN, HANDED_OVER = ENDINGS = ("merged", "shut_down", "handed_over")

_SAME = (
    "name", "mlps_level", "function", "scope_of_use", "frequency_of_use", "approving_department", "approved_on",
    "funding_source", "in_use_since", "monthly_users", "last_business_on", "business_stopped_on", "last_maintained_on",
    "maintenance_until", "reported_on", "growth_reason",
)  # fmt: skip
"""Fields that an entry and the table call the same."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a system ends: ``merged`` into another (its code), ``shut_down``, or ``handed_over`` to somebody outside."""

    kind: str
    reason: str
    into: str = ""
    handed_to: str = ""


def today(now: datetime) -> date:
    """The day it is in Guangxi."""
    return now.astimezone(LOCAL).date()


def known(work: Work, entries: Iterable[SystemEntry], *, everywhere: bool = False, lock: bool = True) -> Known:
    """What entries are checked against, in four statements. Systems they name are locked, in the order of codes.

    ``everywhere``: all units and systems count as the actor's: what a proposal names was checked when it was made.
    ``lock``: not for who only looks.
    """
    given = list(entries)
    actor = SYSTEM if everywhere else work.actor
    merged = select(UnitPeriod.unit_id).where(
        UnitPeriod.merged_into_id.is_not(None), holds(UnitPeriod.during, work.now)
    )
    units = work.session.execute(
        select(Unit.code, Unit.id).where(
            Unit.code.in_({e.unit for e in given}),
            visible_units(actor, Unit.id, work.now),
            Unit.id.not_in(merged),
        )
    )
    codes = {e.code for e in given} | {e.replaceable_by for e in given if e.replaceable_by}
    codes |= {code for e in given for code in e.merges}
    mine = visible_units(actor, InformationSystem.unit_id, work.now).label("mine")
    named: AnySelect = (
        select(InformationSystem, Unit.code.label("unit_code"), mine)
        .join(Unit, Unit.id == InformationSystem.unit_id)
        .where(InformationSystem.code.in_(codes))
        .order_by(InformationSystem.code)
        .execution_options(populate_existing=True)
    )
    rows = work.session.execute(named.with_for_update(of=InformationSystem, key_share=True) if lock else named).all()
    heads = {row[0].merged_into_id for row in rows} - {None}
    named_heads = select(InformationSystem.id, InformationSystem.code).where(InformationSystem.id.in_(heads))
    into = {row.id: row.code for row in work.session.execute(named_heads)} if heads else {}
    people = work.session.execute(
        select(Account.login, Account.person_id).where(
            Account.login.in_({e.owner for e in given if e.owner}),
            Account.person_id.is_not(None),
            visible_units(actor, Account.unit_id, work.now),
        )
    )
    return Known(
        today=today(work.now),
        units={row.code: row.id for row in units},
        systems={
            row[0].code: KnownSystem(
                row[0].id,
                row.unit_code,
                row.mine,
                row[0].retired_at is not None,
                into.get(row[0].merged_into_id, ""),
                stock=row[0].approved_on is not None and row[0].approved_on < IN_FORCE,
            )
            for row in rows
        },
        people={row.login: row.person_id for row in people},
    )


def register(work: Work, entry: SystemEntry) -> InformationSystem:
    """Put a system on the register (Art. 26); the systems it ``merges`` end in the same transaction.

    Raises Forbidden ``system.not_yours``; Invalid with everything that ``system_entry.problems_of`` finds, and
    ``system.code_taken``.
    """
    require_writer(work)
    found = known(work, [entry])
    problems = problems_of(entry, found)
    if entry.code in found.systems:
        problems = [p for p in problems if p.field != "code"] + [Problem("system.code_taken", "code")]
    if problems:
        raise Invalid(problems)
    return write(work, replace(entry, growth_reason=""), found, source="form")


def propose(work: Work, entry: SystemEntry) -> SystemProposal:
    """Ask the Bureau for a new system without a merger, for a reason (Art. 29). Raises as ``register``.

    Also for one of the stock that is to count as new. Also raises Invalid ``system.proposed``: it is waiting already.
    """
    require_writer(work)
    found = known(work, [entry])
    problems = _problems_of_proposed(entry, found)
    if _open_proposal(work, entry.code) is not None:
        problems.append(Problem("system.proposed", "code"))
    if problems:
        raise Invalid(problems)
    return put_proposal(work, entry, found)


def _problems_of_proposed(entry: SystemEntry, found: Known) -> list[Problem]:
    problems = problems_of(entry, found, proposed=True)
    there = found.systems.get(entry.code)
    if there is not None and not (there.mine and leaves_stock(entry, there)):
        problems = [p for p in problems if p.field != "code"] + [Problem("system.code_taken", "code")]
    return problems


def put_proposal(work: Work, entry: SystemEntry, found: Known) -> SystemProposal:
    """Write a proposal that was checked."""
    assert work.actor.account_id is not None
    proposal = SystemProposal(
        id=new_id(),
        code=entry.code,
        unit_id=found.units[entry.unit],
        entry=to_json(asdict(entry)),
        reason=entry.growth_reason.strip(),
        proposed_by=work.actor.account_id,
        proposed_at=work.now,
    )
    work.session.add(proposal)
    work.record("system.proposed", "system_proposal", proposal.id, article="Art. 29", data={"code": entry.code})
    return proposal


def decide(work: Work, proposal_id: UUID, *, approved: bool, answer: str) -> SystemProposal:
    """The Bureau approves a new system, or refuses it, with a sentence. Who proposed it does not decide.

    Raises NotFound ``system.proposal_unknown``, Forbidden (see ``tenancy.rules.mandate``), Conflict
    ``system.proposal_decided``, Invalid ``reason.missing`` and what the entry has become wrong with since.
    """
    proposal = work.session.get(SystemProposal, proposal_id, with_for_update=True)
    if proposal is None:
        raise NotFound("system.proposal_unknown")
    bureau = catalog.main_authority(work.session, "decide", work.now)
    by = mandate(work.actor, Role.APPROVER, bureau, except_for=accounts_of_one(work.session, proposal.proposed_by))
    if proposal.decision is not None:
        raise Conflict("system.proposal_decided")
    if not answer.strip():
        raise Invalid([Problem("reason.missing", "answer")])
    if approved:
        entry = entry_of(proposal.entry)
        found = known(work, [entry], everywhere=True)
        problems = _problems_of_proposed(entry, found)
        if problems:
            raise Invalid(problems)
        made = write(work, entry, found, source="proposal")
        work.session.flush()
        proposal.system_id = made.id
    proposal.decision = "approved" if approved else "refused"
    proposal.answer, proposal.decided_by, proposal.decided_at = answer.strip(), by.account_id, work.now
    action = f"system.proposal_{proposal.decision}"
    work.record(action, "system_proposal", proposal.id, mandate=by, article="Art. 29", data={"code": proposal.code})
    return proposal


def revise(work: Work, system_id: UUID, entry: SystemEntry, *, version: int | None) -> InformationSystem:
    """Say anew what a system is and how it is used; what was said stays as a revision.

    Raises NotFound ``system.not_found``, Stale ``version.stale``, Forbidden, Invalid as ``register``.
    """
    require_writer(work)
    found = known(work, [entry])
    system = _writable(work, system_id, version)
    if entry.code != system.code:
        raise Invalid([Problem("system.code_fixed", "code")])
    problems = problems_of(entry, found)
    if problems:
        raise Invalid(problems)
    return write(work, replace(entry, growth_reason=system.growth_reason), found, source="form")


def end(work: Work, system_id: UUID, ending: Ending, *, version: int | None) -> InformationSystem:
    """A system ends by merger, shutdown or handover (Art. 28, 29), with a reason, now. Its rows stay.

    Raises NotFound, Stale, Forbidden (``system.merge_elsewhere``: what it has would be another's to pay, and only the
    Bureau gives it to one); Conflict ``system.ended``, ``system.in_flight``; Invalid ``reason.missing``,
    ``system.ending_unknown``, ``system.merge_unknown`` (``into``), ``system.handed_to``.
    """
    require_writer(work)
    system = _writable(work, system_id, version)
    if system.retired_at is not None:
        raise Conflict("system.ended")
    problems = []
    if not ending.reason.strip():
        problems.append(Problem("reason.missing", "reason"))
    if ending.kind not in ENDINGS:
        problems.append(Problem("system.ending_unknown", "kind"))
    head = None
    if ending.kind == MERGED:
        head = work.session.scalar(
            select(InformationSystem)
            .where(
                InformationSystem.code == ending.into,
                InformationSystem.retired_at.is_(None),
                InformationSystem.id != system.id,
            )
            .with_for_update(key_share=True)
        )
        if head is None:
            problems.append(Problem("system.merge_unknown", "into", "Art. 29", {"code": ending.into}))
    if ending.kind == HANDED_OVER and not ending.handed_to.strip():
        problems.append(Problem("system.handed_to", "handed_to"))
    if problems:
        raise Invalid(problems)
    what = None if head is None else owners.lock(work, [system.id])[system.id]
    if head is not None and what is not None and what.resources:
        _require_both(work, head.unit_id)
    _end(work, system, ending, head.id if head else None, what)
    return system


def _require_both(work: Work, unit_id: UUID) -> None:
    mine = select(Unit.id).where(Unit.id == unit_id, visible_units(work.actor, Unit.id, work.now))
    if work.session.scalar(mine) is None:
        raise Forbidden("system.merge_elsewhere", article="Art. 29")


def write(work: Work, entry: SystemEntry, found: Known, *, source: str) -> InformationSystem:
    """Write an entry that was checked: a new system or the next version of one, its revision, the mergers."""
    there = found.systems.get(entry.code)
    values = columns(entry, found)
    if there is None:
        system = InformationSystem(
            id=new_id(), code=entry.code, unit_id=found.units[entry.unit], registered_at=work.now, version=1, **values
        )
        work.session.add(system)
        action = "system.registered"
    else:
        system = work.session.get_one(InformationSystem, there.id)
        for name, value in values.items():
            setattr(system, name, value)
        system.version += 1
        action = "system.revised"
    work.record(action, "system", system.id, article="Art. 26", data={"code": entry.code, "source": source})
    note_revision(work, system, source)
    work.session.flush()  # the system that others are merged into may be new
    for system_id, what in owners.lock(work, merging([entry], found)).items():
        merged = work.session.get_one(InformationSystem, system_id)
        _end(work, merged, Ending(MERGED, entry.name), system.id, what)
    return system


def merging(entries: Iterable[SystemEntry], found: Known) -> list[UUID]:
    """The systems that end when these entries are written."""
    named = (found.systems[code] for entry in entries for code in entry.merges)
    return [each.id for each in named if not each.ended]


def columns(entry: SystemEntry, found: Known) -> dict[str, Any]:
    """An entry as columns of the table, without its name and unit, which are fixed."""
    values = {name: getattr(entry, name) for name in _SAME}
    other = found.systems.get(entry.replaceable_by) if entry.replaceable_by else None
    values["replaceable_by_id"] = None if other is None else other.id
    values["owner_person_id"] = found.people[entry.owner] if entry.owner else None
    return values


def note_revision(work: Work, system: InformationSystem, source: str) -> None:
    """Keep what the register says of a system now."""
    work.session.add(
        SystemRevision(
            system_id=system.id,
            version=system.version,
            at=work.now,
            by=work.actor.account_id,
            source=source,
            entry=to_json({c.key: getattr(system, c.key) for c in InformationSystem.__table__.columns}),
        )
    )


def entry_of_row(row: AnyRow) -> SystemEntry:
    """What the register says of a system, as an entry. ``row``: one of ``systems.listing``."""
    system = row[0]
    return SystemEntry(
        unit=row.unit_code,
        code=system.code,
        owner=row.owner or "",
        replaceable_by=row.replaceable_by or "",
        **{name: getattr(system, name) for name in _SAME},
    )


def entry_of(data: dict[str, Any]) -> SystemEntry:
    """An entry out of a proposal's JSON."""
    read: dict[str, Any] = {n: date.fromisoformat(v) if READ[n] is day and v else v for n, v in data.items()}
    read["merges"] = tuple(data["merges"])
    return SystemEntry(**read)


def _end(
    work: Work, system: InformationSystem, ending: Ending, into: UUID | None, what: owners.Belonging | None = None
) -> None:
    """``what`` it has goes to the system ``into`` which it was merged."""
    system.retired_at, system.ended_kind, system.ended_reason = work.now, ending.kind, ending.reason.strip()
    system.merged_into_id = into
    system.handed_to = ending.handed_to.strip() if ending.kind == HANDED_OVER else None
    system.version += 1
    note_revision(work, system, "end")
    data = {"code": system.code, "kind": ending.kind, "into": None if into is None else str(into)}
    if into is not None and what is not None:
        head = work.session.get_one(InformationSystem, into)
        nodes.follow(work, system, head, what.holds)
        owners.hand_over(work, what, head.unit_id, head.id)
        data["resources"] = str(len(what.resources))
    work.record("system.ended", "system", system.id, article="Art. 29" if into else "Art. 28", data=data)


def _writable(work: Work, system_id: UUID, version: int | None) -> InformationSystem:
    mine = visible_units(work.actor, InformationSystem.unit_id, work.now)
    statement = select(InformationSystem).where(InformationSystem.id == system_id, mine).with_for_update(key_share=True)
    system = work.session.scalar(statement.execution_options(populate_existing=True))
    if system is None:
        if systems.is_seen(work, system_id):
            raise Forbidden("system.not_yours")
        raise NotFound("system.not_found")
    if version not in {None, system.version}:
        raise Stale("version.stale", found=system.version)
    return system


def require_writer(work: Work) -> None:
    """Raises Forbidden ``system.not_yours`` for who may not write to the register."""
    if not work.actor.roles & _WRITERS:
        raise Forbidden("system.not_yours")


def _open_proposal(work: Work, code: str) -> UUID | None:
    return work.session.scalar(
        select(SystemProposal.id).where(SystemProposal.code == code, SystemProposal.decision.is_(None))
    )


def open_proposals(work: Work, codes: Sequence[str]) -> set[str]:
    """Which of these codes wait for the Bureau already."""
    waiting = select(SystemProposal.code).where(SystemProposal.code.in_(codes), SystemProposal.decision.is_(None))
    return set(work.session.scalars(waiting))


def to_json(values: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON keeps it: days, instants and ids as text."""
    return {
        name: value.isoformat() if isinstance(value, date) else str(value) if isinstance(value, UUID) else value
        for name, value in values.items()
    }

"""Brings a file of dedicated networks onto the list: a verdict on every line first, then all of it or nothing.

Called by: the API, the console, the command line. Must not: write a line that nobody saw the verdict of: applying
names the verdict (its digest), and is refused when the list has moved since (as ``inventory.register_import``).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from uuid import UUID

from sqlalchemy import select

from broker.db.base import new_id
from broker.dedicated import board, register
from broker.dedicated.board import Listed
from broker.dedicated.entry import READ, REQUIRED, Known, NetworkEntry, problems_of, read
from broker.dedicated.models import NetworkImport
from broker.errors import Conflict, Invalid, NotFound, Problem
from broker.inventory import sheets
from broker.inventory.sheets import Line
from broker.tenancy.work import Work

NEW, CHANGE, SAME, WRONG = KINDS = ("new", "change", "same", "wrong")
_SHOWN_ONLY = frozenset({"unit_name", "state", "due_on", "stopped"})
"""Columns that an export has for readers; an import passes over them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a line would do. ``line``: its number in the file; ``changes``: fields, of a line that changes a network."""

    line: int
    kind: str
    code: str
    name: str
    changes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """A file's verdicts, what they are called together (``digest``), and what is to be written."""

    verdicts: tuple[Verdict, ...]
    digest: str
    entries: tuple[NetworkEntry | None, ...]
    known: Known

    @property
    def counts(self) -> Mapping[str, int]:
        found = Counter(verdict.kind for verdict in self.verdicts)
        return {kind: found[kind] for kind in KINDS}

    @property
    def problems(self) -> list[Problem]:
        """Everything that is wrong, each with its line."""
        return [replace(p, field=f"{v.line}.{p.field}") for v in self.verdicts for p in v.problems]


def look(work: Work, content: bytes, headings: Mapping[str, str], *, lock: bool = False) -> Looked:
    """Read a file and say of every line what it would do. ``headings``: what a column may be called -> field.

    Raises Invalid (see ``sheets.read`` and ``sheets.columns``).
    """
    head, *lines = sheets.read(content)
    columns = sheets.columns(head, headings, [name for name in READ if name in REQUIRED])
    columns = {place: name for place, name in columns.items() if name not in _SHOWN_ONLY}
    found = [_entry(line, columns, len(head.cells)) for line in lines]
    there = {each.network.code: each for each in board.of_codes(work, [e.code for e, _ in found if e is not None])}
    entries = [_kept(entry, there, set(columns.values())) if entry else None for entry, _ in found]
    known = register.known(work, [e for e in entries if e is not None], lock=lock)
    codes = Counter(e.code for e in entries if e is not None)
    verdicts = []
    for line, (_, problems), entry in zip(lines, found, entries, strict=True):
        if entry is None:
            cells = sheets.texts(line, columns)
            verdicts.append(Verdict(line.number, WRONG, cells["code"][:40], cells["name"][:200], (), tuple(problems)))
            continue
        twice = [Problem("import.code_twice", "code", params={"code": entry.code})] * (codes[entry.code] > 1)
        verdicts.append(_verdict(line, entry, known, there.get(entry.code), twice))
    called = repr([(v.line, v.kind, v.code, v.changes, [p.code for p in v.problems]) for v in verdicts])
    digest = hashlib.new("sm3", content + called.encode()).hexdigest()
    return Looked(tuple(verdicts), digest, tuple(entries), known)


def _entry(line: Line, columns: Mapping[int, str], wide: int) -> tuple[NetworkEntry | None, list[Problem]]:
    entry, problems = read(sheets.texts(line, columns))
    cells = sheets.complaints(line, columns, wide)
    bad = {problem.field for problem in cells}
    every = [*cells, *(p for p in problems if p.field not in bad)]
    return (None, every) if every else (entry, [])


def _kept(entry: NetworkEntry, there: Mapping[str, Listed], given: set[str]) -> NetworkEntry:
    """Fields that the file has no column for stay as the list has them; systems have no order."""
    entry = replace(entry, systems=tuple(sorted(entry.systems)))
    listed = there.get(entry.code)
    if listed is None:
        return entry
    return replace(entry, **{name: getattr(listed.entry, name) for name in READ if name not in given})


def _verdict(line: Line, entry: NetworkEntry, known: Known, listed: Listed | None, problems: list[Problem]) -> Verdict:
    every = [*problems_of(entry, known), *problems]
    changes: tuple[str, ...] = ()
    if listed is not None:
        changes = tuple(name for name in READ if getattr(listed.entry, name) != getattr(entry, name))
        if [p.code for p in every] == ["network.closed"] and not changes:
            every = []  # an export holds what is shut down; read back, it says nothing new
    kind = NEW if entry.code not in known.networks else CHANGE if changes else SAME
    return Verdict(line.number, WRONG if every else kind, entry.code, entry.name[:200], changes, tuple(every))


def begin(work: Work, content: bytes, file_name: str, headings: Mapping[str, str]) -> tuple[NetworkImport, Looked]:
    """The dry run: keep the file, say what it would do. Raises Forbidden ``network.not_yours``, Invalid (``look``)."""
    register.require_writer(work)
    looked = look(work, content, headings)
    assert work.actor.account_id is not None
    kept = NetworkImport(
        id=new_id(),
        file_name=(PurePath(file_name.replace("\\", "/")).name or "—")[:200],
        content=content,
        digest=looked.digest,
        created_by=work.actor.account_id,
        created_at=work.now,
    )
    work.session.add(kept)
    return kept, looked


def again(work: Work, import_id: UUID, headings: Mapping[str, str]) -> tuple[NetworkImport, Looked]:
    """What a kept file would do now. Raises NotFound ``import.not_found``, also for somebody else's."""
    kept = _mine(work, import_id)
    return kept, look(work, kept.content, headings)


def apply(
    work: Work, import_id: UUID, digest: str, headings: Mapping[str, str], *, plan_workdays: int
) -> tuple[NetworkImport, Looked]:
    """Write everything that the verdict named ``digest`` says: all lines or none.

    Raises NotFound ``import.not_found``; Conflict ``import.applied``, ``import.changed`` (look again); Invalid with
    every problem of every line; Forbidden.
    """
    register.require_writer(work)
    kept = _mine(work, import_id, lock=True)
    if kept.applied_at is not None:
        raise Conflict("import.applied")
    looked = look(work, kept.content, headings, lock=True)
    if looked.digest != digest:
        raise Conflict("import.changed")
    if looked.problems:
        raise Invalid(looked.problems)
    for verdict, entry in zip(looked.verdicts, looked.entries, strict=True):
        assert entry is not None
        if verdict.kind in {NEW, CHANGE}:
            register.write(work, entry, looked.known, source="import", plan_workdays=plan_workdays)
    kept.applied_at = work.now
    data = {**looked.counts, "digest": digest}
    work.record("network.imported", "network_import", kept.id, article="Art. 11(1)", data=data)
    return kept, looked


def _mine(work: Work, import_id: UUID, *, lock: bool = False) -> NetworkImport:
    statement = select(NetworkImport).where(
        NetworkImport.id == import_id, NetworkImport.created_by == work.actor.account_id
    )
    found = work.session.scalar(statement.with_for_update() if lock else statement)
    if found is None:
        raise NotFound("import.not_found")
    return found

"""Brings a file of dedicated networks onto the list: a verdict on every line first, then all of it or nothing.

Called by: the API, the console, the command line. Must not: write a line that nobody saw the verdict of: applying
names the verdict (its digest), and is refused when the list has moved since (``inventory.brought``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from broker.dedicated import board, register
from broker.dedicated.board import Listed
from broker.dedicated.entry import READ, REQUIRED, Known, NetworkEntry, problems_of, read
from broker.dedicated.models import NetworkImport
from broker.errors import Problem
from broker.inventory import brought, cells, sheets
from broker.inventory.brought import CHANGE, NEW, SAME, WRONG
from broker.inventory.sheets import Line
from broker.tenancy.work import Work

KINDS = (NEW, CHANGE, SAME, WRONG)
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
        return brought.counted(self.verdicts, KINDS)

    @property
    def problems(self) -> list[Problem]:
        """Everything that is wrong, each with its line."""
        return brought.mistakes(self.verdicts)


def look(work: Work, content: bytes, headings: Mapping[str, str], *, lock: bool = False) -> Looked:
    """Read a file and say of every line what it would do. ``headings``: what a column may be called -> field.

    Raises Invalid (see ``sheets.read`` and ``sheets.columns``).
    """
    head, *lines = sheets.read(content)
    columns = sheets.columns(head, headings, [name for name in READ if name in REQUIRED])
    columns = {place: name for place, name in columns.items() if name not in _SHOWN_ONLY}
    found = [cells.read_line(read, line, columns, len(head.cells)) for line in lines]
    there = {each.network.code: each for each in board.of_codes(work, [e.code for e, _ in found if e is not None])}
    entries = [_kept(entry, there, set(columns.values())) if entry else None for entry, _ in found]
    known = register.known(work, [e for e in entries if e is not None], lock=lock)
    codes = Counter(e.code for e in entries if e is not None)
    verdicts = []
    for line, (_, problems), entry in zip(lines, found, entries, strict=True):
        if entry is None:
            said = sheets.texts(line, columns)
            verdicts.append(Verdict(line.number, WRONG, said["code"][:40], said["name"][:200], (), tuple(problems)))
            continue
        twice = [Problem("import.code_twice", "code", params={"code": entry.code})] * (codes[entry.code] > 1)
        verdicts.append(_verdict(line, entry, known, there.get(entry.code), twice))
    called = [(v.line, v.kind, v.code, v.changes, [p.code for p in v.problems]) for v in verdicts]
    return Looked(tuple(verdicts), brought.digest_of(content, called), tuple(entries), known)


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
    return brought.keep(work, NetworkImport, content, file_name, looked.digest), looked


def again(work: Work, import_id: UUID, headings: Mapping[str, str]) -> tuple[NetworkImport, Looked]:
    """What a kept file would do now. Raises NotFound ``import.not_found``, also for somebody else's."""
    kept = brought.mine(work, NetworkImport, import_id)
    return kept, look(work, kept.content, headings)


def apply(
    work: Work, import_id: UUID, digest: str, headings: Mapping[str, str], *, plan_workdays: int
) -> tuple[NetworkImport, Looked]:
    """Write everything that the verdict named ``digest`` says: all lines or none.

    Raises NotFound ``import.not_found``; Conflict ``import.applied``, ``import.changed`` (look again); Invalid with
    every problem of every line; Forbidden.
    """
    register.require_writer(work)
    kept = brought.to_apply(work, NetworkImport, import_id)
    looked = look(work, kept.content, headings, lock=True)
    brought.require_agreed(digest, looked.digest, looked.problems)
    for verdict, entry in zip(looked.verdicts, looked.entries, strict=True):
        assert entry is not None
        if verdict.kind in {NEW, CHANGE}:
            register.write(work, entry, looked.known, source="import", plan_workdays=plan_workdays)
    brought.applied(work, kept, "network", "Art. 11(1)", {**looked.counts, "digest": digest})
    return kept, looked

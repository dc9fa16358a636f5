"""Brings a file into the register: a verdict on every line first, then all of it or nothing.

Called by: the API, the console, the command line. Must not: write a line that nobody saw the verdict of: applying
names the verdict (its digest), and is refused when the register has moved since.

A line of a system that the register does not have makes one (with ``merges``), or a proposal to the Bureau (with a
reason); of one it has, a new version. A column that the file does not have leaves its field as it is; an empty cell of
one that it has empties it, and the verdict says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from broker.db.base import AnyRow
from broker.errors import Problem
from broker.inventory import brought, cells, owners, register, sheets, systems
from broker.inventory.brought import CHANGE, NEW, SAME, WRONG
from broker.inventory.models import SystemImport
from broker.inventory.sheets import Line
from broker.inventory.system_entry import READ, REQUIRED, Known, SystemEntry, problems_of, read
from broker.tenancy.work import Work

PROPOSAL = "proposal"
KINDS = (NEW, PROPOSAL, CHANGE, SAME, WRONG)
_SHOWN_ONLY = frozenset({"state", "registered_at", "ended_kind", "retired_at", "ended_reason", "unit_name"})
"""Columns that an export has for readers; an import passes over them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a line would do. ``line``: its number in the file; ``changes``: fields, of a line that changes a system."""

    line: int
    kind: str
    code: str
    name: str
    changes: tuple[str, ...] = ()
    merges: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """A file's verdicts, what they are called together (``digest``), and what is to be written."""

    verdicts: tuple[Verdict, ...]
    digest: str
    entries: tuple[SystemEntry | None, ...]
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

    Raises Invalid (see ``sheets.read``), ``import.unknown_column``, ``import.column_twice``, ``import.missing_column``.
    """
    head, *lines = sheets.read(content)
    columns = _columns(head, headings)
    found = [cells.read_line(read, line, columns, len(head.cells)) for line in lines]
    there = _there(work, [entry.code for entry, _ in found if entry is not None])
    entries = [_kept(entry, there, set(columns.values())) if entry else None for entry, _ in found]
    known = register.known(work, [e for e in entries if e is not None], lock=lock)
    waiting = register.open_proposals(work, [e.code for e in entries if e is not None])
    codes = Counter(e.code for e in entries if e is not None)
    merged = Counter(code for e in entries if e is not None for code in set(e.merges))
    verdicts = []
    for line, (_, problems), entry in zip(lines, found, entries, strict=True):
        if entry is None:
            said = sheets.texts(line, columns)
            verdicts.append(Verdict(line.number, WRONG, said["code"][:40], said["name"][:200], (), (), tuple(problems)))
            continue
        twice = [Problem("import.code_twice", "code", params={"code": entry.code})] * (codes[entry.code] > 1)
        twice += [
            Problem("system.merge_twice", "merges", "Art. 29", {"code": c}) for c in entry.merges if merged[c] > 1
        ]
        twice += [Problem("system.proposed", "code")] * (entry.code in waiting and entry.code not in there)
        verdicts.append(_verdict(line, entry, known, there.get(entry.code), [*problems, *twice]))
    called = [(v.line, v.kind, v.code, v.changes, v.merges, [p.code for p in v.problems]) for v in verdicts]
    return Looked(tuple(verdicts), brought.digest_of(content, called), tuple(entries), known)


def _columns(head: Line, headings: Mapping[str, str]) -> dict[int, str]:
    found = sheets.columns(head, headings, [name for name in READ if name in REQUIRED])
    return {place: name for place, name in found.items() if name not in _SHOWN_ONLY}


def _there(work: Work, codes: Sequence[str]) -> dict[str, AnyRow]:
    return {row[0].code: row for row in systems.of_codes(work, codes)}


def _kept(entry: SystemEntry, there: Mapping[str, AnyRow], given: set[str]) -> SystemEntry:
    """Fields that the file has no column for stay as the register has them."""
    row = there.get(entry.code)
    if row is None:
        return entry
    old = register.entry_of_row(row)
    kept = {name: getattr(old, name) for name in READ if name not in given and name != "merges"}
    return replace(entry, **kept | {"growth_reason": old.growth_reason})


def _verdict(line: Line, entry: SystemEntry, known: Known, row: AnyRow | None, problems: list[Problem]) -> Verdict:
    new = entry.code not in known.systems
    proposed = new and not entry.is_stock and not entry.merges and bool(entry.growth_reason)
    every = [*problems_of(entry, known, proposed=proposed), *problems]
    ending = tuple(c for c in entry.merges if c in known.systems and not known.systems[c].ended)
    changes: tuple[str, ...] = ()
    if row is not None:
        old = register.entry_of_row(row)
        changes = tuple(n for n in READ if n != "merges" and getattr(old, n) != getattr(entry, n))
        if [p.code for p in every] == ["system.ended"] and not changes and not ending:
            every = []  # an export holds what has ended; read back, it says nothing new
    kind = PROPOSAL if proposed else NEW if new else CHANGE if changes or ending else SAME
    name, code = entry.name[:200], entry.code
    return Verdict(line.number, WRONG if every else kind, code, name, changes, ending, tuple(every))


def begin(work: Work, content: bytes, file_name: str, headings: Mapping[str, str]) -> tuple[SystemImport, Looked]:
    """The dry run: keep the file, say what it would do. Raises Forbidden ``system.not_yours``, Invalid (``look``)."""
    register.require_writer(work)
    looked = look(work, content, headings)
    kept = brought.keep(work, SystemImport, content, file_name, looked.digest, lines=len(looked.verdicts))
    return kept, looked


def again(work: Work, import_id: UUID, headings: Mapping[str, str]) -> tuple[SystemImport, Looked]:
    """What a kept file would do now. Raises NotFound ``import.not_found``, also for somebody else's."""
    kept = brought.mine(work, SystemImport, import_id)
    return kept, look(work, kept.content, headings)


def apply(work: Work, import_id: UUID, digest: str, headings: Mapping[str, str]) -> tuple[SystemImport, Looked]:
    """Write everything that the verdict named ``digest`` says: all lines or none.

    Raises NotFound ``import.not_found``; Conflict ``import.applied``, ``import.changed`` (look again); Invalid with
    every problem of every line; Forbidden.
    """
    register.require_writer(work)
    kept = brought.to_apply(work, SystemImport, import_id)
    looked = look(work, kept.content, headings, lock=True)
    brought.require_agreed(digest, looked.digest, looked.problems)
    # All that will go along, before the first of it is counted elsewhere (quotas/order.py).
    owners.lock(work, register.merging((e for e in looked.entries if e is not None), looked.known))
    for verdict, entry in zip(looked.verdicts, looked.entries, strict=True):
        assert entry is not None
        if verdict.kind == PROPOSAL:
            register.put_proposal(work, entry, looked.known)
        elif verdict.kind in {NEW, CHANGE}:
            reason = entry.growth_reason if verdict.kind == CHANGE else ""
            register.write(work, replace(entry, growth_reason=reason), looked.known, source="import")
    brought.applied(work, kept, "system", "Art. 26", {**looked.counts, "digest": digest})
    return kept, looked

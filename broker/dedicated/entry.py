"""One dedicated network as people write it: its fields, how a cell becomes a value, what keeps it off the list. Pure.

Called by: the register's use-cases, its import, the console's form. Must not: read the database; what units, people,
systems and exceptions there are comes as ``Known``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from broker.dedicated.values import LEVELS
from broker.errors import Problem
from broker.inventory import cells
from broker.inventory.cells import BadCell, code, codes, day, words
from broker.inventory.system_entry import IN_FORCE

MOST_FEN = 10**14
MOST_LINKS = 1_000_000
MOST_SYSTEMS = 200


@dataclass(frozen=True, slots=True)
class NetworkEntry:
    """What is said of one network. ``systems``: codes of the register; ``responsible``: an account's login.

    ``links``: how many leased lines; ``yearly_cost_fen``: what it costs to run a year; ``built_on``: None is not known;
    ``grounds``: the document it was built by.
    """

    unit: str
    code: str
    name: str
    purpose: str
    level: str
    coverage: str
    funding_source: str
    yearly_cost_fen: int
    links: int
    carrier: str
    responsible: str
    grounds: str
    built_on: date | None = None
    systems: tuple[str, ...] = ()
    classified: bool = False

    @property
    def is_new(self) -> bool:
        """Built since the rules came into force (Art. 10, 48), or nobody knows when."""
        return self.built_on is None or self.built_on >= IN_FORCE


@dataclass(frozen=True, slots=True)
class KnownNetwork:
    """A network of the list. ``mine``: the actor may change it; ``fixed``: its systems have moved."""

    id: UUID
    unit: str
    mine: bool
    closed: bool = False
    planned: bool = False
    fixed: bool = False
    systems: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()
    exception_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What an entry is checked against.

    ``units``, ``people``: that the actor may write for, by code and login; ``systems``: in use, by code;
    ``networks``: by code; ``exceptions``: the one of Art. 10 that a unit has, by its code.
    """

    today: date
    units: Mapping[str, UUID] = field(default_factory=dict)
    people: Mapping[str, UUID] = field(default_factory=dict)
    systems: Mapping[str, UUID] = field(default_factory=dict)
    networks: Mapping[str, KnownNetwork] = field(default_factory=dict)
    exceptions: Mapping[str, UUID] = field(default_factory=dict)


def yuan(text: str) -> int:
    """``1,234.50`` (元) in fen."""
    plain = re.sub(r"[,，\s元]", "", text)
    if not plain:
        raise BadCell("field.missing")
    found = re.fullmatch(r"(\d{1,12})(?:\.(\d{1,2}))?", plain, re.ASCII)
    if found is None:
        raise BadCell("network.money")
    return int(found[1]) * 100 + int((found[2] or "").ljust(2, "0"))


def count(text: str) -> int:
    """A whole number that has to be there."""
    if not text:
        raise BadCell("field.missing")
    if not re.fullmatch(r"\d{1,7}", text, re.ASCII):
        raise BadCell("network.links")
    return int(text)


_LEVEL_WORDS = {"自治区": "region", "市": "city", "县": "county", "乡": "township", "村": "village"}


def level(text: str) -> str:
    """One of the five of Art. 8, by our word or in Chinese."""
    word = text.removesuffix("级")
    if not word:
        raise BadCell("field.missing")
    if word not in LEVELS and word not in _LEVEL_WORDS:
        raise BadCell("network.level")
    return _LEVEL_WORDS.get(word, word)


_TRUTH = {"是": True, "true": True, "否": False, "false": False}


def yes_or_no(text: str) -> bool:
    """是 or 否; it has to be said."""
    if not text:
        raise BadCell("field.missing")
    if text not in _TRUTH:
        raise BadCell("network.yes_or_no")
    return _TRUTH[text]


READ: Mapping[str, Callable[[str], Any]] = {
    "code": code,
    "unit": words(40),
    "name": words(200),
    "purpose": words(2000),
    "level": level,
    "coverage": words(200),
    "classified": yes_or_no,
    "built_on": day,
    "grounds": words(200),
    "links": count,
    "carrier": words(200),
    "funding_source": words(200),
    "yearly_cost_fen": yuan,
    "responsible": words(100),
    "systems": codes,
}
"""Every field in the order in which files and forms show it, and how its text is read."""

REQUIRED = frozenset(READ) - {"built_on", "systems"}


def read(texts: Mapping[str, str]) -> tuple[NetworkEntry | None, list[Problem]]:
    """An entry out of the text of its fields; None where some of it cannot be read. All problems at once."""
    return cells.read(NetworkEntry, READ, texts)


def problems_of(entry: NetworkEntry, known: Known) -> list[Problem]:
    """Everything that keeps an entry off the list."""
    there = known.networks.get(entry.code)
    found = [*_references(entry, known, there), *_systems(entry, known, there), *_values(entry, known)]
    excepted = entry.unit in known.exceptions or (there is not None and there.exception_id is not None)
    if entry.is_new and not excepted:
        found.append(Problem("network.none_new", "built_on", "Art. 10", {"day": IN_FORCE.isoformat()}))
    return found


def _references(entry: NetworkEntry, known: Known, there: KnownNetwork | None) -> Iterable[Problem]:
    if entry.classified:
        yield Problem("network.classified", "classified", "Art. 11(1)")
    if there is not None and not there.mine:
        yield Problem("network.of_another_unit", "code")
    elif there is not None and there.closed:
        yield Problem("network.closed", "code")
    elif there is not None and there.unit != entry.unit:
        yield Problem("network.unit_fixed", "unit")
    if entry.unit not in known.units:
        yield Problem("unit.unknown", "unit")
    if entry.responsible not in known.people:
        yield Problem("network.person_unknown", "responsible", params={"login": entry.responsible})


def _systems(entry: NetworkEntry, known: Known, there: KnownNetwork | None) -> Iterable[Problem]:
    kept = there.systems if there is not None else frozenset()
    for n, system in enumerate(entry.systems):
        if system in entry.systems[:n]:
            yield Problem("network.system_twice", "systems", params={"code": system})
        elif system not in known.systems and system not in kept:
            yield Problem("network.system_unknown", "systems", "Art. 26", {"code": system})
    if there is not None and there.fixed and frozenset(entry.systems) != kept:
        yield Problem("network.systems_fixed", "systems", "Art. 11(3)")
    elif there is not None and there.planned:
        for gone in sorted(kept - set(entry.systems) - there.ended):
            yield Problem("network.system_planned", "systems", "Art. 11(3)", {"code": gone})


def _values(entry: NetworkEntry, known: Known) -> Iterable[Problem]:
    if entry.level not in LEVELS:
        yield Problem("network.level", "level", "Art. 8")
    if not 0 <= entry.yearly_cost_fen <= MOST_FEN:
        yield Problem("network.money", "yearly_cost_fen")
    if not 0 <= entry.links <= MOST_LINKS:
        yield Problem("network.links", "links")
    if len(entry.systems) > MOST_SYSTEMS:
        yield Problem("network.systems_most", "systems", params={"most": MOST_SYSTEMS})
    if entry.built_on is not None and entry.built_on > known.today:
        yield Problem("system.future", "built_on")

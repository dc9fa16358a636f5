"""Reads detection policies (YAML) and refuses what cannot be meant; every problem of the file at once.

Called by: the command line, ``utilisation.service``. Must not: touch the database. The format is in
``docs/decisions/0009-utilisation.md``; the shipped defaults in ``data/policies.yaml`` are ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from broker.errors import Problem
from broker.utilisation.rules import contradiction
from broker.utilisation.values import (
    METRICS,
    OURS,
    SEEN,
    AllOf,
    AnyOf,
    Condition,
    Daily,
    Exemption,
    MissingDay,
    Policy,
    PolicySet,
    Unreadable,
    When,
)
from broker.yaml_file import YamlError, read_yaml

DEFAULTS = Path(__file__).parent / "data" / "policies.yaml"
KINDS = frozenset({"server"})
"""What has samples; the other kinds are only seen (``SEEN``)."""
MOST_DAYS = 450
MOST_DEPTH = 8

T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}", re.IGNORECASE)
_BASIS = re.compile(r"ours|Art\. [0-9]{1,3}(\([0-9]{1,2}\))?")
_LEAF = frozenset({"metric", "daily", "below", "above"})
_POLICY = frozenset(
    {"name", "title", "kind", "when", "seen", "days", "min_samples_per_day", "missing_day"}
    | {"basis", "exempt", "grace_working_days"}
)
_EXEMPTION = frozenset(
    {"name", "reason", "resources", "systems", "units", "mlps_level_from", "newer_than_days", "months", "includes"}
)
_EXEMPTS = _EXEMPTION - {"name", "reason"}
"""What says whom it is about; one of them at least, be it empty yet."""


def read_policies(path: Path = DEFAULTS) -> PolicySet:
    """The policies of a file. Raises Invalid with every problem; ``field`` is its place in the file."""
    try:
        raw = read_yaml(path)
    except YamlError as error:
        place = {"line": error.line, "column": error.column, "detail": error.detail}
        where = f"{path.name}:{error.line}" if error.line else path.name
        raise Unreadable([Problem(error.code, where, params=place)]) from error
    return parse_policies(raw)


def parse_policies(raw: Any) -> PolicySet:
    """The policies of plain data. Raises Invalid with every problem."""
    reader = _Reader()
    found = reader.whole(raw)
    if reader.problems:
        raise Unreadable(reader.problems)
    return found


class _Reader:
    """Walks the data and notes what is wrong; what it returns is used only when nothing was."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def wrong(self, code: str, place: str, **params: object) -> None:
        self.problems.append(Problem(code, place, params=params))

    def whole(self, raw: Any) -> PolicySet:
        data = self.mapping(raw, "", frozenset({"version", "policies", "exemptions"}))
        version = str(data.get("version", ""))
        exemptions = [self.exemption(e, p) for e, p in self.entries(data, "exemptions")]
        policies = [self.policy(e, p) for e, p in self.entries(data, "policies")]
        if not policies:
            self.wrong("policy.none", "policies")
        self.unique([p.name for p in policies], "policies")
        self.unique([e.name for e in exemptions], "exemptions")
        known = {e.name: e for e in exemptions}
        self.references(policies, exemptions, known)
        return PolicySet(version, tuple(policies), known)

    def policy(self, raw: Any, place: str) -> Policy:
        data = self.mapping(raw, place, _POLICY)
        if "days" not in data:
            self.wrong("policy.no_days", f"{place}.days")
        seen = self.seen(data, place)
        when = None if seen else self.when(data.get("when"), f"{place}.when", 0)
        if when is not None and not self._trouble_below(f"{place}.when"):
            impossible = contradiction(when)
            if impossible is not None:
                self.wrong("policy.contradiction", f"{place}.when", metric=impossible.metric, daily=impossible.daily)
        kind = self.text(data, "kind", place, SEEN.get(seen, "server"))
        kinds = {SEEN[seen]} if seen in SEEN else KINDS
        if kind not in kinds:
            self.wrong("policy.unknown_kind", f"{place}.kind", value=kind, choices=", ".join(sorted(kinds)))
        basis = self.text(data, "basis", place, OURS)
        if not _BASIS.fullmatch(basis):
            self.wrong("policy.basis", f"{place}.basis", value=basis)
        name = self.name(data, place)
        return Policy(
            name=name,
            title=self.text(data, "title", place, name),
            kind=kind,
            when=when or AllOf(()),
            days=self.whole_number(data, "days", place, (1, MOST_DAYS), 1),
            min_samples_per_day=self.whole_number(data, "min_samples_per_day", place, (1, 1440), 1),
            missing_day=self.choice(data, "missing_day", place, MissingDay, MissingDay.BREAK),
            basis=basis,
            exempt=self.names(data, "exempt", place),
            grace_working_days=self.grace(data.get("grace_working_days", {}), f"{place}.grace_working_days"),
            seen=seen,
        )

    def seen(self, data: Mapping[str, Any], place: str) -> str:
        """What has to be seen, in place of a condition over samples."""
        if "seen" not in data:
            return ""
        seen = str(data["seen"])
        if seen not in SEEN:
            self.wrong("policy.choice", f"{place}.seen", value=seen[:40], choices=", ".join(SEEN))
        for key in ("when", "min_samples_per_day", "missing_day"):
            if key in data:
                self.wrong("policy.seen_and_measured", f"{place}.{key}", key=key)
        return seen

    def exemption(self, raw: Any, place: str) -> Exemption:
        data = self.mapping(raw, place, _EXEMPTION)
        if data and not _EXEMPTS & data.keys():
            self.wrong("policy.exempts_nothing", place)
        name = self.name(data, place)
        level = self.whole_number(data, "mlps_level_from", place, (1, 5), 0)
        newer = self.whole_number(data, "newer_than_days", place, (1, 3660), 0)
        months = data.get("months", [])
        if not isinstance(months, list) or not all(type(m) is int and 1 <= m <= 12 for m in months):
            self.wrong("policy.months", f"{place}.months")
            months = []
        return Exemption(
            name=name,
            reason=self.text(data, "reason", place, name),
            resources=frozenset(self.names(data, "resources", place)),
            systems=frozenset(self.names(data, "systems", place)),
            units=frozenset(self.names(data, "units", place)),
            mlps_level_from=level or None,
            newer_than_days=newer or None,
            months=frozenset(months),
            includes=self.names(data, "includes", place),
        )

    def when(self, raw: Any, place: str, depth: int) -> When | None:
        if depth > MOST_DEPTH:
            self.wrong("policy.too_deep", place, most=MOST_DEPTH)
            return None
        if not isinstance(raw, dict) or not raw:
            self.wrong("policy.no_condition", place)
            return None
        keys = set(raw)
        if keys & {"all", "any"}:
            return self.joined(raw, place, depth)
        return self.leaf(raw, place)

    def joined(self, raw: dict[str, Any], place: str, depth: int) -> When | None:
        """``all`` and ``any`` beside each other: both must hold."""
        for key in set(raw) - {"all", "any"}:
            self.wrong("policy.unknown_field", f"{place}.{key}", key=key)
        made: list[When] = []
        for key, join in (("all", AllOf), ("any", AnyOf)):
            if key not in raw:
                continue
            listed = raw[key]
            if not isinstance(listed, list) or not listed:
                self.wrong("policy.no_condition", f"{place}.{key}")
                continue
            parts = [self.when(each, f"{place}.{key}[{i}]", depth + 1) for i, each in enumerate(listed)]
            made.append(join(tuple(p for p in parts if p is not None)))
        return None if not made else made[0] if len(made) == 1 else AllOf(tuple(made))

    def leaf(self, raw: dict[str, Any], place: str) -> Condition | None:
        data = self.mapping(raw, place, _LEAF)
        metric = data.get("metric")
        if metric not in METRICS:
            self.wrong("policy.unknown_metric", f"{place}.metric", value=metric, choices=", ".join(METRICS))
        if "daily" not in data:
            self.wrong("policy.missing", f"{place}.daily", key="daily")
        daily = self.choice(data, "daily", place, Daily, Daily.MEAN)
        below, above = self.limit(data, "below", place), self.limit(data, "above", place)
        if "below" not in data and "above" not in data:
            self.wrong("policy.no_limit", place)
        return Condition(str(metric), daily, below, above)

    def limit(self, data: Mapping[str, Any], key: str, place: str) -> Decimal | None:
        if key not in data:
            return None
        value = data[key]
        if type(value) is int or (type(value) is float and math.isfinite(value)):
            found = Decimal(repr(value))
            if 0 <= found <= 10**9:
                return found
        self.wrong("policy.limit", f"{place}.{key}", value=str(value)[:40])
        return None

    def grace(self, raw: Any, place: str) -> dict[int, int]:
        found: dict[int, int] = {}
        if not isinstance(raw, dict):
            self.wrong("policy.grace", place)
            return found
        for level, days in raw.items():
            if type(level) is int and 1 <= level <= 5 and type(days) is int and 0 <= days <= 250:
                found[level] = days
            else:
                self.wrong("policy.grace", f"{place}.{level}")
        return found

    def references(
        self, policies: Sequence[Policy], exemptions: Sequence[Exemption], known: Mapping[str, Exemption]
    ) -> None:
        used = [(f"policies[{i}].exempt", p.exempt) for i, p in enumerate(policies)]
        used += [(f"exemptions[{i}].includes", e.includes) for i, e in enumerate(exemptions)]
        for place, names in used:
            for name in names:
                if name not in known:
                    self.wrong("policy.unknown_exemption", place, value=name)
        for i, exemption in enumerate(exemptions):
            if _reaches(exemption.name, exemption.name, known):
                self.wrong("policy.exemption_cycle", f"exemptions[{i}].includes", name=exemption.name)

    def mapping(self, raw: Any, place: str, known: frozenset[str]) -> dict[str, Any]:
        if not isinstance(raw, dict):
            self.wrong("policy.shape", place)
            return {}
        for key in raw:
            if key not in known:
                self.wrong("policy.unknown_field", f"{place}.{key}".lstrip("."), key=key)
        return raw

    def entries(self, data: Mapping[str, Any], key: str) -> list[tuple[Any, str]]:
        listed = data.get(key, [])
        if not isinstance(listed, list):
            self.wrong("policy.shape", key)
            return []
        return [(each, f"{key}[{i}]") for i, each in enumerate(listed)]

    def name(self, data: Mapping[str, Any], place: str) -> str:
        found = data.get("name")
        if not isinstance(found, str) or not _NAME.fullmatch(found):
            self.wrong("policy.name", f"{place}.name")
            return ""
        return found

    def names(self, data: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
        listed = data.get(key, [])
        if not isinstance(listed, list) or not all(type(each) in {str, int} and str(each) for each in listed):
            self.wrong("policy.names", f"{place}.{key}")
            return ()
        return tuple(str(each) for each in listed)

    def text(self, data: Mapping[str, Any], key: str, place: str, default: str) -> str:
        found = data.get(key, default)
        if not isinstance(found, str) or not found.isprintable() or not 0 <= len(found) <= 200:
            self.wrong("policy.text", f"{place}.{key}")
            return default
        return found

    def whole_number(self, data: Mapping[str, Any], key: str, place: str, within: tuple[int, int], default: int) -> int:
        least, most = within
        found = data.get(key, default)
        if key in data and (type(found) is not int or not least <= found <= most):
            code = "policy.no_days" if key == "days" and found in {0, None} else "policy.range"
            self.wrong(code, f"{place}.{key}", least=least, most=most)
            return default
        return int(found)

    def choice(self, data: Mapping[str, Any], key: str, place: str, make: Callable[[str], T], default: T) -> T:
        if key not in data:
            return default
        try:
            return make(data[key])
        except ValueError:
            choices = ", ".join(str(each) for each in type(default))  # type: ignore[attr-defined]
            self.wrong("policy.choice", f"{place}.{key}", value=str(data[key])[:40], choices=choices)
            return default

    def unique(self, names: Sequence[str], place: str) -> None:
        for i, name in enumerate(names):
            if name and name in names[:i]:
                self.wrong("policy.name_twice", f"{place}[{i}].name", value=name)

    def _trouble_below(self, place: str) -> bool:
        return any(problem.field.startswith(place) for problem in self.problems)


def _reaches(start: str, goal: str, known: Mapping[str, Exemption]) -> bool:
    waiting, seen = list(known[start].includes), set()
    while waiting:
        name = waiting.pop()
        if name == goal:
            return True
        if name not in seen and name in known:
            seen.add(name)
            waiting.extend(known[name].includes)
    return False

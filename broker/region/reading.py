"""Reads a region file and the tables beside it into one checked ``Region``; reports everything that is wrong at once.

Called by: ``region.loader``, the command line (``guiyun db load-region``), tests. Must not: touch the database.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from broker.errors import Invalid, Problem
from broker.region.checks import problems_of
from broker.region.schema import Region
from broker.yaml_file import LIMIT_BYTES, YamlError, path_of, read_yaml

DEMONSTRATION = Path(__file__).parent / "data" / "demonstration.yaml"

UNIT_COLUMNS = ("code", "kind", "name", "parent", "block")

_CODES = {
    "missing": "region.missing",
    "extra_forbidden": "region.unknown_field",
    "literal_error": "region.unknown_value",
    "greater_than_equal": "region.too_small",
    "less_than_equal": "region.too_large",
    "greater_than": "region.too_small",
    "less_than": "region.too_large",
    "too_long": "region.too_large",
    "string_too_long": "region.too_large",
    "too_short": "region.too_small",
    "string_too_short": "region.too_small",
    "string_pattern_mismatch": "region.malformed",
    "value_error": "region.malformed",
    "decimal_max_places": "region.too_many_decimals",
}
_LIMITS = ("ge", "gt", "le", "lt", "min_length", "max_length", "decimal_places")
_SECRET = re.compile(
    r"password|passwd|secret|token|credential|private_?key|api_?key|_url$|://[^/@]*:[^/@]*@", re.IGNORECASE
)


class RegionError(Invalid):
    """The region file cannot be used; every problem of it at once. 422."""


def read_region(path: Path = DEMONSTRATION) -> Region:
    """The region a file describes. Raises RegionError with every problem; ``field`` is its place in the file."""
    try:
        raw = read_yaml(path)
    except YamlError as error:
        place = {"line": error.line, "column": error.column, "detail": error.detail}
        raise RegionError([Problem(error.code, path.name, params=place)]) from error
    if not isinstance(raw, dict):
        raise RegionError([Problem("region.malformed", "", params={"detail": "not a mapping of sections"})])
    problems = list(_secrets(raw))
    told = len(problems)
    raw, from_tables = _with_tables(_with_defaults(raw, problems), path.parent, problems)
    whole = len(problems) == told
    region = _validated(raw, from_tables, problems)
    if region is not None and whole:  # without its tables nearly every code of the file would name nothing
        problems.extend(problems_of(region))
    if region is None or problems:
        raise RegionError(problems)
    return region


def _validated(raw: Mapping[str, Any], from_tables: list[str], problems: list[Problem]) -> Region | None:
    try:
        return Region.model_validate(raw)
    except ValidationError as error:
        problems.extend(_problem(found, from_tables) for found in error.errors(include_url=False))
        return None


def _problem(found: ErrorDetails, from_tables: list[str]) -> Problem:
    location = found["loc"]
    place = path_of(location)
    if location[:2] == ("units", "more") and len(location) > 2 and isinstance(location[2], int):
        row = location[2]
        rest = path_of(location[3:])
        # Rows of the tables come first; a mistake in one is named by its table and line.
        place = (
            f"{from_tables[row]}.{rest}" if row < len(from_tables) else f"units.more[{row - len(from_tables)}].{rest}"
        )
    code = _CODES.get(found["type"], "region.wrong_type")
    context = found.get("ctx", {})
    limits = [context[name] for name in _LIMITS if name in context]
    expected = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
    named = str(found["input"])[:40] if expected else str(location[-1]) if location else ""
    params = {"detail": found["msg"], "code": named, "limit": limits[0] if limits else "", "expected": expected}
    return Problem(code, place.rstrip("."), params={name: value for name, value in params.items() if value != ""})


def _with_defaults(raw: Mapping[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """Each sub-cloud over what its tier has in common. Shapes that are wrong are left for the schema to name."""
    sections = dict(raw)
    defaults = sections.pop("sub_cloud_defaults", {})
    clouds = sections.get("sub_clouds")
    if not isinstance(defaults, dict) or not all(isinstance(entry, dict) for entry in defaults.values()):
        problems.append(Problem("region.wrong_type", "sub_cloud_defaults"))
        return sections
    unknown = sorted(set(map(str, defaults)) - {"main", "industry", "city"})
    problems.extend(Problem("region.unknown_field", f"sub_cloud_defaults.{tier}") for tier in unknown)
    if isinstance(clouds, list):
        sections["sub_clouds"] = [
            {**defaults.get(str(cloud.get("tier")), {}), **cloud} if isinstance(cloud, dict) else cloud
            for cloud in clouds
        ]
    return sections


def _with_tables(raw: dict[str, Any], folder: Path, problems: list[Problem]) -> tuple[dict[str, Any], list[str]]:
    """The units of the tables put before those of the file, and where each came from (``divisions.csv:12``)."""
    units = raw.get("units")
    if not isinstance(units, dict) or not isinstance(units.get("files", []), list):
        return raw, []
    more = units.get("more", [])
    if not isinstance(more, list):
        return raw, []
    rows: list[dict[str, str]] = []
    places: list[str] = []
    for name in units.get("files", []):
        for place, row in _table(folder / Path(str(name)).name, problems):
            rows.append(row)
            places.append(place)
    return {**raw, "units": {**units, "more": [*rows, *more]}}, places


def _table(path: Path, problems: list[Problem]) -> Iterator[tuple[str, dict[str, str]]]:
    """The units of one table. An empty cell is an absent value."""
    try:
        if path.stat().st_size > LIMIT_BYTES:
            problems.append(Problem("yaml.too_large", path.name))
            return
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        problems.append(Problem("yaml.unreadable", path.name, params={"detail": str(error.strerror)}))
        return
    except UnicodeDecodeError as error:
        problems.append(Problem("yaml.not_utf8", path.name, params={"detail": f"byte {error.start}"}))
        return
    reader = csv.DictReader(text.splitlines())
    absent = [column for column in UNIT_COLUMNS if column not in (reader.fieldnames or ())]
    if absent:
        problems.append(Problem("region.missing", path.name, params={"code": ", ".join(absent)}))
        return
    for line, row in enumerate(reader, start=2):
        yield f"{path.name}:{line}", {column: row[column] for column in UNIT_COLUMNS if row[column]}


def _secrets(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Options that look like credentials: those belong into the clouds file."""
    entries = [("sub_cloud_defaults", key, value) for key, value in _pairs(raw.get("sub_cloud_defaults"))]
    clouds = raw.get("sub_clouds")
    if isinstance(clouds, list):
        entries += [("sub_clouds", index, value) for index, value in enumerate(clouds)]
    for section, key, entry in entries:
        options = entry.get("options") if isinstance(entry, dict) else None
        for name, value in _pairs(options):
            if _SECRET.search(str(name)) or _SECRET.search(str(value)):
                yield Problem("region.secret", path_of((section, key, "options", str(name))))


def _pairs(mapping: Any) -> list[tuple[Any, Any]]:
    return list(mapping.items()) if isinstance(mapping, dict) else []

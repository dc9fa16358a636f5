"""The demonstration region, as it is and edited, and loading it."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy.orm import Session

from broker.region.loader import LoadReport, load
from broker.region.reading import DEMONSTRATION, read_region
from broker.yaml_file import read_yaml

Edit = Callable[[dict[str, Any]], object]
Edited = Callable[..., Path]

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
AS_SHIPPED = read_region()
_DEMONSTRATION: dict[str, Any] = read_yaml(DEMONSTRATION)


def write_region(folder: Path, *edits: Edit) -> Path:
    """The demonstration region in a folder, edited by functions over its data, with its tables beside it."""
    data = copy.deepcopy(_DEMONSTRATION)
    for edit in edits:
        edit(data)
    for table in ("divisions.csv", "departments.csv"):
        if not (folder / table).exists():
            shutil.copy(DEMONSTRATION.parent / table, folder)
    path = folder / "region.yaml"
    path.write_text(yaml.dump(data, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def put(*path: str | int, value: Any) -> Edit:
    """An edit that puts a value at a place."""

    def edit(data: dict[str, Any]) -> None:
        at: Any = data
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value

    return edit


def drop(*path: str | int) -> Edit:
    """An edit that takes what stands at a place out of the file."""

    def edit(data: dict[str, Any]) -> None:
        at: Any = data
        for part in path[:-1]:
            at = at[part]
        del at[path[-1]]

    return edit


def append(section: str, value: Any) -> Edit:
    """An edit that adds an entry to a list."""
    return lambda data: data[section].append(value)


def hashed(password: str) -> str:
    """A hash that costs nothing: what is hashed, and how, is another room's matter."""
    return f"hash of {password}"


def loaded(session: Session, path: Path | None = None, *, demonstration: bool = False) -> LoadReport:
    """Load a region file, or the demonstration as shipped, as of ``NOW``."""
    region = AS_SHIPPED if path is None else read_region(path)
    return load(session, region, now=NOW, demonstration=demonstration, hasher=hashed)

"""Reads a YAML file that a person edits: refuses a key given twice, oversized files and anything but plain data.

Called by: ``broker.workdays`` (days off), ``broker.region`` (the region file); any other file an operator writes.
Must not: know what the file means. PyYAML alone keeps the last of two equal keys and says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

LIMIT_BYTES = 4 * 1024 * 1024


class YamlError(Exception):
    """The text cannot be read. ``code`` is stable; ``line`` and ``column`` count from 1, 0 when unknown."""

    def __init__(self, code: str, detail: str, *, line: int = 0, column: int = 0) -> None:
        super().__init__(f"{code} at line {line}, column {column}: {detail}" if line else f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.line = line
        self.column = column


class _StrictLoader(yaml.SafeLoader):
    """Plain data only, every key once, no aliases (they let a small file grow without bound)."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]  # types-PyYAML leaves it untyped
            raise _problem("yaml.alias", "aliases (*name) are not allowed", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise _problem("yaml.broken", "a key must be a plain value", key_node.start_mark)
            if key in seen:
                raise _problem("yaml.duplicate_key", str(key), key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 reads `off` as false, 09:00 as 540 and 0450 as 296. People who write such things mean the text.
_StrictLoader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if tag not in {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:int"}
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")
)


def _problem(code: str, detail: str, mark: Any) -> YamlError:
    return YamlError(code, detail, line=mark.line + 1, column=mark.column + 1)


def parse_yaml(text: str) -> Any:
    """The plain data in ``text``. Raises YamlError (``yaml.broken``, ``yaml.duplicate_key``, ``yaml.alias``)."""
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader made stricter
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        detail = error.problem or "cannot be read"
        if mark is None:
            raise YamlError("yaml.broken", detail) from error
        raise _problem("yaml.broken", detail, mark) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # An impossible date (2026-02-30) comes out of PyYAML as a bare ValueError, without a place.
        raise YamlError("yaml.broken", str(error)[:200]) from error


def read_yaml(path: Path) -> Any:
    """The plain data in a file. Raises YamlError, also ``yaml.unreadable``, ``yaml.too_large``, ``yaml.not_utf8``."""
    try:
        if path.stat().st_size > LIMIT_BYTES:
            raise YamlError("yaml.too_large", f"{path.name} is larger than {LIMIT_BYTES} bytes")
        raw = path.read_bytes()
    except OSError as error:
        raise YamlError("yaml.unreadable", f"{path.name}: {error.strerror}") from error
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise YamlError("yaml.not_utf8", f"{path.name}: byte {error.start}") from error
    return parse_yaml(text)


def path_of(location: tuple[int | str, ...]) -> str:
    """A place in the data as people write it: ``sub_clouds[3].capacity``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")

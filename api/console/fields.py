"""From the flat fields of an HTML form to the JSON of a request's form, and adding or removing parts of it. Pure.

Called by: ``api.console.request_form``. Must not: check anything (``broker.request`` does) or lose what was typed.

A field's name is its path, as problems name it: ``items[2].data_disks[0].size_gib``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_STEP = re.compile(r"\[(\d{1,4})\]|\.?([a-z_]+)")
_PATH = re.compile(r"[a-z_]+(\[\d{1,4}\])?(\.[a-z_]+(\[\d{1,4}\])?)*")
_WHOLE = frozenset({"expected_users", "count", "vcpu", "memory_gib", "system_disk_gib", "size_gib"})
_YES_NO = frozenset({"classified", "dedicated_network", "allow_partial"})
_SEVERAL = frozenset({"services"})
"""Several values in one field, with spaces or commas between them."""
_OURS = frozenset({"csrf_token", "action", "request_id", "version", "file", "attachments"})
_MOST_DIGITS = 15

FRESH_ITEMS: Mapping[str, Mapping[str, Any]] = {
    "server": {
        "kind": "server",
        "name": "",
        "count": 1,
        "vcpu": 4,
        "memory_gib": 8,
        "system_disk_gib": 40,
        "system_disk_class": "ssd",
        "image": "",
        "cpu_arch": "x86_64",
        "zone": "shared",
        "data_disks": [],
    },
    "volume": {"kind": "volume", "name": "", "count": 1, "size_gib": 100, "block_class": "ssd"},
    "segment": {"kind": "segment", "name": "", "count": 1, "zone": "shared"},
}
FRESH_DISK: Mapping[str, Any] = {"size_gib": 100, "block_class": "ssd"}
_NAMES = {"server": "srv", "volume": "vol", "segment": "net"}


def read(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The form's JSON. Empty fields are left out, numbers stay text when they are none; the rules will say so."""
    root: dict[str, Any] = {}
    attachments = []
    for name, value in pairs:
        if not isinstance(value, str):
            continue
        if name == "attachments" and value:
            attachments.append(value)
        if name in _OURS or not _PATH.fullmatch(name):
            continue
        _put(root, name, value.strip().replace("\r\n", "\n"))
    made: dict[str, Any] = _lists(root)
    if attachments:
        made["attachments"] = attachments
    made["items"] = _objects(made.get("items"))
    return made


def _put(root: dict[str, Any], name: str, text: str) -> None:
    """Set one value; lists are kept as dictionaries by their index until all are there."""
    here: dict[str, Any] = root
    steps = [found[1] or found[2] for found in _STEP.finditer(name)]
    for step in steps[:-1]:
        inner = here.setdefault(step, {})
        if not isinstance(inner, dict):
            return
        here = inner
    last = steps[-1]
    if last in _YES_NO and text in {"true", "false"}:
        here[last] = text == "true"
    elif last in _WHOLE and text.isascii() and text.lstrip("-").isdigit() and len(text) <= _MOST_DIGITS:
        here[last] = int(text)
    elif last in _SEVERAL and text:
        here[last] = re.split(r"[\s,，、;；]+", text)
    elif text:
        here[last] = text


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _lists(inner) for key, inner in value.items()}


def change(raw: dict[str, Any], action: str) -> str:
    """Add or remove an item or a disk as a button asks; returns the path of the field to go on with.

    ``add:server``, ``remove:2``, ``add-disk:1``, ``remove-disk:1.0``; anything else changes nothing.
    """
    verb, _, where = action.partition(":")
    items = raw["items"]
    if verb == "add" and where in FRESH_ITEMS:
        items.append({**FRESH_ITEMS[where], "name": _fresh_name(items, where)})
        return f"items[{len(items) - 1}].name"
    place = [int(part) for part in where.split(".") if part.isdigit()]
    if not place or place[0] >= len(items):
        return ""
    item = items[place[0]]
    disks = item["data_disks"] = _objects(item.get("data_disks"))
    if verb == "remove":
        items.pop(place[0])
        return f"items[{max(place[0] - 1, 0)}].name" if items else ""
    if verb == "add-disk":
        disks.append(dict(FRESH_DISK))
        return f"items[{place[0]}].data_disks[{len(disks) - 1}].size_gib"
    if verb == "remove-disk" and len(place) > 1 and place[1] < len(disks):
        disks.pop(place[1])
    return f"items[{place[0]}].name"


def _fresh_name(items: list[dict[str, Any]], kind: str) -> str:
    """A name that no item has yet, so that a form can be sent without inventing any."""
    taken = {item.get("name") for item in items}
    number = 1
    while f"{_NAMES[kind]}{number}" in taken:
        number += 1
    return f"{_NAMES[kind]}{number}"


class Lenient(dict[str, Any]):
    """A part of a form in which a field that was not filled in is None."""

    def __missing__(self, _key: str) -> None:
        return None


def for_page(raw: Mapping[str, Any]) -> Lenient:
    """The form as the template reads it, whatever shape a draft of a program's has."""
    made = Lenient(raw)
    contact = made["contact"]
    made["contact"] = Lenient(contact if isinstance(contact, dict) else {})
    made["items"] = [_item_for_page(item) for item in _objects(made["items"]) if item.get("kind") in FRESH_ITEMS]
    return made


def _item_for_page(item: Mapping[str, Any]) -> Lenient:
    several = {name: " ".join(map(str, value)) for name in _SEVERAL if isinstance(value := item.get(name), list)}
    return Lenient({**item, **several, "data_disks": [Lenient(disk) for disk in _objects(item.get("data_disks"))]})


def _objects(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []

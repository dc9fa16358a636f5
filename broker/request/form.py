"""Reads a form as JSON into ``RequestForm`` and says everything that is wrong with its shape, all at once. Pure.

Called by: ``request.service`` (submit, check while filling in). Must not: raise at the first problem, read
the database, or know a rule of the regulation (``request.rules`` does).

Every problem names the field as a path (``items[2].vcpu``). Any JSON value is survived: a list where a text should be
is a problem like any other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from ipaddress import IPv6Network
from itertools import combinations
from typing import Any, TypeVar
from uuid import UUID

from broker.errors import Problem
from broker.request.values import Contact, Disk, Item, RequestForm, SegmentItem, ServerItem, VolumeItem, Zone
from playbooks.filter_plugins.extranet import source_of

T = TypeVar("T")

MAX_ITEMS = 50
MAX_SERVERS = 200
MAX_DISKS = 8
MAX_ATTACHMENTS = 20
MAX_SERVICES, MAX_PORT = 32, 65_535
LAST_YEAR = 2200
"""No date of a request lies beyond it: far enough for any, and near enough to count from."""
BLOCK_CLASSES = ("ssd", "hdd")
CPU_ARCHS = ("x86_64", "aarch64")
NATURES = ("new", "migration")
_JSON_NAMES: Mapping[type, str] = {
    str: "json.text",
    int: "json.whole",
    bool: "json.boolean",
    dict: "json.object",
    list: "json.list",
}
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_SERVICE = re.compile(r"(tcp|udp)/([1-9][0-9]{0,4})(?:@([0-9a-f:]{2,39}/[0-9]{1,3}))?")
_PHONE = re.compile(r"\+?[0-9][0-9 \-]{5,19}")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")
_SSH_KINDS = r"ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh\.com"
_SSH_KEY = re.compile(rf"({_SSH_KINDS}) [A-Za-z0-9+/=]{{40,1200}}( .{{0,200}})?")


@dataclass(slots=True)
class Reader:
    """Takes fields out of one JSON object and gathers what is wrong with them under ``path``."""

    raw: Mapping[str, Any]
    path: str
    problems: list[Problem]
    taken: set[str] = field(default_factory=set)

    def _complain(self, name: str, code: str, **params: object) -> None:
        self.problems.append(Problem(code, f"{self.path}{name}", params=params))

    def take(self, name: str, kind: type[T], default: T | None = None) -> T | None:
        """The field if it has the JSON type ``kind``; ``default`` makes it optional."""
        self.taken.add(name)
        value = self.raw.get(name)
        if value is None:
            if default is None:
                self._complain(name, "field.missing")
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self._complain(name, "field.type", expected=_JSON_NAMES[kind])
            return default
        return value

    def text(
        self, name: str, *, most: int, least: int = 1, default: str | None = None, like: re.Pattern[str] | None = None
    ) -> str:
        """Text of ``least`` to ``most`` characters without control characters, optionally like a pattern."""
        value = self.take(name, str, default)
        if value is None or value == default:
            return value or ""
        value = value.strip()
        if not least <= len(value) <= most:
            self._complain(name, "field.length", least=least, most=most)
        elif any(unicodedata.category(c) in {"Cc", "Cs"} and c not in "\n\t" for c in value):
            self._complain(name, "field.characters")
        elif like is not None and not like.fullmatch(value):
            self._complain(name, "field.format")
        return value

    def whole(self, name: str, *, least: int, most: int, default: int | None = None) -> int:
        """A whole number from ``least`` to ``most``."""
        value = self.take(name, int, default)
        if value is None:
            return least
        if not least <= value <= most:
            self._complain(name, "field.range", least=least, most=most)
        return value

    def yes(self, name: str, *, default: bool | None = None) -> bool:
        """A boolean."""
        return bool(self.take(name, bool, default))

    def day(self, name: str) -> date:
        """A calendar day as ``YYYY-MM-DD``; Python reads other writings of ISO 8601 too, people do not."""
        value = self.take(name, str)
        if value is None:
            return date.min
        try:
            day = date.fromisoformat(value)
        except ValueError:
            day = date.min
        if day == date.min or day.year > LAST_YEAR or day.isoformat() != value:
            self._complain(name, "field.date")
            return date.min
        return day

    def one_of(self, name: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """One of a few words."""
        value = self.take(name, str, default)
        if value is not None and value not in choices:
            self._complain(name, "field.choice", choices="、".join(choices))
        return value if value in choices else choices[0]

    def part(self, name: str) -> Reader:
        """The object at ``name``, read in its turn."""
        value = self.take(name, dict)
        return Reader(value if value is not None else _Nothing(), f"{self.path}{name}.", self.problems)

    def each(self, name: str, read: Callable[[Reader], T | None], *, most: int, least: int = 0) -> tuple[T, ...]:
        """The objects of the list at ``name``."""
        value = self.take(name, list, [] if least == 0 else None)
        if value is None:
            return ()
        if not least <= len(value) <= most:
            self._complain(name, "field.count", least=least, most=most)
            return ()
        out = []
        for i, entry in enumerate(value):
            if not isinstance(entry, dict):
                self._complain(f"{name}[{i}]", "field.type", expected=_JSON_NAMES[dict])
                continue
            one = read(Reader(entry, f"{self.path}{name}[{i}].", self.problems))
            if one is not None:
                out.append(one)
        return tuple(out)

    def done(self) -> None:
        """Complain about fields that nobody asked for: a misspelt field must not pass in silence."""
        for name in sorted(set(self.raw) - self.taken):
            self._complain(name[:60], "field.unknown")


class _Nothing(dict[str, Any]):
    """Stands in for a missing object: its absence is one problem, not one for each field in it."""

    def get(self, _name: str, _default: Any = None) -> Any:
        return _Anything()


class _Anything:
    """A value of no JSON type whose complaints are dropped with its object's."""


def _disk(r: Reader) -> Disk:
    disk = Disk(r.whole("size_gib", least=1, most=32768), r.one_of("block_class", BLOCK_CLASSES, "ssd"))
    r.done()
    return disk


def _server(r: Reader) -> ServerItem:
    return ServerItem(
        name=r.text("name", most=31, like=_NAME),
        count=r.whole("count", least=1, most=MAX_SERVERS, default=1),
        vcpu=r.whole("vcpu", least=1, most=256),
        memory_gib=r.whole("memory_gib", least=1, most=4096),
        system_disk_gib=r.whole("system_disk_gib", least=1, most=2048, default=40),
        system_disk_class=r.one_of("system_disk_class", BLOCK_CLASSES, "ssd"),
        image=r.text("image", most=100),
        cpu_arch=r.one_of("cpu_arch", CPU_ARCHS, "x86_64"),
        zone=Zone(r.one_of("zone", tuple(Zone), "shared")),
        data_disks=r.each("data_disks", _disk, most=MAX_DISKS),
    )


def _volume(r: Reader) -> VolumeItem:
    return VolumeItem(
        name=r.text("name", most=31, like=_NAME),
        count=r.whole("count", least=1, most=MAX_SERVERS, default=1),
        size_gib=r.whole("size_gib", least=1, most=32768),
        block_class=r.one_of("block_class", BLOCK_CLASSES, "ssd"),
    )


def _segment(r: Reader) -> SegmentItem:
    return SegmentItem(
        name=r.text("name", most=31, like=_NAME),
        zone=Zone(r.one_of("zone", tuple(Zone))),
        count=r.whole("count", least=1, most=16, default=1),
        services=_services(r),
    )


def _services(r: Reader) -> tuple[str, ...]:
    """Services of a segment that others may reach: ``tcp/443``, or ``tcp/443@3fff:122::/32`` from there only."""
    given = r.take("services", list, [])
    if not given:
        return ()
    good = [s for s in given if isinstance(s, str) and _is_service(s)]
    if len(good) < len(given) or len(good) > MAX_SERVICES or _says_one_twice(good):
        r.problems.append(Problem("services.malformed", f"{r.path}services", params={"most": MAX_SERVICES}))
        return ()
    return tuple(good)


def _is_service(text: str) -> bool:
    """A source is such as a router's firewall takes it, by the rule that its playbook asserts as well."""
    found = _SERVICE.fullmatch(text)
    if found is None or int(found[2]) > MAX_PORT:
        return False
    return found[3] is None or source_of(found[3]) is not None


def _says_one_twice(services: Sequence[str]) -> bool:
    """Whether a port is opened twice to somebody: two sources of one port must not overlap, on routers either."""
    parts = [s.partition("@") for s in services]
    opened = [(port, IPv6Network(source or "::/0")) for port, _, source in parts]
    return any(a[0] == b[0] and a[1].overlaps(b[1]) for a, b in combinations(opened, 2))


_ITEMS: Mapping[str, Callable[[Reader], Item]] = {"server": _server, "volume": _volume, "segment": _segment}


def _item(r: Reader) -> Item | None:
    kind = r.take("kind", str)
    if kind is None:
        return None
    if kind not in _ITEMS:
        r.problems.append(Problem("field.choice", f"{r.path}kind", params={"choices": "、".join(_ITEMS)}))
        return None
    item = _ITEMS[kind](r)
    r.done()
    return item


def _contact(r: Reader) -> Contact:
    contact = Contact(
        name=r.text("name", most=40),
        phone=r.text("phone", most=21, like=_PHONE),
        email=r.text("email", most=255, default="", like=_EMAIL),
    )
    r.done()
    return contact


def _attachments(r: Reader) -> tuple[UUID, ...]:
    value = r.take("attachments", list, []) or []
    if len(value) > MAX_ATTACHMENTS:
        r.problems.append(Problem("field.count", "attachments", params={"least": 0, "most": MAX_ATTACHMENTS}))
        return ()
    out = []
    for i, entry in enumerate(value):
        try:
            out.append(UUID(entry))
        except (ValueError, TypeError, AttributeError):
            r.problems.append(Problem("field.format", f"attachments[{i}]"))
    return tuple(out)


def read(raw: Mapping[str, Any]) -> tuple[RequestForm, list[Problem]]:
    """The form and everything wrong with its shape. With problems the form holds stand-ins and must not be kept."""
    problems: list[Problem] = []
    r = Reader(raw, "", problems)
    contact_reader = r.part("contact")
    missing_contact = isinstance(contact_reader.raw, _Nothing)
    if missing_contact:
        contact_reader.problems = []
    form = RequestForm(
        unit_code=r.text("unit", most=40),
        system_code=r.text("system", most=40),
        purpose=r.text("purpose", most=2000, least=4),
        contact=_contact(contact_reader),
        expected_users=r.whole("expected_users", least=1, most=100_000_000),
        start_date=r.day("start_date"),
        end_date=r.day("end_date"),
        funding_source=r.text("funding_source", most=200),
        nature=r.one_of("nature", NATURES),
        classified=r.yes("classified"),
        dedicated_network=r.yes("dedicated_network", default=False),
        document_number=r.text("document_number", most=60),
        allow_partial=r.yes("allow_partial", default=False),
        ssh_public_key=r.text("ssh_public_key", most=1500, default="", like=_SSH_KEY),
        target_cloud=r.text("target_cloud", most=40, default=""),
        attachment_ids=_attachments(r),
        items=r.each("items", _item, least=1, most=MAX_ITEMS),
    )
    r.done()
    return form, problems

"""What an operator may set for a simulated cloud, read from text.

Called by: ``providers.simulated.build``. Must not: put an option's value into an error (a URL holds a password).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from providers.contract import CpuArch
from providers.errors import ActionRequired

Pools = tuple[tuple[str, str, int], ...]
"""(resource, name, total): ``vcpu`` and ``memory_gib`` by CPU architecture, ``block_gib`` by class."""


@dataclass(frozen=True, slots=True)
class Options:
    """Each field is an option of the same name. A total of 0 means that the cloud has none of it."""

    database_url: str
    """``postgresql+psycopg://...``; several clouds and several processes may share it."""
    vcpu_x86_64: int = 4000
    cores_x86_64: int = 0
    """What the cloud reports as its physical total where vCPU are sold several times over; 0: as many as vCPU."""
    memory_gib_x86_64: int = 16000
    vcpu_aarch64: int = 2000
    cores_aarch64: int = 0
    memory_gib_aarch64: int = 8000
    block_ssd_gib: int = 200_000
    block_hdd_gib: int = 800_000
    latency_ms: int = 0
    """How long every call takes at least."""
    build_ms: int = 0
    """How long a server builds or resizes, by the database's clock."""
    delete_ms: int = 0
    """How long an object takes to go."""
    images: tuple[str, ...] = ("openEuler-22.03-LTS", "Kylin-V10", "UOS-20", "Ubuntu-24.04")
    """Comma-separated."""
    call_timeout_s: float = 30.0
    pool_size: int = 8
    """Connections kept open to the database by this process, shared by all simulated clouds in it."""
    log_looks: bool = False
    """Also write calls that change nothing into the call log (a write for each look)."""

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> Options:
        """Options from text. Raises ActionRequired naming the option that is missing, unknown or malformed."""
        unknown = sorted(set(options) - {f.name for f in fields(cls)})
        if unknown:
            raise ActionRequired("options.unknown", f"no such option: {', '.join(unknown)}")
        if not options.get("database_url"):
            raise ActionRequired("options.missing", "database_url is needed")
        _check_url(options["database_url"])
        defaults = {f.name: f.default for f in fields(cls) if f.name != "database_url"}
        parsed = {name: _parse(name, text, defaults[name]) for name, text in options.items() if name != "database_url"}
        return cls(database_url=options["database_url"], **parsed)  # type: ignore[arg-type]  # typed by the defaults

    def pools(self) -> Pools:
        """What the cloud has of everything scarce."""
        return (
            ("vcpu", CpuArch.X86_64, self.vcpu_x86_64),
            ("memory_gib", CpuArch.X86_64, self.memory_gib_x86_64),
            ("vcpu", CpuArch.AARCH64, self.vcpu_aarch64),
            ("memory_gib", CpuArch.AARCH64, self.memory_gib_aarch64),
            ("block_gib", "ssd", self.block_ssd_gib),
            ("block_gib", "hdd", self.block_hdd_gib),
        )


def _check_url(text: str) -> None:
    try:
        driver = make_url(text).drivername
    except (ArgumentError, ValueError):
        driver = ""
    if driver != "postgresql+psycopg":
        raise ActionRequired("options.invalid", "database_url: not a postgresql+psycopg:// address")


def _parse(name: str, text: str, default: object) -> object:
    """``text`` as a value of the default's type."""
    value: float | None
    match default:
        case bool():
            value = {"true": True, "false": False}.get(text.lower())
        case int() | float():
            value = _number(text, type(default))
        case _:
            return tuple(part.strip() for part in text.split(",") if part.strip())
    if value is None:
        raise ActionRequired("options.invalid", f"{name}: not a {type(default).__name__} in range")
    return value


def _number(text: str, number: type[int | float]) -> float | None:
    """A number from 0 to a million million, else None."""
    try:
        value = number(text)
    except ValueError:
        return None
    return value if 0 <= value <= 10**12 else None

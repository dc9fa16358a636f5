"""What the suite is told about the cloud it meets: the adapter's options and the few things it cannot ask for.

Called by: the suite's fixtures. Must not: know what any adapter's options mean.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from providers import registry
from providers.contract import CpuArch, Provider


@dataclass(frozen=True, slots=True)
class Size:
    """A size that servers of this cloud may have."""

    vcpu: int
    memory_gib: int
    root_gib: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The key ``conformance`` of the options file. Everything has a default that suits most clouds."""

    adapter: str
    options: Mapping[str, str]
    sub_cloud: str = "conformance"
    image: str | None = None
    """Default: the first of ``images()``."""
    cpu_arch: CpuArch = CpuArch.X86_64
    small: Size = Size(1, 1, 1)
    large: Size = Size(2, 2, 1)
    """What a small server is resized to."""
    block_class: str = "ssd"
    prefixes: IPv6Network = field(default_factory=lambda: IPv6Network("3fff:c00::/36"))
    """Where the suite may take any /64 (RFC 9637: documentation)."""
    vxlan_tags: tuple[int, int] = (4_000_000, 4_999_999)
    """VNIs that the suite may take any of."""
    vlan_tags: tuple[int, int] = (3_000, 3_999)
    deadline_s: float = 60.0
    """How long an order may take until it has been carried out."""
    wrong_options: Mapping[str, str] = field(default_factory=dict)
    """Options that a cloud must refuse, a wrong password say; they replace the right ones."""

    def build(self, **changed: str) -> Provider:
        """The adapter under test, with some of its options changed."""
        options = {**self.options, **changed}
        if ":" not in self.adapter:
            return registry.build(self.adapter, self.sub_cloud, options)
        module, _, factory = self.adapter.partition(":")
        built: Provider = getattr(importlib.import_module(module), factory)(self.sub_cloud, options)
        return built


def load(adapter: str, file: Path | None) -> Settings:
    """Settings from the command line's two options. Raises UsageError naming what the file has wrong."""
    content = yaml.safe_load(file.read_text(encoding="utf-8")) if file else {}
    if not isinstance(content, dict):
        raise pytest.UsageError(f"{file}: not a mapping of options")
    own = content.pop("conformance", None) or {}
    unknown = set(own) - {f.name for f in fields(Settings)} | ({"adapter", "options"} & set(own))
    if unknown:
        raise pytest.UsageError(f"{file}: conformance: unknown {', '.join(sorted(unknown))}")
    return Settings(adapter=adapter, options=_texts(content), **{name: _typed(name, own[name]) for name in own})


def _typed(name: str, value: Any) -> Any:  # noqa: PLR0911  # one for each type
    match name:
        case "small" | "large":
            return Size(**value)
        case "cpu_arch":
            return CpuArch(value)
        case "prefixes":
            return IPv6Network(value)
        case "vxlan_tags" | "vlan_tags":
            return int(value[0]), int(value[1])
        case "deadline_s":
            return float(value)
        case "wrong_options":
            return _texts(value)
        case _:
            return str(value)


def _texts(options: Mapping[str, Any]) -> dict[str, str]:
    """Options are texts; YAML makes numbers and booleans of some."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in options.items()}

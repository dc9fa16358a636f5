"""What an operator tells the adapter about one OpenStack: a mapping of texts becomes one checked value.

Called by: ``build``. Must not: connect anywhere, or put a secret into an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Network, NetmaskValueError

from providers.errors import ActionRequired

NETWORK_MODES = frozenset({"slaac", "dhcpv6-stateful", "dhcpv6-stateless"})
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})
_REQUIRED = ("auth_url", "username", "password", "project_name")
_TEXTS = (
    *_REQUIRED,
    "user_domain_name",
    "project_domain_name",
    "unit_domain_name",
    "region",
    "interface",
    "cacert",
    "subnet_pool",
    "router",
    "availability_zone",
    "physical_network",
)
_PREFIXED = ("ssh_sources_", "volume_type_")


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the adapter. The account needs the role admin in its own project and in the cloud."""

    auth_url: str
    username: str
    password: str = field(repr=False)
    project_name: str
    user_domain_name: str = "Default"
    project_domain_name: str = "Default"
    unit_domain_name: str = "Default"
    """The domain in which the units' projects are made."""
    region: str | None = None
    interface: str = "public"
    cacert: str | None = None
    subnet_pool: str = "guiyun"
    """The pool that prefixes are taken from; made, with an address scope, where it is missing."""
    subnet_pool_prefixes: tuple[IPv6Network, ...] = (IPv6Network("2000::/3"), IPv6Network("fc00::/7"))
    network_mode: str = "slaac"
    """How servers get their addresses: slaac, dhcpv6-stateful or dhcpv6-stateless."""
    router: str | None = None
    """A router of the operator's to which every network is connected; without one, networks stay isolated."""
    physical_network: str | None = None
    """Neutron's name of the physical network on which VLANs reach the extranet's router; VXLANs need none."""
    ssh_sources: tuple[IPv6Network, ...] = ()
    """From where SSH is allowed in every zone, besides the network itself."""
    zone_ssh_sources: Mapping[str, tuple[IPv6Network, ...]] = field(default_factory=dict)
    """``ssh_sources_<zone>``: from where SSH is allowed in that zone."""
    volume_types: Mapping[str, str] = field(default_factory=dict)
    """``volume_type_<class>``: the volume type of a block class, where it is not called the same."""
    availability_zone: str | None = None
    config_drive: bool = True
    """An IPv6-only network has no metadata service, so keys travel on a config drive."""
    guest_reachable: bool = False
    max_servers_per_project: int | None = None
    request_timeout_s: float = 20.0
    call_timeout_s: float = 60.0

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> Options:
        """Check ``options``. Raises ActionRequired naming what is wrong, never its value."""
        missing = [name for name in _REQUIRED if not options.get(name)]
        if missing:
            raise ActionRequired("options_invalid", f"missing: {', '.join(missing)}")
        values: dict[str, object] = {name: options[name] for name in _TEXTS if options.get(name)}
        for name, read in _READERS.items():
            if options.get(name):
                values[name] = _read(name, options[name], read)
        values["zone_ssh_sources"] = {
            name.removeprefix("ssh_sources_"): _read(name, text, _prefixes)
            for name, text in options.items()
            if name.startswith("ssh_sources_")
        }
        values["volume_types"] = {
            name.removeprefix("volume_type_"): text for name, text in options.items() if name.startswith("volume_type_")
        }
        unknown = [n for n in options if n not in _TEXTS and n not in _READERS and not n.startswith(_PREFIXED)]
        if unknown:
            raise ActionRequired("options_invalid", f"unknown: {', '.join(sorted(unknown))}")
        return cls(**values)  # type: ignore[arg-type]  # each value was read by the reader of its field


def _read(name: str, text: str, read: object) -> object:
    try:
        return read(text)  # type: ignore[operator]  # a reader of _READERS
    except (ValueError, AddressValueError, NetmaskValueError) as error:
        raise ActionRequired("options_invalid", f"{name} cannot be understood") from error


def _prefixes(text: str) -> tuple[IPv6Network, ...]:
    return tuple(IPv6Network(part.strip()) for part in text.split(",") if part.strip())


def _flag(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered not in _TRUE | _FALSE:
        raise ValueError(text)
    return lowered in _TRUE


def _mode(text: str) -> str:
    if text not in NETWORK_MODES:
        raise ValueError(text)
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise ValueError(text)
    return seconds


_READERS = {
    "subnet_pool_prefixes": _prefixes,
    "network_mode": _mode,
    "ssh_sources": _prefixes,
    "config_drive": _flag,
    "guest_reachable": _flag,
    "max_servers_per_project": int,
    "request_timeout_s": _seconds,
    "call_timeout_s": _seconds,
}

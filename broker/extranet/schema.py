"""The shape of a topology file: strict models, one for each section. What refers to what is checked in ``checks``.

Called by: ``extranet.reading``. Must not: read files or the database.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from providers.contract import Encapsulation

FORMAT = "guiyun-extranet/1"

T = TypeVar("T")
Rows = Annotated[tuple[T, ...], Field(strict=False, max_length=5_000)]


def _text(value: Any) -> Any:
    """450100 without quotes is a number to YAML and a code to everybody else."""
    return str(value) if type(value) is int else value


def _network(value: Any) -> Any:
    return IPv6Network(value) if isinstance(value, str) else value


def _address(value: Any) -> Any:
    return IPv6Address(value) if isinstance(value, str) else value


def _no_control(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("control characters, or spaces at an end")
    return value


def _router_id(value: str) -> str:
    if not int(IPv4Address(value)):
        raise ValueError("0.0.0.0 is no router's (RFC 6286)")
    return value


Code = Annotated[str, BeforeValidator(_text), Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Short = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,11}$")]
"""A name that a router takes for an interface, a VRF or a filter, with something put before it."""
Text = Annotated[str, AfterValidator(_no_control), Field(min_length=1, max_length=200)]
Prefix = Annotated[IPv6Network, BeforeValidator(_network)]
Address = Annotated[IPv6Address, BeforeValidator(_address)]
Asn = Annotated[int, Field(ge=1, le=4_294_967_294)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Vni = Annotated[int, Field(ge=1, le=16_777_215)]
Vlan = Annotated[int, Field(ge=1, le=4_094)]
Zone = Literal["shared", "private", "internet"]
Level = Literal["region", "city", "county", "edge"]
Vendor = Literal["frr", "huawei", "h3c"]


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)


class Vrf(_Entry):
    """One routing table of the extranet. The private zone has one a department or business, named by ``unit``.

    ``loopbacks``: a /64 out of ``prefix`` in which each router has its own address: probes see and are seen by it.
    """

    name: Short
    zone: Zone
    unit: Code | None = None
    prefix: Prefix
    loopbacks: Prefix


class Router(_Entry):
    """One router, and how it is reached for management. ``host_key`` is its public SSH key, checked at every login.

    ``number``: its place in each VRF's ``loopbacks``; without it, its place in the file. It must never change: a
    topology that would move a router's own addresses is not loaded.
    """

    name: Short
    title: Text
    level: Level
    vendor: Vendor = "frr"
    asn: Asn
    number: Annotated[int, Field(ge=1, le=65_535)] | None = None
    router_id: Annotated[str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$"), AfterValidator(_router_id)]
    address: Address
    port: Port = 22
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] = "root"
    host_key: Annotated[str, Field(pattern=r"^(ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/=]+$")]
    probes: bool = False
    """Whether reachability is looked at from here, in every VRF that it has."""


class Session(_Entry):
    """The BGP sessions of a pair of neighbours: one in each VRF, with addresses out of ``prefix``, upper router first.

    ``vrfs`` may be left out for all of them.
    """

    upper: Short
    lower: Short
    prefix: Prefix
    vrfs: Rows[Short] = ()


class PrefixFilter(_Entry):
    """What a router lets in from a neighbour, in one VRF, or with ``direction: out`` sends to it.

    Without one, a router lets in nothing from below and the VRF's whole space from above, and sends its whole space.
    Routers' own addresses pass each of them.
    """

    router: Short
    neighbour: Short
    vrf: Short
    direction: Literal["in", "out"] = "in"
    permit: Rows[Prefix]


class VniRange(_Entry):
    first: Vni
    last: Vni


class VlanRange(_Entry):
    first: Vlan
    last: Vlan


class Access(_Entry):
    """Where a sub-cloud's networks meet the extranet: VXLAN between the router (``local``) and the cloud's gateway.

    Or, with ``vlans`` in place of ``local``, ``remote`` and ``vnis``: VLANs of a trunk to the sub-cloud (``device``).
    """

    router: Short
    sub_cloud: Code
    device: Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9._-]{0,14}$")]
    local: Address | None = None
    remote: Address | None = None
    vnis: VniRange | None = None
    vlans: VlanRange | None = None

    @property
    def encapsulation(self) -> Encapsulation:
        return Encapsulation.VLAN if self.vlans is not None else Encapsulation.VXLAN

    @property
    def tags(self) -> tuple[int, int]:
        """The VNIs or VLANs that segments here are given, first and last."""
        given = self.vlans or self.vnis
        return (given.first, given.last) if given is not None else (0, 0)


class Block(_Entry):
    """A unit's space in one VRF: its segments are taken from it, and nobody else's.

    ``addressing``: how hosts get addresses. With ``dhcpv6`` routers advertise just that (managed and other flag, no
    autonomous prefix); the server is the sub-cloud's or the unit's, none of ours.
    """

    unit: Code
    vrf: Short
    prefix: Prefix
    routers: Rows[Short]
    addressing: Literal["slaac", "dhcpv6"] = "slaac"


class Topology(_Entry):
    """The whole file."""

    format: Literal["guiyun-extranet/1"]
    name: Text
    segment_length: Literal[64] = 64
    """Hosts make their addresses in a /64 and in nothing else (RFC 4862, RFC 7421)."""
    vrfs: Rows[Vrf]
    routers: Rows[Router]
    sessions: Rows[Session]
    filters: Rows[PrefixFilter]
    access: Rows[Access]
    blocks: Rows[Block]

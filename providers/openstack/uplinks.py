"""A network that meets a router outside the cloud, in neutron's words: its wire, and a subnet nobody here advertises.

Called by: ``networks``. Must not: speak to the cloud.

A VNI is the network's segmentation id (``provider:network_type`` vxlan); a VLAN is one of the physical network that the
operator names in the options. Without ``ipv6_ra_mode`` neutron expects a router of somebody else's to advertise, and
gives ports the addresses that servers will form.
"""

from __future__ import annotations

from ipaddress import IPv6Address

from providers.contract import Addressing, Encapsulation, Uplink
from providers.errors import Permanent
from providers.openstack.client import Json
from providers.openstack.options import Options

_TYPE, _TAG, _PHYSICAL = "provider:network_type", "provider:segmentation_id", "provider:physical_network"
_ADDRESS_MODE = {Addressing.SLAAC: "slaac", Addressing.DHCPV6: "dhcpv6-stateful"}
_ADDRESSING = {mode: addressing for addressing, mode in _ADDRESS_MODE.items()}


def encapsulations(options: Options) -> frozenset[Encapsulation]:
    """What networks of this cloud can be on: VLANs only where the operator has named their physical network."""
    vlan = {Encapsulation.VLAN} if options.physical_network else set()
    return frozenset({Encapsulation.VXLAN} | vlan)


def network_fields(uplink: Uplink | None, options: Options) -> Json:
    """What a network is ordered with; nothing without an uplink. Permanent where this cloud has no such wire."""
    if uplink is None:
        return {}
    if uplink.encapsulation not in encapsulations(options):
        raise Permanent("uplink_unsupported", f"no physical network for {uplink.encapsulation} networks")
    wire: Json = {_TYPE: uplink.encapsulation.value, _TAG: uplink.tag}
    return wire if uplink.encapsulation is Encapsulation.VXLAN else {**wire, _PHYSICAL: options.physical_network}


def subnet_fields(uplink: Uplink | None, options: Options) -> Json:
    """How hosts get addresses, and from whom: the cloud's own router, or the one outside."""
    if uplink is None:
        mode = options.network_mode
        return {"enable_dhcp": True, "ipv6_ra_mode": mode, "ipv6_address_mode": mode}
    mode = _ADDRESS_MODE[uplink.addressing]
    return {"enable_dhcp": True, "ipv6_address_mode": mode, "gateway_ip": str(uplink.gateway)}


def same_wire(network: Json, wire: Json) -> bool:
    """Whether a network is on the wire that was asked for; without one, any will do."""
    return all(network.get(name) == value for name, value in wire.items())


def of_network(network: Json, subnet: Json) -> Uplink | None:
    """The uplink that a network of ours has: none where the cloud itself advertises the prefix."""
    kind, tag = network.get(_TYPE), network.get(_TAG)
    mode, gateway = subnet.get("ipv6_address_mode"), subnet.get("gateway_ip")
    if subnet.get("ipv6_ra_mode") or mode not in _ADDRESSING or not gateway:
        return None
    if kind not in set(Encapsulation) or tag is None:
        return None
    return Uplink(Encapsulation(kind), int(tag), IPv6Address(gateway), _ADDRESSING[mode])

"""What follows from a prefix (``quotas.ipv6.facts``)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.ipv6.facts import facts, reverse_zones


@pytest.mark.parametrize(
    ("prefix", "zones"),
    [
        ("3fff:102:3::/48", ["3.0.0.0.2.0.1.0.f.f.f.3.ip6.arpa"]),
        ("3fff::/20", ["0.f.f.f.3.ip6.arpa"]),
        ("3fff:102:3:4::/64", ["4.0.0.0.3.0.0.0.2.0.1.0.f.f.f.3.ip6.arpa"]),
        ("3fff:102:3:6::/63", [f"{n}.0.0.0.3.0.0.0.2.0.1.0.f.f.f.3.ip6.arpa" for n in (6, 7)]),
        ("3fff:102:3:8::/61", [f"{n:x}.0.0.0.3.0.0.0.2.0.1.0.f.f.f.3.ip6.arpa" for n in range(8, 16)]),
    ],
)
def test_reverse_zones_of_a_prefix(prefix: str, zones: list[str]) -> None:
    """RFC 3596: one at a nibble boundary, else two, four or eight."""
    assert list(reverse_zones(IPv6Network(prefix))) == zones


@given(st.integers(8, 64), st.integers(0, 2**64 - 1), st.integers(0, 2**128 - 1))
def test_every_address_of_a_prefix_has_its_name_in_exactly_one_zone(length: int, upper: int, offset: int) -> None:
    """The zones cover the prefix and nothing twice: Python's own reverse pointer ends with one of them."""
    prefix = IPv6Network((upper << 64 >> (128 - length) << (128 - length), length))
    inside = IPv6Address(int(prefix.network_address) + offset % prefix.num_addresses)
    zones = reverse_zones(prefix)
    assert sum(inside.reverse_pointer.endswith("." + zone) for zone in zones) == 1
    assert len(zones) == 2 ** (-length % 4)


def test_gateway_and_self_configuration() -> None:
    """RFC 4862: hosts configure themselves in a /64 only; the first address is the routers' (RFC 4291)."""
    one, many = facts(IPv6Network("3fff:1::/64")), facts(IPv6Network("3fff:1::/60"))
    assert (str(one.gateway), str(one.anycast), one.slaac, one.segments) == ("3fff:1::1", "3fff:1::", True, 1)
    assert (many.slaac, many.segments) == (False, 16)

"""Whose packets a segment takes: its far end's alone, and only to forward them; others' interfaces are not touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Network

import pytest

from broker.extranet.differences import mac_of
from providers.errors import Temporary
from providers.networking import SegmentSpec, Service
from tests.extranet.conftest import Site, within
from tests.extranet.test_segments import differences
from tests.extranet.test_walls import reached

pytestmark = pytest.mark.extranet

MANAGEMENT_HOST = "3fff:f00::2"
FAR_END = "3fff:f02:1::2"
TUNNELS = ("ip6", "guiyun_tunnels")


@contextmanager
def intruding(site: Site, spec: SegmentSpec, source: str) -> Iterator[str]:
    """A host of the management network speaks VXLAN to the segment's router, as if it were the far end; its address."""
    lab, address = site.lab, str(spec.prefix[0xBAD])
    router = next(r for r in lab.topology.routers if r.name == spec.router)
    ends = f"local {source} remote {router.address} dev br0 dstport 4789 nolearning"  # not to be led to another address
    lab._ip(
        "mgmt",
        *([f"addr add {source}/128 dev lo nodad"] if source != MANAGEMENT_HOST else []),
        f"link add evil mtu 1400 type vxlan id {spec.vni} {ends}",
        f"addr add {address}/64 dev evil nodad",
        "link set evil up",
    )
    try:
        with counting(site, spec, address):
            yield address
    finally:
        lab.run("mgmt", "ip", "link", "del", "evil")
        if source != MANAGEMENT_HOST:
            lab.run("mgmt", "ip", "addr", "del", f"{source}/128", "dev", "lo")


@contextmanager
def counting(site: Site, spec: SegmentSpec, address: str) -> Iterator[None]:
    """What comes out of the segment's tunnel and says that it is from there is counted."""
    seen = f"iifname seg{spec.vni} ip6 saddr {address} counter"
    table = f"table inet t {{ chain i {{ type filter hook prerouting priority -400; {seen}; }}; }}"
    assert site.lab.run(spec.router, "nft", table, vrf=spec.vrf).returncode == 0
    try:
        yield
    finally:
        site.lab.run(spec.router, "nft", "delete", "table", "inet", "t", vrf=spec.vrf)


def got_in(site: Site, spec: SegmentSpec) -> bool:
    """Whether a packet of the intruder's has come out of the segment's tunnel."""
    counted = site.lab.run(spec.router, "nft", "list", "table", "inet", "t", vrf=spec.vrf).stdout
    assert "counter packets" in counted
    return "packets 0 " not in counted


@pytest.mark.parametrize("zone", ["shared", "prv-jyt"])
def test_the_management_network_does_not_get_into_a_segment_by_its_tunnel(site: Site, zone: str) -> None:
    """Art. 2(3): with the right VNI, by its own address and by the far end's, nothing gets in and nothing comes out."""
    unit, block = ("slt", "3fff:12f:0") if zone == "shared" else ("jyt", "3fff:222:0")
    near, far = (site.spec(vrf=zone, unit=unit, prefix=IPv6Network(f"{block}:a{n}::/64")) for n in "12")
    site.bring_up(near, far)
    inside, beyond = site.host(near), site.host(far)
    address = site.lab.wait_address(beyond)
    site.lab.wait_address(inside)
    assert within(10, lambda: site.lab.ping(inside, address))
    for source in (MANAGEMENT_HOST, FAR_END):
        with intruding(site, near, source) as intruder:
            site.lab.run("mgmt", "ip", "-6", "route", "add", str(far.prefix), "via", str(near.gateway), "dev", "evil")
            for target in (near.gateway, address):
                assert not site.lab.ping("mgmt", target), (source, target)
            assert not site.lab.ping(beyond, intruder), source
            assert not got_in(site, near), source
            assert site.lab.ping(inside, address)
    assert differences(site, near, far) == []


HIDING = """
import socket, struct, sys
from ipaddress import IPv6Address as A
ours, router, vni, mac, intruder, gateway = sys.argv[1:]
def checksum(source, target, kind, data):
    data = A(source).packed + A(target).packed + struct.pack("!II", len(data), kind) + data + bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", total ^ 0xFFFF)
echo = struct.pack("!BBHHH", 128, 0, 0, 7, 1) + b"hiding"
echo = echo[:2] + checksum(intruder, gateway, 58, echo) + echo[4:]
packet = struct.pack("!IHBB", 6 << 28, len(echo), 58, 64) + A(intruder).packed + A(gateway).packed + echo
frame = bytes.fromhex(mac.replace(":", "")) + bytes((2, 0, 0, 0, 0, 9)) + struct.pack("!H", 0x86DD) + packet
body = struct.pack("!II", 1 << 27, int(vni) << 8) + frame
udp = struct.pack("!HHHH", 50000, 4789, 8 + len(body), 0)
udp = udp[:6] + checksum(ours, router, 17, udp + body)
raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 44)
raw.bind((ours, 0))
for at, more, data in ((0, 1, udp), (8, 0, body)):
    raw.sendto(struct.pack("!BBHI", 17, 0, at | more, 77) + data, (router, 0))
"""


def test_a_packet_in_fragments_that_hides_its_vni_does_not_get_in(site: Site) -> None:
    """The kernel puts it together behind the firewall: without ours it gets in, with it not even its first part."""
    spec = site.spec()
    site.bring_up(spec)
    router = next(r for r in site.lab.topology.routers if r.name == spec.router)
    intruder, mac = str(spec.prefix[0xBAD]), mac_of(spec)
    words = (MANAGEMENT_HOST, router.address, spec.vni, mac, intruder, spec.gateway)

    def sent() -> bool:
        return site.lab.run("mgmt", "python3", "-c", HIDING, *map(str, words)).returncode == 0

    site.lab.run("dc", "nft", "delete", "table", *TUNNELS)
    with counting(site, spec, intruder):
        assert within(5, lambda: sent() and got_in(site, spec))
    put_right(site, spec)
    with counting(site, spec, intruder):
        assert all(sent() for _ in range(3))
        assert site.lab.ping("mgmt", router.address)  # what was sent before it has arrived
        assert not got_in(site, spec)


def test_what_a_tunnel_takes_and_where_it_sends_is_compared_and_put_right(site: Site) -> None:
    """Beside the plan by hand: named for each segment, repaired, and the second repair changes nothing."""
    one, other, third = site.spec(), site.spec(vrf="internet", prefix=IPv6Network("3fff:32f:0:a3::/64")), site.spec()
    site.bring_up(one, other, third)
    assert differences(site, one, other, third) == []
    strange = f'{{ {one.vni} . {MANAGEMENT_HOST} . "mgmt0" }}'
    for command in (
        f"nft add element ip6 guiyun_tunnels ends {strange}",
        f"nft delete element ip6 guiyun_tunnels segments {{ {other.vni} }}",
        f"bridge -n shared fdb append 00:00:00:00:00:00 dev seg{third.vni} dst {MANAGEMENT_HOST}",
        f"nft add element ip6 guiyun_tunnels segments {{ {one.vni + 777} }}",
    ):
        assert site.lab.run("dc", *command.split()).returncode == 0, command
    assert dict(differences(site, one, other, third)) == {
        ("changed", str(one.prefix)): f"ends (+{MANAGEMENT_HOST} mgmt0)",
        ("changed", str(other.prefix)): "ends (-segments)",
        ("changed", str(third.prefix)): f"link (+to {MANAGEMENT_HOST})",
        ("foreign", f"seg{one.vni + 777}"): "opened (+segments)",
    }
    site.lab.run("dc", "nft", "delete", "element", *TUNNELS, "segments", f"{{ {one.vni + 777} }}")
    put_right(site, one, other, third)
    site.lab.run("dc", "nft", "delete", "table", *TUNNELS)
    found = differences(site, one, other, third)
    assert {gap for (gap, _), told in found if "-chain vxlan: drop" in told} == {"changed"}
    assert len(found) == 3
    put_right(site, one, other, third)


def test_the_firewall_before_the_tunnels_goes_with_the_last_of_them(site: Site) -> None:
    """Each takes what was let in for it along; a table that was made anew for another has not forgotten the first."""
    one, other = site.spec(), site.spec()
    site.bring_up(one)
    site.lab.run("dc", "nft", "delete", "table", "inet", "guiyun", vrf="shared")
    site.bring_up(other)
    assert differences(site, one, other) == []
    taken = site.lab.run("dc", "nft", "list", "table", *TUNNELS).stdout
    assert all(f"{s.vni:#x} . {FAR_END}" in taken for s in (one, other))
    assert site.provider.delete([one])[one.id] is None
    left = site.lab.run("dc", "nft", "list", "table", *TUNNELS).stdout
    assert f"{one.vni:#x}" not in left
    assert f"{other.vni:#x} . {FAR_END}" in left
    assert site.provider.delete([one])[one.id] is None  # said again it takes nothing of others'
    assert site.lab.run("dc", "nft", "list", "table", *TUNNELS).stdout == left
    assert site.provider.delete([other])[other.id] is None
    assert "guiyun_tunnels" not in site.lab.run("dc", "nft", "list", "tables").stdout


def test_a_gateway_that_answers_for_hosts_that_nobody_reaches_is_not_enough(site: Site) -> None:
    """The table does not forward, or the link is a bridge's: named, not verified where it can be told, put right."""
    spec = site.spec()
    site.bring_up(spec)
    host = site.host(spec)
    address = site.lab.wait_address(host)

    def answers() -> bool:
        seen_from_core = ("ping", "-6", "-q", "-c1", "-W1", "-I", "3fff:1ff:ffff::1", str(address))
        return site.lab.run("core", *seen_from_core, vrf="shared").returncode == 0

    assert within(15, answers)
    site.lab.run("dc", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=0", vrf="shared")
    refused = site.provider.verify([spec]).verdicts[spec.id]
    assert isinstance(refused, Temporary)
    assert refused.code == "extranet.not_forwarding"
    assert not answers()
    assert differences(site, spec) == [(("changed", str(spec.prefix)), "not_forwarding")]
    put_right(site, spec)
    assert site.provider.verify([spec]).verdicts[spec.id] is None
    assert within(15, answers)
    for line in ("link add brx type bridge", "link set brx up", f"link set seg{spec.vni} master brx"):
        assert site.lab.run("dc", "ip", "-n", "shared", *line.split()).returncode == 0
    try:
        assert differences(site, spec) == [(("changed", str(spec.prefix)), "link (+master brx)")]
        put_right(site, spec)
    finally:
        site.lab.run("dc", "ip", "-n", "shared", "link", "del", "brx")
    assert within(15, answers)


def test_an_interface_of_others_that_is_called_like_ours_is_not_touched(site: Site) -> None:
    """An operator's segw, with a service behind it, in a table that gets its first segment of ours."""
    lab, router = site.lab, "yufeng"
    server, caller = "theirs", "asking"
    for number, (name, port) in enumerate(((server, "segw"), (caller, "opw")), start=1):
        lab.boot_host(name)
        site.hosts.append(name)
        lab._ip(router, f"link add {port} type veth peer name eth0 netns {lab.pids[name]}",
                f"link set {port} netns internet")  # fmt: skip
        for line in (f"addr add fd00:77:{number}::1/64 dev {port} nodad", f"link set {port} up"):
            assert lab.run(router, "ip", "-n", "internet", *line.split()).returncode == 0
        lab._ip(name, "link set lo up", "link set eth0 up", f"addr add fd00:77:{number}::2/64 dev eth0 nodad",
                f"route add default via fd00:77:{number}::1")  # fmt: skip
    lab.run(router, "nft", "flush", "ruleset", vrf="internet")
    assert reached(site, server, caller, (8443,)) == ["8443 open"]
    ours = site.spec(vrf="internet", router=router, unit="450200", vni=20071, services=(Service("tcp", 22),),
                     prefix=IPv6Network("3fff:302:0:71::/64"))  # fmt: skip
    site.bring_up(ours)
    assert reached(site, server, caller, (8443,)) == ["8443 open"]
    assert reached(site, caller, server, (8443,)) == ["8443 open"]
    found = {key: told for key, told in differences(site, ours) if key[0] == "changed" or key[1] == "segw"}
    assert found == {}


def put_right(site: Site, *specs: SegmentSpec) -> None:
    """A repair finds all of it, and is through when it says so; a second one finds nothing."""
    runs, play = [], site.provider.play

    def listening(*args: object, **kwargs: object) -> object:
        runs.append(play(*args, **kwargs))  # type: ignore[arg-type]
        return runs[-1]

    for changed in (1, 0):
        site.provider.play = listening  # type: ignore[assignment]
        try:
            assert not any(site.provider.update(specs).values())
        finally:
            site.provider.play = play
        assert runs[-1].changed == changed
        if changed:
            assert within(5, lambda: differences(site, *specs) == [])

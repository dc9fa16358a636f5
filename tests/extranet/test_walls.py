"""What the routers' firewall lets in: what is declared and no more, also where nothing is; nothing stays."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv6Network

import pytest

from broker.extranet.checks import loopback
from broker.extranet.differences import Rows, compare
from providers.networking import SegmentSpec, Service
from tests.extranet.conftest import Site, within
from tests.extranet.nodes import enter

pytestmark = pytest.mark.extranet

LISTEN = """
import socket, threading, time
for port in (8443, 9000, 22):
    server = socket.create_server(("::", port), family=socket.AF_INET6)
    threading.Thread(target=lambda s=server: [s.accept() for _ in range(9)], daemon=True).start()
print("ready", flush=True)
time.sleep(600)
"""
CALL = """
import errno, os, select, socket, struct, sys, time
IDENT, TIMES, PATIENCE_S = os.getpid() & 0xFFFF, 3, 30
echo = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
echo.setblocking(False)
calls, known = {}, {}  # a socket says only once what became of it
for word in sys.argv[1:]:
    target, port = word.split()
    one = socket.socket(socket.AF_INET6)
    one.setblocking(False)
    calls[word] = (target, one, one.connect_ex((target, int(port))))
def said(word):
    target, one, code = calls[word]
    if word not in known:
        ended = select.poll()
        ended.register(one, select.POLLOUT)
        if code == errno.EINPROGRESS and ended.poll(0):
            code = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code != errno.EINPROGRESS:
            known[word] = {0: "open", errno.ECONNREFUSED: "refused"}.get(code, "shut")
    return known.get(word)
heard, until = {target: set() for target, _, _ in calls.values()}, time.monotonic() + PATIENCE_S
for number in range(60000):
    waiting = {t for word, (t, _, _) in calls.items() if not said(word) and len(heard[t]) < TIMES}
    if not waiting or time.monotonic() > until:
        break
    for target in waiting:
        try:
            echo.sendto(struct.pack("!BBHHH", 128, 0, 0, IDENT, number), (target, 0))
        except OSError:
            pass
    time.sleep(0.1)
    while select.select([echo], [], [], 0)[0]:
        answer, source = echo.recvfrom(2048)
        if answer[0] == 129 and answer[4:6] == struct.pack("!H", IDENT) and source[0] in heard:
            heard[source[0]].add(answer[6:8])
for word, (target, _, _) in calls.items():
    print(word.split()[1], said(word) or ("shut" if len(heard[target]) >= TIMES else "deaf"))
"""
"""Connects to all at once, then asks each target for echoes: what has not been answered when they are is shut.

An answer to a connection would be there before those to the echoes that were sent after it, however slow the machine.
"""


OPENED = ("open", "services")


def called(site: Site, caller: str, target: object, *ports: int) -> list[str]:
    """What becomes of connections to these ports."""
    return calling(site, caller, *((target, port) for port in ports))


def calling(site: Site, caller: str, *calls: tuple[object, int]) -> list[str]:
    """The same of several targets at once. ``deaf``: the target answers nothing, so nobody knows."""
    words = [f"{target} {port}" for target, port in calls]
    return site.lab.run(caller, "python3", "-c", CALL, *words).stdout.split("\n")[:-1]


def reached(site: Site, server: str, caller: str, ports: Sequence[int]) -> list[str]:
    """The same, with somebody who listens on a server; echoes get through in any case."""
    address = site.lab.wait_address(server)
    site.lab.wait_address(caller)
    listening = [*enter(site.lab.pids[server], router=False), "python3", "-c", LISTEN]
    with subprocess.Popen(listening, stdout=subprocess.PIPE) as listener:
        try:
            assert listener.stdout is not None
            assert listener.stdout.readline() == b"ready\n"
            assert within(10, lambda: site.lab.ping(caller, address))
            return called(site, caller, address, *ports)
        finally:
            listener.kill()


def elements(site: Site, router: str, vrf: str) -> list[str]:
    """What the firewall lets in for interfaces of segments, line by line."""
    sets = [site.lab.run(router, "nft", "list", "set", "inet", "guiyun", name, vrf=vrf).stdout for name in OPENED]
    return [line.strip() for listed in sets for line in listed.splitlines() if '"seg' in line]


def internet(site: Site) -> tuple[SegmentSpec, SegmentSpec]:
    """A segment that declares nothing in a table where there is no other, and a county's."""
    nothing = {"vrf": "internet", "services": ()}
    return (
        site.spec(prefix=IPv6Network("3fff:32f:0:41::/64"), **nothing),
        site.spec(router="yufeng", unit="450200", prefix=IPv6Network("3fff:302:0:41::/64"), vni=20041, **nothing),
    )


def test_only_declared_services_are_reached(site: Site) -> None:
    """Denied by default: echo and what is declared get through, from where it is declared, and nothing else."""
    services = (Service("tcp", 8443), Service("tcp", 9000, IPv6Network("3fff:122::/32")))
    spec = site.spec(services=services)
    client = site.spec(vrf="shared", unit="450200", router="yufeng", prefix=IPv6Network("3fff:102:0:3::/64"), vni=20003)
    site.bring_up(spec, client)
    server, caller = site.host(spec), site.host(client)
    assert reached(site, server, caller, (8443, 9000, 22)) == ["8443 open", "9000 shut", "22 shut"]
    assert called(site, server, spec.gateway, 179) == ["179 shut"]


def test_a_segment_that_declares_nothing_is_shut(site: Site) -> None:
    """In a table where nobody has declared anything: no port, no stolen source, no BGP; also made again."""
    spec, client = internet(site)
    site.lab.run("dc", "nft", "flush", "ruleset", vrf="internet")
    site.bring_up(spec, client)
    server, caller = site.host(spec), site.host(client)
    assert reached(site, server, caller, (22, 8443, 9000)) == ["22 shut", "8443 shut", "9000 shut"]
    assert called(site, server, spec.gateway, 179) == ["179 shut"]
    stolen = "3fff:322:0:66::66"
    site.lab.run(server, "ip", "-6", "addr", "add", f"{stolen}/128", "dev", "eth0", "nodad")
    counted = "table inet t { chain i { type filter hook input priority 0; ip6 saddr 3fff:322::/32 counter; }; }"
    site.lab.run(caller, "nft", counted)
    site.lab.run(server, "ping", "-6", "-q", "-c2", "-i0.2", "-W1", "-I", stolen, str(site.lab.wait_address(caller)))
    assert "packets 0" in site.lab.run(caller, "nft", "list", "table", "inet", "t").stdout
    site.lab.run(server, "ip", "-6", "addr", "del", f"{stolen}/128", "dev", "eth0")
    site.lab.run("dc", "nft", "delete", "table", "inet", "guiyun", vrf="internet")
    site.bring_up(spec)
    assert "drop" in site.lab.run("dc", "nft", "list", "table", "inet", "guiyun", vrf="internet").stdout
    site.lab.run("dc", "nft", "delete", "table", "inet", "guiyun", vrf="internet")
    assert site.provider.update([spec])[spec.id] is None
    assert reached(site, server, caller, (22,)) == ["22 shut"]


def test_nothing_that_was_let_in_stays_or_passes_to_the_next(site: Site) -> None:
    """Other services in place of the first, a removal that does not know them, another unit with the same VNI."""
    spec = site.spec(services=(Service("tcp", 22),))
    site.bring_up(spec)
    renewed = replace(spec, services=(Service("tcp", 8443),))
    site.bring_up(renewed)
    assert len(elements(site, "dc", "shared")) == 1
    assert "8443" in elements(site, "dc", "shared")[0]
    found = [d.spec for d in compare(site.lab.topology, Rows({}, frozenset()), site.audit("dc")) if d.spec]
    assert [f.services for f in found] == [None]
    assert site.provider.delete(found)[spec.id] is None
    assert elements(site, "dc", "shared") == []
    site.lab.run("dc", "nft", f'add element inet guiyun open {{ "seg{spec.vni}" }}', vrf="shared")
    site.bring_up(site.spec(unit="jyt", prefix=IPv6Network("3fff:122:0:41::/64"), vni=spec.vni, services=()))
    assert elements(site, "dc", "shared") == []


def test_no_host_of_a_segment_speaks_with_a_routers_bgp(site: Site) -> None:
    """Neither its own router's nor that of any other: not at their own addresses, on links, or on others' gateways."""
    spec = site.spec(services=())
    client = site.spec(unit="450200", router="yufeng", prefix=IPv6Network("3fff:102:0:42::/64"), vni=20042)
    site.bring_up(spec, client)
    caller = site.host(client)
    site.lab.wait_address(caller)
    vrf = site.lab.topology.vrfs[0]
    own = [str(loopback(site.lab.topology, vrf, r.name)) for r in site.lab.topology.routers]
    assert within(10, lambda: site.lab.ping(caller, own[0]))
    targets = (*own, str(spec.gateway), str(client.gateway), "3fff:f01:0:1::", "3fff:f01:0:2::", "3fff:f01:0:4::1")
    told = dict(zip(targets, calling(site, caller, *((target, 179) for target in targets)), strict=True))
    assert told == dict.fromkeys(targets, "179 shut")
    site.lab.vtysh("dc", "clear bgp vrf shared *")
    assert within(30, site.lab.converged)


def test_a_repair_that_finds_nothing_changes_nothing(site: Site) -> None:
    """Thorough or not, the second run has changed=0; and what is found by the first was there."""
    spec = site.spec(services=(Service("tcp", 22), Service("udp", 53, IPv6Network("3fff:122::9/128"))))
    runs = []
    play = site.provider.play

    def listening(*args: object, **kwargs: object) -> object:
        runs.append(play(*args, **kwargs))  # type: ignore[arg-type]
        return runs[-1]

    site.provider.play = listening  # type: ignore[assignment]
    site.bring_up(spec)
    for _ in range(2):
        assert site.provider.update([spec])[spec.id] is None
    site.bring_up(spec)
    assert [r.changed for r in runs] == [1, 0, 0, 0]
    by_hand = f'add element inet guiyun services {{ "seg{spec.vni}" . ::/0 . tcp . 23 }}'
    site.lab.run("dc", "nft", by_hand, vrf="shared")
    assert site.provider.update([spec])[spec.id] is None
    assert site.provider.update([spec])[spec.id] is None
    assert [r.changed for r in runs[4:]] == [1, 0]


def test_a_run_that_fails_halfway_leaves_nothing_that_nobody_owns(site: Site) -> None:
    """The link is made, the firewall cannot be: said again it goes on, or is taken away; the VNI is free again."""
    spec, other = site.spec(services=()), site.spec(services=())
    nft = site.lab.run("dc", "which", "nft").stdout.strip()
    site.lab.run("dc", "mount", "--bind", "/bin/false", nft)
    try:
        outcomes = site.create(spec, other)
    finally:
        site.lab.run("dc", "umount", nft)
    assert {getattr(o, "code", "") for o in outcomes.values()} == {"extranet.router_refused"}
    assert f"seg{spec.vni}" in site.lab.run("dc", "ip", "-br", "link", vrf="shared").stdout
    site.bring_up(spec)
    assert site.provider.delete([other])[other.id] is None
    assert f"seg{other.vni}" not in site.lab.run("dc", "ip", "-br", "link", vrf="shared").stdout
    site.bring_up(replace(site.spec(services=()), vni=other.vni))


_KILLING = """#!/bin/sh
case "$*" in
*-batch*) while read -r line; do case "$line" in *" type vxlan "*)
    /sbin/ip.real $line; kill -9 $PPID; exit 1;; *) /sbin/ip.real $line;; esac; done;;
*) exec /sbin/ip.real "$@";;
esac
"""


def test_a_run_that_is_killed_right_after_it_made_a_link_leaves_nothing_that_nobody_owns(site: Site) -> None:
    """Kill -9 between the link and its mark: the same run said again goes on with it, or it is taken away."""
    spec, other = site.spec(services=()), site.spec(services=())
    lab = site.lab
    ip = lab.run("dc", "readlink", "-f", lab.run("dc", "which", "ip").stdout.strip()).stdout.strip()
    killing = _KILLING.replace("/sbin/ip.real", "/run/ip.real")
    lab.run("dc", "sh", "-c", f"cp {ip} /run/ip.real; cat > /run/ip.kill <<'E'\n{killing}\nE\nchmod +x /run/ip.kill")
    for one in (spec, other):
        lab.run("dc", "mount", "--bind", "/run/ip.kill", ip)
        try:
            assert getattr(site.create(one)[one.id], "code", "") != ""
        finally:
            lab.run("dc", "umount", ip)
        shown = lab.run("dc", "ip", "link", "show", f"seg{one.vni}", vrf="shared").stdout
        assert f"seg{one.vni}" in shown
        assert "alias" not in shown
    coming = Rows({}, frozenset({spec.id}), frozenset({("dc", f"seg{spec.vni}")}))
    found = {(d.gap.value, d.subject) for d in compare(lab.topology, coming, site.audit("dc"))}
    assert found == {("extra", f"seg{other.vni}")}
    site.bring_up(spec)
    assert site.provider.verify([spec]).verdicts == {spec.id: None}
    assert site.provider.delete([other])[other.id] is None
    assert f"seg{other.vni}" not in lab.run("dc", "ip", "-br", "link", vrf="shared").stdout
    site.bring_up(replace(site.spec(services=()), vni=other.vni))

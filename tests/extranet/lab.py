"""The extranet laboratory: five FRR routers and as many hosts as a test wants, each in namespaces of its own.

Called by: ``make extranet`` (``up``, ``down``), the tests, ``benchmarks.extranet``. Needs root, Debian's frr and sshd.
Must not: leave a process, an interface or a file outside its home behind once it is down.

A router has namespaces for mounts, network, host name and processes: its own ``/run``, ``/etc/frr`` and sshd, and a
network namespace for each VRF (``zebra -n``: the kernel may have no VRF devices). The machine reaches them over one
veth, ``gyx0``, the management network. All processes carry an environment variable by which ``down`` finds them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from broker.extranet.checks import loopback, sessions_of, top_router
from broker.extranet.reading import read_topology
from broker.extranet.schema import Access, Router, Topology
from tests.extranet import frr
from tests.extranet.furnish import boot, prepare
from tests.extranet.nodes import (
    HOME,
    PATIENCE_S,
    LabError,
    await_files,
    await_ready,
    checked,
    enter,
    kill,
    marked,
    run,
    spawn,
    wait_for,
)

DEVICE = "gyx0"
MANAGEMENT = IPv6Network("3fff:f00::/64")
_LOOK_AGAIN_S = 0.5
PROGRAMS = ("/usr/lib/frr/zebra", "/usr/lib/frr/bgpd", "/usr/sbin/sshd", "unshare", "nsenter", "nft", "ping")


def missing() -> str:
    """Why there can be no laboratory on this machine; empty when there can."""
    if os.geteuid() != 0:
        return "需要 root"
    lacking = [Path(p).name for p in PROGRAMS if shutil.which(p) is None]
    return f"缺少 {'、'.join(lacking)}（apt-get install frr openssh-server nftables iputils-ping）" if lacking else ""


@dataclass(frozen=True, slots=True)
class Lab:
    """A running laboratory. ``pids``: a process in each node's namespaces."""

    topology: Topology
    pids: dict[str, int]

    @property
    def key(self) -> str:
        """The private SSH key that all routers let in."""
        return (HOME / "id").read_text()

    def run(
        self, node: str, *command: str, vrf: str = "", timeout: float = PATIENCE_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a node (a router: in one of its VRFs); never raises for its exit status."""
        inside = ["ip", "netns", "exec", vrf, *command] if vrf else list(command)
        return run(enter(self.pids[node], router=self._is_router(node)) + inside, timeout=timeout)

    def vtysh(self, router: str, *commands: str) -> str:
        """What a router's shell says."""
        return self.run(router, "vtysh", *(word for c in commands for word in ("-c", c))).stdout

    def _is_router(self, node: str) -> bool:
        return any(r.name == node for r in self.topology.routers)

    # ---- hosts: servers of a sub-cloud, as the extranet sees them
    def host(self, name: str, sub_cloud: str, vni: int) -> str:
        """A host on a segment's VXLAN, behind the sub-cloud's gateway. Its address comes by router advertisement."""
        self.boot_host(name)
        self.plug(name, sub_cloud, vni)
        return name

    def boot_host(self, name: str) -> None:
        """A host that is plugged in nowhere yet."""
        self.pids[name] = spawn(name, f"host-{name}")
        _save(self.pids)

    def plug(self, name: str, sub_cloud: str, vni: int) -> None:
        """Plug a host into a segment's VXLAN."""
        access = next(a for a in self.topology.access if a.sub_cloud == sub_cloud)
        self._wire_host(_gateway(access), access, name, vni)

    def _wire_host(self, gateway: str, access: Access, name: str, vni: int) -> None:
        link, bridge, port = f"vx{vni}", f"br{vni}", f"p{self.pids[name]}"
        if self.run(gateway, "ip", "link", "show", bridge).returncode:
            self._ip(
                gateway,
                f"link add {link} mtu 1500 type vxlan id {vni} local {access.remote} remote {access.local}"
                " dstport 4789",
                f"link add {bridge} type bridge mcast_snooping 0",
                f"link set {link} master {bridge} up",
                f"link set {bridge} up",
            )
        self._ip(
            gateway,
            f"link add {port} type veth peer name eth0 netns {self.pids[name]}",
            f"link set {port} master {bridge} up",
        )
        self.run(name, "sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0", "net.ipv6.conf.eth0.accept_ra=2",
                 "net.ipv6.conf.eth0.addr_gen_mode=0", "net.ipv6.conf.eth0.router_solicitation_interval=1",
                 "net.ipv6.conf.eth0.router_solicitation_delay=0")  # fmt: skip
        self._ip(name, "link set lo up", "link set eth0 up")

    def _ip(self, node: str, *lines: str) -> None:
        done = subprocess.run(
            [*enter(self.pids[node], router=self._is_router(node), pid_namespace=False), "ip", "-batch", "-"],
            input="\n".join(lines) + "\n", text=True, capture_output=True, check=False, timeout=PATIENCE_S,
        )  # fmt: skip
        if done.returncode:
            raise LabError(f"{node}: {done.stderr.strip()[:300]}")

    def address(self, host: str) -> IPv6Address | None:
        """The host's global address that is not deprecated, once it has one."""
        shown = self.run(host, "ip", "-j", "-6", "addr", "show", "dev", "eth0", "scope", "global").stdout
        for link in json.loads(shown or "[]"):
            for info in link.get("addr_info", ()):
                if "local" in info and not info.get("deprecated"):
                    return IPv6Address(info["local"])
        return None

    def wait_address(self, host: str, seconds: float = PATIENCE_S) -> IPv6Address:
        """The host's address; raises LabError when none comes. Looks when the kernel says that something changed."""
        until = time.monotonic() + seconds
        with self._listening(host, "ip", "-6", "monitor", "address") as heard:
            while time.monotonic() < until:
                if found := self.address(host):
                    return found
                select.select([heard], [], [], _LOOK_AGAIN_S)  # what was said before it listened is not heard
                with suppress(BlockingIOError):
                    os.read(heard, 65_536)
        raise LabError(f"{host} got no address in {seconds} s")

    def ping(self, node: str, target: object, *, vrf: str = "", wait: float = 1.0) -> bool:
        """Whether one echo comes back."""
        return self.run(node, "ping", "-6", "-n", "-q", "-c1", f"-W{wait}", str(target), vrf=vrf).returncode == 0

    def wait_answer(self, node: str, target: object, seconds: float, *, every: float = 0.05) -> bool:
        """Whether an echo comes back in time: one process that asks again and again, however often it is refused."""
        until, said = time.monotonic() + seconds, b""
        with self._listening(node, "ping", "-6", "-n", "-i", str(every), str(target)) as heard:
            while time.monotonic() < until and b"bytes from" not in said:
                select.select([heard], [], [], _LOOK_AGAIN_S)
                with suppress(BlockingIOError):
                    if not (more := os.read(heard, 65_536)):
                        return False  # it cannot even ask
                    said = said[-80:] + more
        return b"bytes from" in said

    @contextmanager
    def _listening(self, node: str, *command: str) -> Iterator[int]:
        """What a program in a node says, as it says it: a handle that does not block. It ends with this."""
        inside = [*enter(self.pids[node], router=self._is_router(node)), *command]
        with subprocess.Popen(inside, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as talking:
            assert talking.stdout is not None
            os.set_blocking(talking.stdout.fileno(), False)
            try:
                yield talking.stdout.fileno()
            finally:
                talking.kill()

    def remove_host(self, name: str) -> None:
        """End a host; its links go with its namespace."""
        kill(self.pids.pop(name))
        _save(self.pids)

    def converged(self) -> bool:
        """Whether every lowest router hears the top one in every VRF."""
        ends = {a.router for a in self.topology.access}
        return all(self._hears(router) for router in ends)

    def _hears(self, router: str) -> bool:
        if router not in self.pids:
            return True
        top = top_router(self.topology)
        asked = [f"show ipv6 route vrf {v.name} {loopback(self.topology, v, top)}/128 json" for v in self.topology.vrfs]
        return self.vtysh(router, *asked).count('"installed":true') == len(asked)

    # ---- faults
    def stop_router(self, name: str) -> None:
        """The router loses power: no process, no namespace is left of it."""
        kill(self.pids.pop(name))
        _save(self.pids)

    def start_router(self, name: str) -> None:
        """The router boots with the configuration that it had saved; its links are plugged in again."""
        router = next(r for r in self.topology.routers if r.name == name)
        self.pids[name] = boot(self.topology, router)
        _save(self.pids)
        self._wire(only=name)
        (HOME / name / "wired").touch()
        await_ready([name])

    # ---- wiring
    def _wire(self, only: str = "") -> None:
        for router in self.topology.routers:
            if only in ("", router.name):
                self._wire_management(router)
        for session in self.topology.sessions:
            if only in ("", session.upper, session.lower):
                self._wire_session(session.upper, session.lower)
        for access in self.topology.access:
            if only in ("", access.router):
                self._wire_access(access, new_gateway=not only)

    def _wire_management(self, router: Router) -> None:
        self._ip(
            "mgmt",
            f"link add m-{router.name} type veth peer name mgmt0 {_mac(router.name)} netns {self.pids[router.name]}",
            f"link set m-{router.name} master br0 up",
        )
        self._ip(router.name, "link set mgmt0 up", f"addr add {router.address}/{MANAGEMENT.prefixlen} dev mgmt0 nodad")

    def _wire_session(self, upper: str, lower: str) -> None:
        session = next(s for s in self.topology.sessions if (s.upper, s.lower) == (upper, lower))
        # One veth a VRF: the kernel may have no 802.1Q.
        numbers = [i for i, v in enumerate(self.topology.vrfs) if v.name in sessions_of(self.topology, session)]
        names = [(frr.link_name(lower, i), frr.link_name(upper, i), self.topology.vrfs[i].name) for i in numbers]
        pid = self.pids[lower]
        self._ip(upper, *(
            f"link add {up} {_mac(upper + up)} type veth peer name {low} {_mac(lower + low)} netns {pid}"
            for up, low, _ in names
        ))  # fmt: skip
        for node, column in ((upper, 0), (lower, 1)):
            self._ip(node, *(f"link set {pair[column]} netns {pair[2]}" for pair in names))
        for node, column in ((upper, 0), (lower, 1)):
            for pair in names:
                self.run(node, "ip", "-n", pair[2], "link", "set", pair[column], "up")

    def _wire_access(self, access: Access, *, new_gateway: bool) -> None:
        gateway, router = _gateway(access), access.router
        self._ip(
            gateway,
            f"link add up0 {_mac(gateway)} mtu 1600 type veth peer name {access.device} {_mac(router)}"
            f" netns {self.pids[router]}",
        )
        lines = ["link set lo up", "link set up0 up", f"addr add {access.remote}/64 dev up0 nodad"]
        self._ip(gateway, *(lines if new_gateway else lines[1:]))
        self._ip(
            router, f"link set {access.device} mtu 1600 up", f"addr add {access.local}/64 dev {access.device} nodad"
        )


def up() -> Lab:
    """Bring the laboratory up, or find it running. Raises LabError."""
    if reason := missing():
        raise LabError(reason)
    if (running := current()) is not None:
        return running
    down()
    if Path(f"/sys/class/net/{DEVICE}").exists():
        raise LabError(f"本机已有另一个路由器实验环境（{DEVICE}）：一台机器只能有一个")
    HOME.mkdir(parents=True, exist_ok=True)
    try:
        return _build()
    except BaseException:
        down()
        raise


def _build() -> Lab:
    topology = prepare()
    pids = {r.name: boot(topology, r) for r in topology.routers}
    for node in ("mgmt", *(_gateway(a) for a in topology.access)):
        pids[node] = spawn(node, node)
    _save(pids)
    lab = Lab(topology, pids)
    await_files([HOME / r.name / "made" for r in topology.routers])
    lab._ip("mgmt", "link add br0 type bridge mcast_snooping 0", "link set br0 up", "link set lo up",
            f"addr add {MANAGEMENT[2]}/64 dev br0 nodad")  # fmt: skip
    checked("ip", "link", "add", DEVICE, "type", "veth", "peer", "name", "host0", "netns", str(pids["mgmt"]))
    lab._ip("mgmt", "link set host0 master br0 up")
    checked("ip", "link", "set", DEVICE, "up")
    checked("ip", "-6", "addr", "add", f"{MANAGEMENT[1]}/64", "dev", DEVICE, "nodad")
    lab._wire()
    for router in topology.routers:
        (HOME / router.name / "wired").touch()
    await_ready([r.name for r in topology.routers])
    wait_for(lab.converged, "the routers' sessions do not come up")
    return lab


def down() -> None:
    """End everything that carries the mark of this home; safe to call when nothing runs."""
    for pid in marked():
        kill(pid)
    if Path(f"/sys/class/net/{DEVICE}").exists() and (HOME / "state.json").exists():
        run(["ip", "link", "del", DEVICE])
    shutil.rmtree(HOME, ignore_errors=True)


def current() -> Lab | None:
    """The running laboratory, if all of it runs."""
    state = HOME / "state.json"
    if not state.exists():
        return None
    pids: dict[str, int] = json.loads(state.read_text())
    alive = set(marked())
    topology = read_topology(HOME / "topology.yaml")
    wanted = {r.name for r in topology.routers} | {"mgmt"} | {_gateway(a) for a in topology.access}
    if not wanted <= {n for n, pid in pids.items() if pid in alive}:
        return None
    return Lab(topology, {n: pid for n, pid in pids.items() if pid in alive})


def _mac(port: str) -> str:
    """A port keeps its address over a reboot, as a real one does: neighbours remember it."""
    digits = hashlib.sha256(port.encode()).hexdigest()
    return "address 02:" + ":".join(digits[i : i + 2] for i in range(0, 10, 2))


def _gateway(access: Access) -> str:
    return f"gw-{access.router}"


def _save(pids: dict[str, int]) -> None:
    (HOME / "state.json").write_text(json.dumps(pids))


def main(arguments: Sequence[str]) -> int:
    """``up`` | ``down`` | ``sh NODE COMMAND…``."""
    parser = argparse.ArgumentParser(prog="tests/extranet")
    parser.add_argument("verb", choices=("up", "down", "sh"))
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    asked = parser.parse_args(arguments)
    if asked.verb == "down":
        down()
        return 0
    if asked.verb == "up" and (reason := missing()):
        sys.stdout.write(f"未包括：路由器实验环境（{reason}）\n")
        return 0
    began = time.monotonic()
    try:
        lab = up()
    except LabError as error:
        sys.stderr.write(f"路由器实验环境没有启动：{error}\n")
        return 1
    if asked.verb == "sh":
        node, *command = asked.rest
        os.execvp("nsenter", [*enter(lab.pids[node], router=lab._is_router(node)), *command])
    sys.stdout.write(
        f"路由器实验环境已启动（{time.monotonic() - began:.1f} 秒）：{HOME}/topology.yaml，密钥 {HOME}/id\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

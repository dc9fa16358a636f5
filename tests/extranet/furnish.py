"""What a laboratory router is given before it boots, and its boot: keys, its own /etc, namespaces, daemons.

Called by: ``tests.extranet.lab``. Must not: wire anything.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from broker.extranet.reading import read_topology
from broker.extranet.schema import Router, Topology
from broker.yaml_file import read_yaml
from tests.extranet import frr
from tests.extranet.nodes import HERE, HOME, await_files, checked, start, wait_for

_BOOT = """
set -e
mount -t proc proc /proc
mount -t sysfs sys /sys
for d in frr log ssh root; do mkdir -p "$LAB/mnt/$d"; mount --bind "$LAB/$d" "$LAB/mnt/$d"; done
mount -t tmpfs tmpfs /run
mount --bind "$LAB/mnt/frr" /etc/frr; mount --bind "$LAB/mnt/log" /var/log/frr
mount --bind "$LAB/mnt/ssh" /etc/ssh; mount --bind "$LAB/mnt/root" /root; mount --bind "$LAB/shadow" /etc/shadow
hostname "$NAME"
mkdir -p /run/netns /run/frr /run/sshd; chown frr:frr /run/frr
ip link set lo up
sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
for v in $VRFS; do
  ip netns add $v; ip -n $v link set lo up
  ip netns exec $v sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.forwarding=1 \\
    net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
done
touch "$LAB/made"
while [ ! -e "$LAB/wired" ]; do sleep 0.05; done
await() { n=0; until [ -S /run/frr/$1.vty ]; do sleep 0.02; n=$((n+1)); [ $n -lt 500 ]; done; }
# Addresses before sessions: one that finds no address to speak from waits for its next attempt.
/usr/lib/frr/zebra -d -n -A ::1; await zebra; vtysh -b
/usr/lib/frr/bgpd -d -A ::1; await bgpd; vtysh -b
/usr/sbin/sshd -f /etc/ssh/sshd_config -E /var/log/frr/sshd.log
touch "$LAB/ready"
trap 'exit 0' TERM
while :; do sleep 3600 & wait $!; done
"""


def prepare() -> Topology:
    """Keys, folders and the topology with the host keys in it."""
    checked("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "guiyun-extranet", "-f", str(HOME / "id"))
    raw: dict[str, Any] = read_yaml(HERE / "topology.yaml")
    for entry in raw["routers"]:
        folder = HOME / entry["name"]
        for name in ("frr", "log", "ssh", "root/.ssh"):
            (folder / name).mkdir(parents=True)
        key = folder / "ssh/ssh_host_ed25519_key"
        checked("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key))
        entry["host_key"] = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    (HOME / "topology.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True, sort_keys=False))
    topology = read_topology(HOME / "topology.yaml")
    for router in topology.routers:
        _furnish(topology, router)
    return topology


def _furnish(topology: Topology, router: Router) -> None:
    folder = HOME / router.name
    (folder / "frr/frr.conf").write_text(frr.configuration(topology, router))
    (folder / "frr/vtysh.conf").write_text("service integrated-vtysh-config\n")
    (folder / "ssh/sshd_config").write_text(
        f"ListenAddress {router.address}\nHostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\n"
        "PermitRootLogin prohibit-password\nUsePAM no\nUseDNS no\nMaxStartups 100\nSubsystem sftp internal-sftp\n"
    )
    shutil.copy(HOME / "id.pub", folder / "root/.ssh/authorized_keys")
    # A locked root is let in by no key; the router has an /etc/shadow of its own.
    shadow = [line for line in Path("/etc/shadow").read_text().splitlines() if not line.startswith("root:")]
    (folder / "shadow").write_text("\n".join(["root:*:19000:0:99999:7:::", *shadow]) + "\n")
    for path, mode in (("root", 0o700), ("root/.ssh", 0o700), ("log", 0o777), ("frr", 0o755), ("shadow", 0o600)):
        (folder / path).chmod(mode)
    shutil.chown(folder / "frr", "frr", "frr")
    shutil.chown(folder / "frr/frr.conf", "frr", "frr")


def boot(topology: Topology, router: Router) -> int:
    folder = HOME / router.name
    for name in ("made", "wired", "ready"):
        (folder / name).unlink(missing_ok=True)
    flags = ["unshare", "-m", "-n", "-u", "-p", "--fork", "--kill-child", "--propagation", "private"]
    variables = {"LAB": str(folder), "NAME": router.name, "VRFS": " ".join(v.name for v in topology.vrfs)}
    outer = start([*flags, "bash", "-c", _BOOT], router.name, variables)
    children = Path(f"/proc/{outer}/task/{outer}/children")
    wait_for(lambda: bool(children.read_text().split()), f"{router.name} does not start")
    pid = int(children.read_text().split()[0])
    await_files([folder / "made"])
    return pid

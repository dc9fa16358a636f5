"""A real guest: delivered through the adapter, reached over IPv6, hardened by our playbook, twice."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from playbooks.runner import HostVars, PlayStatus, run
from providers.contract import AttachmentSpec, Kind, NetworkSpec, ProjectSpec, key_of
from tests.openstack.site import HOME, PATIENCE_S, REAL_IMAGE, Site

pytestmark = pytest.mark.openstack

BRIDGES_PASS_THE_FIREWALL = Path("/proc/sys/net/bridge/bridge-nf-call-ip6tables")


@dataclass(frozen=True, slots=True)
class Guest:
    """A server that answers SSH."""

    address: str
    private_key: str
    key_file: Path

    def shell(self, command: str) -> str:
        """What a command in the guest prints."""
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        ssh = ["ssh", "-6", "-i", str(self.key_file), *options, "-o", "ConnectTimeout=30", f"root@{self.address}"]
        return subprocess.run([*ssh, command], check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout


def banner(address: str, port: int = 22, wait_s: float = 5) -> bytes:
    """What a port says first; raises OSError when nobody answers."""
    with socket.create_connection((address, port), wait_s) as connection:
        return connection.recv(100)


@pytest.fixture(scope="module")
def guest(
    site: Site, project: ProjectSpec, network: NetworkSpec, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guest]:
    """A server booted from the image that `make openstack` built, with a key of the test's own."""
    if not (HOME / "adapter-real.json").exists():
        pytest.skip("the laboratory was started with GUIYUN_OPENSTACK_VIRT=fake: no guest boots in it")
    key_file = tmp_path_factory.mktemp("ssh") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key_file)], check=True)
    public_key = key_file.with_suffix(".pub").read_text()
    spec = site.server_spec(network, root_gib=2, image=REAL_IMAGE, ssh_public_key=public_key)
    made = site.make(spec)
    address = str(made.addresses[0])
    end = time.monotonic() + 2 * PATIENCE_S  # it boots
    while True:
        try:
            assert banner(address).startswith(b"SSH-2.0")
            break
        except OSError:
            assert time.monotonic() < end, f"no SSH at {address}"
            time.sleep(1)
    yield Guest(address, key_file.read_text(), key_file)
    site.remove(key_of(spec))


def test_a_delivered_guest_is_hardened_and_the_second_run_changes_nothing(guest: Guest) -> None:
    """harden-guest configures a real server over IPv6; run again it finds nothing to do."""
    hosts = {"web-01": HostVars(guest.address, private_key=guest.private_key)}
    first = run("harden-guest", hosts=hosts, timeout_s=600)
    assert (first.status, first.failures) == (PlayStatus.OK, ())
    assert first.changed > 5
    second = run("harden-guest", hosts=hosts, timeout_s=600)
    assert (second.status, second.changed, second.failures) == (PlayStatus.OK, 0, ())
    effective = guest.shell("sshd -T; date +%z; sysctl -n kernel.dmesg_restrict; cat /etc/issue.net")
    for line in ("passwordauthentication no", "permitrootlogin without-password", "maxauthtries 4", "+0800"):
        assert line in effective.splitlines()
    assert "政务信息系统" in effective


def test_a_guest_can_be_reached_on_the_ssh_port_only(guest: Guest) -> None:
    """The baseline is closed inbound: a service that the guest offers is not there for others."""
    if not BRIDGES_PASS_THE_FIREWALL.exists():
        pytest.skip("this kernel's bridges pass by ip6tables, so the laboratory has no security groups")
    guest.shell("systemd-run --quiet --unit=offer python3 -m http.server --bind :: 8080")
    end = time.monotonic() + PATIENCE_S
    while "8080" not in guest.shell("ss -Hltn6 'sport = :8080'"):
        assert time.monotonic() < end, "the guest's own service did not start"
        time.sleep(1)
    with pytest.raises(OSError, match="timed out"):
        banner(guest.address, 8080)
    assert banner(guest.address).startswith(b"SSH-2.0")


def test_a_volume_that_is_attached_is_seen_by_the_guest(site: Site, project: ProjectSpec, guest: Guest) -> None:
    """A data disk is there while the server runs, with its size, and is gone when it is detached."""
    before = guest.shell("ls /sys/block").split()
    volume = site.volume_spec(project)
    site.make(volume)
    (server,) = site.provider.list(Kind.SERVER, project.id)
    attachment = AttachmentSpec(volume.id, project.id, server.key.id)
    site.make(attachment)
    end = time.monotonic() + PATIENCE_S
    while not (new := set(guest.shell("ls /sys/block").split()) - set(before)):
        assert time.monotonic() < end, "the guest sees no new disk"
        time.sleep(1)
    assert int(guest.shell(f"cat /sys/block/{new.pop()}/size")) * 512 == volume.size_gib << 30
    site.remove(key_of(attachment))
    site.wait(lambda: guest.shell("ls /sys/block").split() == before, "the disk is gone from the guest")
    site.remove(key_of(volume))

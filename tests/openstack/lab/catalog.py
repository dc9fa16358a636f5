"""Fills the lab's cloud: service users and endpoints, and what an operator prepares before the first unit comes.

Called by: ``up``, with Debian's Python and its openstacksdk. Idempotent. Must not: make what the adapter makes.

    catalog.py services HOME          as soon as keystone answers
    catalog.py resources HOME VIRT    once every API answers; waits until every daemon reports, writes HOME/adapter.json
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import openstack
import yaml

HOST = "http://127.0.0.1"
ENDPOINTS = (
    ("glance", "image", f"{HOST}:9292"),
    ("placement", "placement", f"{HOST}:8778"),
    ("nova", "compute", f"{HOST}:8774/v2.1"),
    ("neutron", "network", f"{HOST}:9696"),
    ("cinder", "volumev3", f"{HOST}:8776/v3/%(project_id)s"),
)
REGIONS = ("RegionOne",)
# Images that any server can be "booted" from on the fake host: a few bytes each, named as in the demonstration region.
FAKE_IMAGES = ("debian-12-x86_64", "kylin-v10-x86_64", "openeuler-22.03-x86_64")
REAL_IMAGE = "guiyun-guest"
# Only images with this trait go to the real host (an isolated aggregate), and they go nowhere else.
REAL_TRAIT = "CUSTOM_GUIYUN_REAL"
REAL_HOST = "guiyun-real"
POOLS = ["2000::/3", "fc00::/7"]
EXTRANET = "3fff:fff:ffff:ffff"


def connect(home: Path) -> Any:
    """A connection with the lab's operator account."""
    cloud = yaml.safe_load((home / "clouds.yaml").read_text())["clouds"]["guiyun-lab"]
    return openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        region_name=cloud["region_name"],
        identity_api_version="3",
        **cloud["auth"],
    )


def services(cloud: Any, password: str) -> None:
    """Users, roles and endpoints of the five services."""
    identity = cloud.identity
    project = identity.find_project("service") or identity.create_project(name="service", domain_id="default")
    roles = {n: identity.find_role(n) or identity.create_role(name=n) for n in ("admin", "service", "member", "reader")}
    known = {s.type: s for s in identity.services()}
    present = {(e.service_id, e.interface, e.region_id) for e in identity.endpoints()}
    for name, kind, url in ENDPOINTS:
        user = identity.find_user(name) or identity.create_user(name=name, password=password, domain_id="default")
        for role in ("admin", "service"):
            identity.assign_project_role_to_user(project, user, roles[role])
        service = known.get(kind) or identity.create_service(name=name, type=kind)
        for region in REGIONS:
            for interface in ("public", "internal", "admin"):
                if (service.id, interface, region) not in present:
                    identity.create_endpoint(service_id=service.id, interface=interface, url=url, region_id=region)


def missing(cloud: Any, virt: str) -> str:
    """What does not report yet; empty when the cloud is whole."""
    real = virt == "libvirt"
    compute = {(s.binary, s.host) for s in cloud.compute.services() if s.state == "up"}
    wanted = {("nova-compute", "guiyun-fake")} | ({("nova-compute", REAL_HOST)} if real else set())
    if not wanted <= compute or not {"nova-conductor", "nova-scheduler"} <= {binary for binary, _ in compute}:
        return f"nova, of which only these are up: {sorted(compute)}"
    volume = {s["host"] for s in cloud.block_storage.get("/os-services").json()["services"] if s["state"] == "up"}
    if not {"guiyun", "guiyun@ssd", "guiyun@hdd"} <= volume:
        return f"cinder, of which only these are up: {sorted(volume)}"
    # A backend that is up is still unknown to the scheduler until it reports what it holds: its volumes end in error.
    pools = {pool["name"] for pool in cloud.block_storage.get("/scheduler-stats/get_pools").json()["pools"]}
    if not {"guiyun@ssd#ssd", "guiyun@hdd#hdd"} <= pools:
        return f"cinder's scheduler, which only knows these pools: {sorted(pools)}"
    agents = {a.binary for a in cloud.network.agents() if a.is_alive}
    if real and not {"neutron-linuxbridge-agent", "neutron-l3-agent"} <= agents:
        return f"neutron's agents, of which only these are alive: {sorted(agents)}"
    hosts = {h.service_details["host"] for h in cloud.compute.hypervisors(details=True)}
    return (
        ""
        if {host for _, host in wanted} <= hosts
        else f"compute hosts, of which only these are known: {sorted(hosts)}"
    )


def await_daemons(cloud: Any, virt: str, home: Path) -> None:
    """Poll until every daemon reports; SystemExit with what is missing after three minutes."""
    end = time.monotonic() + 180
    lack = "everything"
    asked = 0.0
    while time.monotonic() < end:
        try:
            lack = missing(cloud, virt)
        except openstack.exceptions.SDKException as error:
            lack = str(error)
        if not lack:
            return
        if "compute hosts" in lack and time.monotonic() - asked > 10:
            asked = time.monotonic()
            conf = str(home / "run/etc/nova.conf")
            subprocess.run(
                ["nova-manage", "--config-file", conf, "cell_v2", "discover_hosts"], check=False, capture_output=True
            )
        time.sleep(0.5)
    sys.exit(f"still waiting for {lack}")


def warm_up(cloud: Any, requests: int = 24) -> None:
    """Neutron's workers answer before anybody counts on them; SystemExit when one still fails after two minutes."""
    in_a_row = 0
    end = time.monotonic() + 120
    while in_a_row < requests:
        if time.monotonic() > end:
            sys.exit("neutron still fails to list ports")
        answer = cloud.network.get("/ports?limit=1", headers={"Connection": "close"})
        in_a_row = in_a_row + 1 if answer.status_code == 200 else 0


def image(cloud: Any, name: str, data: bytes | None = None, file: Path | None = None, **properties: str) -> Any:
    """The public image of that name, uploaded once (a built guest again when its file is newer)."""
    found = next((i for i in cloud.image.images(name=name) if i.status == "active"), None)
    stamp = str(int(file.stat().st_mtime)) if file else ""
    if found is not None and found.properties.get("guiyun_built", "") == stamp:
        return found
    if found is not None:
        cloud.image.delete_image(found)
    options = {"disk_format": "raw", "container_format": "bare", **properties, "guiyun_built": stamp}
    body = file.read_bytes() if file else data
    made = cloud.image.create_image(
        name=name, visibility="public", allow_duplicates=True, wait=True, data=body, **options
    )
    return cloud.image.get_image(made.id)


def volume_types(cloud: Any) -> None:
    """One volume type a class; the operator decides which backend serves it."""
    have = {t.name for t in cloud.block_storage.types()}
    for name in ("ssd", "hdd"):
        if name not in have:
            cloud.block_storage.create_type(name=name, extra_specs={"volume_backend_name": name})


def address_pool(cloud: Any) -> Any:
    """The scope in which a prefix can be taken once, and the pool that prefixes are taken from."""
    network = cloud.network
    scope = network.find_address_scope("guiyun") or network.create_address_scope(name="guiyun", ip_version=6)
    return network.find_subnet_pool("guiyun") or network.create_subnet_pool(
        name="guiyun",
        prefixes=POOLS,
        address_scope_id=scope.id,
        default_prefix_length=64,
        minimum_prefix_length=48,
        maximum_prefix_length=64,
    )


def extranet(cloud: Any, pool: Any) -> None:
    """The router between units' networks and the host's bridge, which plays the extranet."""
    network = cloud.network
    outside = network.find_network("extranet") or network.create_network(
        name="extranet", is_router_external=True, provider_network_type="flat", provider_physical_network="extranet"
    )
    subnet = network.find_subnet("extranet") or network.create_subnet(
        name="extranet",
        network_id=outside.id,
        ip_version=6,
        subnet_pool_id=pool.id,
        cidr=f"{EXTRANET}::/64",
        gateway_ip=f"{EXTRANET}::1",
        is_dhcp_enabled=False,
    )
    gateway = {
        "network_id": outside.id,
        "external_fixed_ips": [{"subnet_id": subnet.id, "ip_address": f"{EXTRANET}::2"}],
    }
    if network.find_router("guiyun-extranet") is None:
        network.create_router(name="guiyun-extranet", external_gateway_info=gateway)


def real_host(cloud: Any) -> None:
    """Keep the real host for images that ask for it."""
    node = next(h for h in cloud.compute.hypervisors(details=True) if h.service_details["host"] == REAL_HOST)
    version = {"OpenStack-API-Version": "placement 1.6"}
    cloud.placement.put(f"/traits/{REAL_TRAIT}", headers=version)
    url = f"/resource_providers/{node.id}/traits"
    now = cloud.placement.get(url, headers=version).json()
    if REAL_TRAIT not in now["traits"]:
        now["traits"].append(REAL_TRAIT)
        answer = cloud.placement.put(url, headers=version, json=now)
        answer.raise_for_status()
    aggregate = cloud.compute.find_aggregate("real") or cloud.compute.create_aggregate(name="real")
    if REAL_HOST not in (aggregate.hosts or []):
        cloud.compute.add_host_to_aggregate(aggregate, REAL_HOST)
    cloud.compute.set_aggregate_metadata(aggregate, {f"trait:{REAL_TRAIT}": "required"})


def real_guest(cloud: Any, folder: Path) -> None:
    """The guest that build-guest made: a kernel, a ramdisk, a disk."""
    kernel = image(cloud, f"{REAL_IMAGE}-kernel", file=folder / "vmlinuz", disk_format="aki", container_format="aki")
    ramdisk = image(
        cloud, f"{REAL_IMAGE}-ramdisk", file=folder / "initrd.gz", disk_format="ari", container_format="ari"
    )
    properties = {
        "kernel_id": kernel.id,
        "ramdisk_id": ramdisk.id,
        "os_command_line": "console=ttyS0 quiet",
        "hw_vif_model": "virtio",
        "architecture": "x86_64",
        f"trait:{REAL_TRAIT}": "required",
    }
    image(cloud, REAL_IMAGE, file=folder / "disk.qcow2", disk_format="qcow2", **properties)


def adapter_options(home: Path, virt: str) -> None:
    """What ``providers.openstack`` is told about this cloud.

    adapter.json is for servers of the fake images, which no playbook reaches; adapter-real.json for real guests.
    """
    cloud = yaml.safe_load((home / "clouds.yaml").read_text())["clouds"]["guiyun-lab"]
    options = {"region": cloud["region_name"], **cloud["auth"], "subnet_pool": "guiyun"}
    if virt == "libvirt":
        options |= {"router": "guiyun-extranet", "ssh_sources": f"{EXTRANET}::/64"}
        write_private(home / "adapter-real.json", {**options, "guest_reachable": "true"})
    else:
        (home / "adapter-real.json").unlink(missing_ok=True)
    write_private(home / "adapter.json", options)


def write_private(file: Path, content: dict[str, str]) -> None:
    """For nobody else's eyes: it holds the operator's password."""
    file.touch(mode=0o600)
    file.write_text(json.dumps(content, indent=2) + "\n")


def main(what: str, home: Path, virt: str = "fake") -> None:
    """Fill what the caller asks for."""
    cloud = connect(home)
    if what == "services":
        services(cloud, (home / "password").read_text())
        return
    await_daemons(cloud, virt, home)
    warm_up(cloud)
    volume_types(cloud)
    pool = address_pool(cloud)
    for name in FAKE_IMAGES:
        image(cloud, name, data=name.encode() * 1024, architecture="x86_64")
    if virt == "libvirt":
        extranet(cloud, pool)
        real_host(cloud)
        real_guest(cloud, home / "cache/guest")
    adapter_options(home, virt)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])

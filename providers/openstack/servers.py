"""Servers: nova's, booted on a port that was made before with a MAC address of ours.

Called by: ``provider``; ``attachments`` and snapshots ask for a server. Must not: boot without that port.

A network takes a MAC address once and nova boots one server on a port: a create that timed out and acts late finds the
port in use, or gone once the server was deleted. The human name is in the metadata; nova's name ends in our id.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Any
from uuid import UUID

from providers.contract import Key, Kind, Observed, ServerSpec, Status
from providers.errors import Permanent, ProviderError, Temporary
from providers.openstack.client import Client, Json
from providers.openstack.flavors import Flavors
from providers.openstack.images import Images
from providers.openstack.naming import CLOUD, ID, NAME, check_name, ids_in, mac_of, metadata, server_name, tagged_name
from providers.openstack.networks import Networks
from providers.openstack.options import Options
from providers.openstack.projects import Projects

_STATUS = {
    "ACTIVE": Status.ACTIVE,
    "SHUTOFF": Status.STOPPED,
    "PAUSED": Status.STOPPED,
    "SUSPENDED": Status.STOPPED,
    "SHELVED": Status.STOPPED,
    "SHELVED_OFFLOADED": Status.STOPPED,
    "ERROR": Status.ERROR,
    "DELETED": Status.DELETING,
    "SOFT_DELETED": Status.DELETING,
}
_RESIZING = frozenset({"RESIZE", "VERIFY_RESIZE"})
_POLL_S = 0.5
_MARGIN_S = 10.0


class Servers:
    """Nova's servers that carry an id of ours and this sub-cloud's name."""

    def __init__(
        self, client: Client, options: Options, projects: Projects, *, networks: Networks, images: Images, cloud: str
    ) -> None:
        self._client = client
        self._options = options
        self._projects = projects
        self._networks = networks
        self._images = images
        self._flavors = Flavors(client)
        self._cloud = cloud

    def create(self, spec: ServerSpec) -> Observed:
        check_name(spec.name)
        ref = self._projects.require(spec.project_id)
        key = Key(Kind.SERVER, spec.id, spec.project_id)
        found = self.raw(key, ref)
        if found:
            return self._seen(found, key)
        network, group = self._networks.refs(spec.network_id, ref)
        image = self._images.require(spec.image, spec.cpu_arch)
        flavor = self._flavors.require(spec.vcpu, spec.memory_gib, spec.root_gib)
        body = self._order(spec, image, flavor, self._port(spec.id, ref, network, group))
        if spec.ssh_public_key:
            body["key_name"] = self._add_key(spec.id, spec.ssh_public_key)
        try:
            made = self._client.post("compute", "/servers", {"server": body}, project=ref)["server"]
        except Permanent as refusal:
            found = self.raw(key, ref)
            if not found:
                self._clear(spec.id, ref)
                raise
            if refusal.code not in {"conflict", "refused"}:
                raise
            return self._seen(found, key)
        if spec.ssh_public_key:
            self._drop_key(spec.id)
        return Observed(
            key,
            made["id"],
            Status.BUILDING,
            name=spec.name,
            vcpu=spec.vcpu,
            memory_gib=spec.memory_gib,
            size_gib=spec.root_gib,
        )

    def change(self, spec: ServerSpec) -> Observed:
        """Resize and confirm. Waits while the call may; raises Temporary when the cloud needs longer: call it again."""
        ref = self._projects.require(spec.project_id)
        key = Key(Kind.SERVER, spec.id, spec.project_id)
        server = self._one(key, ref)
        flavor = server["flavor"]
        wanted = (spec.vcpu, spec.memory_gib * 1024)
        if server["status"] not in _RESIZING and (flavor["vcpus"], flavor["ram"]) != wanted:
            target = self._flavors.require(spec.vcpu, spec.memory_gib, max(spec.root_gib, flavor["disk"]))
            self._act(server, ref, {"resize": {"flavorRef": target}})
        elif server["status"] not in _RESIZING:
            return self._seen([server], key)
        while self._client.left_s() > _MARGIN_S:
            server = self._one(key, ref)
            if server["status"] == "VERIFY_RESIZE":
                self._act(server, ref, {"confirmResize": None})
                return self._seen([self._one(key, ref)], key)
            if server["status"] not in _RESIZING and server["OS-EXT-STS:task_state"] is None:
                return self._seen([server], key)
            time.sleep(_POLL_S)
        raise Temporary("resize_in_progress", f"server {spec.id} is still being resized", retry_after_s=5.0)

    def power(self, key: Key, *, on: bool) -> Observed:
        ref = self._projects.require(key.project_id)
        server = self._one(key, ref)
        wanted = "ACTIVE" if on else "SHUTOFF"
        if server["status"] != wanted:
            try:
                self._act(server, ref, {"os-start" if on else "os-stop": None})
            except ProviderError:
                # It may have got there meanwhile; nova refuses to start what runs.
                server = self._one(key, ref)
                if server["status"] != wanted:
                    raise
            else:
                server = self._one(key, ref)
        return self._seen([server], key)

    def find(self, key: Key) -> Observed | None:
        ref = self._projects.ref(key.project_id)
        found = self.raw(key, ref) if ref else []
        return self._seen(found, key) if found else None

    def list(self, project_id: UUID | None) -> Sequence[Observed]:
        by_key: dict[tuple[UUID, UUID], list[Json]] = {}
        for server in self.all(project_id):
            ids = ids_in(server["metadata"], self._cloud)
            if ids:
                by_key.setdefault(ids, []).append(server)
        return [self._seen(sorted(found, key=_order), Key(Kind.SERVER, *ids)) for ids, found in by_key.items()]

    def delete(self, key: Key) -> bool:
        """Remove the server and its duplicates, then the port; without the port a late create cannot boot any more."""
        ref = self._projects.ref(key.project_id)
        if ref is None:
            return True
        found = self.raw(key, ref)
        for server in found:
            if server["OS-EXT-STS:task_state"] != "deleting":
                self._client.delete("compute", f"/servers/{server['id']}")
        if found:
            return False
        # One that slipped in before the port went is seen now.
        return not self._clear(key.id, ref) or not self.raw(key, ref)

    def raw(self, key: Key, ref: str) -> Sequence[Json]:
        """The servers with one id, the one that counts first."""
        found = self._client.pages("compute", "/servers/detail", "servers", {**_of(ref), "name": str(key.id)})
        mine = [s for s in found if s["metadata"].get(ID) == str(key.id) and s["metadata"].get(CLOUD) == self._cloud]
        return sorted(mine, key=_order)

    def all(self, project_id: UUID | None) -> Sequence[Json]:
        """All servers of one project or of the cloud, ours or not."""
        ref = self._projects.ref(project_id) if project_id else None
        if project_id is not None and ref is None:
            return []
        return self._client.pages("compute", "/servers/detail", "servers", _of(ref))

    def id_of(self, server: Json) -> UUID | None:
        ids = ids_in(server["metadata"], self._cloud)
        return ids[0] if ids else None

    def _one(self, key: Key, ref: str) -> Json:
        found = self.raw(key, ref)
        if not found:
            raise Permanent("not_found", f"no server {key.id}")
        return found[0]

    def _act(self, server: Json, ref: str, order: Mapping[str, Any]) -> None:
        self._client.post("compute", f"/servers/{server['id']}/action", dict(order), project=ref)

    def _order(self, spec: ServerSpec, image: str, flavor: str, port: str) -> Json:
        body: Json = {
            "name": server_name(spec.id, spec.name),
            "imageRef": image,
            "flavorRef": flavor,
            "networks": [{"port": port}],
            "metadata": metadata(self._cloud, spec.id, spec.project_id, spec.name),
            "config_drive": self._options.config_drive,
        }
        if spec.user_data:
            body["user_data"] = base64.b64encode(spec.user_data.encode()).decode()
        if self._options.availability_zone:
            body["availability_zone"] = self._options.availability_zone
        return body

    def _port(self, identity: UUID, ref: str, network: str, group: str) -> str:
        """The port that only this server's MAC address can have on its network."""
        mac = mac_of(identity)
        body = {
            "name": tagged_name(identity),
            "network_id": network,
            "project_id": ref,
            "mac_address": mac,
            "security_groups": [group],
        }
        try:
            return str(self._client.post("network", "/ports", {"port": body})["port"]["id"])
        except Permanent as refusal:
            if refusal.code != "conflict":
                raise
            ports = self._client.pages("network", "/ports", "ports", {"network_id": network, "mac_address": mac})
            if not ports:
                raise
            return str(ports[0]["id"])

    def _clear(self, identity: UUID, ref: str) -> bool:
        """Remove the port and the key of a server that is not there; False when there was none."""
        ports = self._client.pages("network", "/ports", "ports", {"project_id": ref, "name": tagged_name(identity)})
        for port in ports:
            self._client.delete("network", f"/ports/{port['id']}")
        if ports:
            self._drop_key(identity)
        return bool(ports)

    def _add_key(self, identity: UUID, public_key: str) -> str:
        """Keys belong to the adapter's account, and are few; each is there only while its server is ordered."""
        name = tagged_name(identity)
        try:
            self._client.post("compute", "/os-keypairs", {"keypair": {"name": name, "public_key": public_key.strip()}})
        except Permanent as refusal:
            if refusal.code != "conflict":
                raise
        return name

    def _drop_key(self, identity: UUID) -> None:
        self._client.delete("compute", f"/os-keypairs/{tagged_name(identity)}")

    def _seen(self, servers: Sequence[Json], key: Key) -> Observed:
        first = servers[0]
        task = first.get("OS-EXT-STS:task_state")
        status = Status.DELETING if task == "deleting" else _STATUS.get(first["status"], Status.BUILDING)
        return Observed(
            key,
            first["id"],
            status,
            name=first["metadata"].get(NAME, first["name"]),
            vcpu=first["flavor"]["vcpus"],
            memory_gib=first["flavor"]["ram"] // 1024,
            size_gib=first["flavor"]["disk"],
            addresses=_addresses(first),
            detail=_detail(first),
            extra_refs=tuple(server["id"] for server in servers[1:]),
        )


def _of(ref: str | None) -> dict[str, str]:
    everyone = {"all_tenants": "1", "limit": "1000"}
    return {**everyone, "project_id": ref} if ref else everyone


def _order(server: Json) -> tuple[bool, str, str]:
    """What has an address sits on the port; of two that do not, the older one counts."""
    return (not server.get("addresses"), server["created"], server["id"])


def _addresses(server: Json) -> tuple[IPv6Address, ...]:
    texts = [entry["addr"] for entries in server.get("addresses", {}).values() for entry in entries]
    parsed = (ip_address(text) for text in texts)
    return tuple(sorted(address for address in parsed if isinstance(address, IPv6Address)))


def _detail(server: Json) -> str:
    if server["status"] == "VERIFY_RESIZE":
        return "resized; waits for the change to be called again, which confirms it"
    fault = server.get("fault") or {}
    return " ".join(str(fault.get("message", "")).split())[:200]

"""Projects: the home of a unit in this sub-cloud, with the limits that the cloud itself enforces.

Called by: ``provider`` and the other kinds (which live in a project). Must not: delete a project that holds anything.

Keystone takes a project's name once in its domain, and the name holds our id: a second create cannot succeed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from providers.contract import Key, Kind, Observed, ProjectLimits, ProjectSpec, Status
from providers.errors import Permanent
from providers.openstack.client import Client, Json
from providers.openstack.naming import check_name, id_in_name, tagged_name
from providers.openstack.options import Options

_ROLE = "member"


class Projects:
    """Keystone's projects whose name holds an id of ours and which carry this sub-cloud's tag."""

    def __init__(self, client: Client, options: Options, cloud: str) -> None:
        self._client = client
        self._options = options
        self._tag = f"guiyun-cloud={cloud}".replace("/", "-").replace(",", "-")
        self._lock = threading.Lock()
        self._refs: dict[UUID, str] = {}
        self._domain: str | None = None
        self._role: str | None = None

    def ref(self, project_id: UUID) -> str | None:
        """Keystone's id of a project, remembered; good enough to look with."""
        with self._lock:
            known = self._refs.get(project_id)
        return known or self._look_up(project_id)

    def require(self, project_id: UUID) -> str:
        """Keystone's id of a project that is there now. Raises Permanent when it is not."""
        ref = self._look_up(project_id)
        if ref is None:
            raise Permanent("project_missing", f"no project {project_id} in this cloud")
        return ref

    def by_ref(self) -> dict[str, UUID]:
        """Our ids of all projects of this sub-cloud, by keystone's."""
        return {seen.ref: seen.key.id for seen in self.list(None)}

    def create(self, spec: ProjectSpec) -> Observed:
        """Make the project unless it is there; its role and its limits are set either way."""
        check_name(spec.name)
        found = self.find(Key(Kind.PROJECT, spec.id, spec.id))
        if found is None:
            body = {
                "name": tagged_name(spec.id),
                "description": spec.name,
                "domain_id": self._domain_ref(),
                "tags": [self._tag],
            }
            try:
                found = self._seen(self._client.post("identity", "/projects", {"project": body})["project"])
            except Permanent as refusal:
                found = self.find(Key(Kind.PROJECT, spec.id, spec.id)) if refusal.code == "conflict" else None
                if found is None:
                    raise
        self._grant(found.ref)
        self._limit(found.ref, spec.limits)
        return found

    def change(self, spec: ProjectSpec) -> Observed:
        """Set the limits of an existing project."""
        found = self.find(Key(Kind.PROJECT, spec.id, spec.id))
        if found is None:
            raise Permanent("not_found", f"no project {spec.id}")
        self._limit(found.ref, spec.limits)
        return found

    def find(self, key: Key) -> Observed | None:
        params = {"name": tagged_name(key.id), "domain_id": self._domain_ref()}
        for project in self._client.pages("identity", "/projects", "projects", params):
            if self._tag in project.get("tags", []):
                return self._seen(project)
        return None

    def list(self, project_id: UUID | None) -> Sequence[Observed]:
        if project_id is not None:
            found = self.find(Key(Kind.PROJECT, project_id, project_id))
            return [found] if found else []
        params = {"domain_id": self._domain_ref(), "tags": self._tag}
        projects = self._client.pages("identity", "/projects", "projects", params)
        return [self._seen(project) for project in projects if id_in_name(project["name"])]

    def delete(self, key: Key) -> bool:
        """Remove an empty project. Raises Permanent while anything is in it."""
        found = self.find(key)
        if found is None:
            self._forget(key.id)
            return True
        self._sweep_strays(found.ref)
        content = self._content(found.ref)
        if content:
            raise Permanent("project_not_empty", f"the project holds {content}")
        for group in self._client.pages("network", "/security-groups", "security_groups", {"project_id": found.ref}):
            self._client.delete("network", f"/security-groups/{group['id']}")
        for service, path in (
            ("network", f"/quotas/{found.ref}"),
            ("compute", f"/os-quota-sets/{found.ref}"),
            ("block_storage", f"/os-quota-sets/{found.ref}"),
        ):
            self._client.delete(service, path)  # type: ignore[arg-type]  # the three are service names
        self._client.delete("identity", f"/projects/{found.ref}")
        self._forget(key.id)
        return True

    def _make(self, spec: ProjectSpec) -> Observed:
        body = {
            "name": tagged_name(spec.id),
            "description": spec.name,
            "domain_id": self._domain_ref(),
            "tags": [self._tag],
        }
        try:
            return self._seen(self._client.post("identity", "/projects", {"project": body})["project"])
        except Permanent as refusal:
            found = self.find(Key(Kind.PROJECT, spec.id, spec.id)) if refusal.code == "conflict" else None
            if found is None:
                raise
            return found

    def _content(self, ref: str) -> str:
        """What is in a project, in words; empty when nothing is."""
        everyone: Mapping[str, Any] = {"all_tenants": "1", "project_id": ref, "limit": "1"}
        looks: tuple[tuple[Any, str, str, Mapping[str, Any]], ...] = (
            ("compute", "/servers", "servers", everyone),
            ("block_storage", "/volumes", "volumes", everyone),
            ("block_storage", "/snapshots", "snapshots", everyone),
            ("network", "/networks", "networks", {"project_id": ref, "fields": "id"}),
            ("image", "/images", "images", {"owner": ref, "limit": "1"}),
        )
        for service, path, key, params in looks:
            answer = self._client.get(service, path, params)
            if answer and answer.get(key):
                return key
        return ""

    def _sweep_strays(self, ref: str) -> None:
        """Networks of ours without a subnet: what a create left that was overtaken by another, or never went on."""
        for network in self._client.pages("network", "/networks", "networks", {"project_id": ref}):
            if not network["subnets"] and id_in_name(network["name"]):
                self._client.delete("network", f"/networks/{network['id']}")

    def _look_up(self, project_id: UUID) -> str | None:
        found = self.find(Key(Kind.PROJECT, project_id, project_id))
        if found is None:
            self._forget(project_id)
            return None
        return found.ref

    def _forget(self, project_id: UUID) -> None:
        with self._lock:
            self._refs.pop(project_id, None)

    def _seen(self, project: Json) -> Observed:
        identity = id_in_name(project["name"])
        if identity is None:
            raise Permanent("not_ours", f"project {project['id']} carries no id of ours")
        with self._lock:
            self._refs[identity] = project["id"]
        status = Status.ACTIVE if project.get("enabled", True) else Status.STOPPED
        return Observed(
            Key(Kind.PROJECT, identity, identity), project["id"], status, name=project.get("description") or ""
        )

    def _domain_ref(self) -> str:
        if self._domain is None:
            name = self._options.unit_domain_name
            domains = self._client.pages("identity", "/domains", "domains", {"name": name})
            if not domains:
                raise Permanent("domain_missing", f"no domain {name}")
            self._domain = str(domains[0]["id"])
        return self._domain

    def _grant(self, ref: str) -> None:
        """The adapter's account becomes a member, so that it can order servers and volumes in the project's name."""
        if self._role is None:
            roles = self._client.pages("identity", "/roles", "roles", {"name": _ROLE})
            if not roles:
                raise Permanent("role_missing", f"no role {_ROLE}")
            self._role = str(roles[0]["id"])
        self._client.put("identity", f"/projects/{ref}/users/{self._client.user_id()}/roles/{self._role}")

    def _limit(self, ref: str, limits: ProjectLimits) -> None:
        """Quotas of the three services; without a limit a quota is -1, which is how they write "unlimited"."""

        def quota(limit: int | None, factor: int = 1) -> int:
            return -1 if limit is None else limit * factor

        compute = {
            "instances": quota(limits.servers),
            "cores": quota(limits.vcpu),
            "ram": quota(limits.memory_gib, 1024),
            "metadata_items": 128,
        }
        volume = {"volumes": quota(limits.volumes), "gigabytes": quota(limits.block_gib), "snapshots": -1}
        network = {
            "network": quota(limits.networks),
            "subnet": quota(limits.networks),
            "port": -1,
            "security_group": -1,
            "security_group_rule": -1,
        }
        self._client.put("compute", f"/os-quota-sets/{ref}", {"quota_set": {**compute, "force": True}})
        self._client.put("block_storage", f"/os-quota-sets/{ref}", {"quota_set": volume})
        self._client.put("network", f"/quotas/{ref}", {"quota": network})

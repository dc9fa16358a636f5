"""Attachments: which volume is on which server. The id is the volume's, so there is at most one.

Called by: ``provider``. Must not: make or remove a volume or a server.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from providers.contract import AttachmentSpec, Key, Kind, Observed, Status
from providers.errors import Permanent
from providers.openstack.client import Client, Json
from providers.openstack.projects import Projects
from providers.openstack.servers import Servers
from providers.openstack.volumes import Volumes

_ATTACHED = "os-extended-volumes:volumes_attached"


class Attachments:
    """What nova says of its servers' volumes, for volumes and servers of ours."""

    def __init__(self, client: Client, projects: Projects, volumes: Volumes, servers: Servers) -> None:
        self._client = client
        self._projects = projects
        self._volumes = volumes
        self._servers = servers

    def create(self, spec: AttachmentSpec) -> Observed:
        ref = self._projects.require(spec.project_id)
        key = Key(Kind.ATTACHMENT, spec.id, spec.project_id)
        found = self.find(key)
        if found is not None:
            if found.server_id != spec.server_id:
                raise Permanent("volume_attached", f"volume {spec.id} is attached to server {found.server_id}")
            return found
        volumes = self._volumes.raw(Key(Kind.VOLUME, spec.id, spec.project_id), ref)
        servers = self._servers.raw(Key(Kind.SERVER, spec.server_id, spec.project_id), ref)
        if not volumes or not servers:
            raise Permanent("volume_missing" if not volumes else "server_missing", "nothing to attach to each other")
        order = {"volumeAttachment": {"volumeId": volumes[0]["id"]}}
        self._client.post("compute", f"/servers/{servers[0]['id']}/os-volume_attachments", order, project=ref)
        return Observed(key, _ref(servers[0], volumes[0]), Status.BUILDING, server_id=spec.server_id)

    def find(self, key: Key) -> Observed | None:
        return next((seen for seen in self.list(key.project_id) if seen.key == key), None)

    def list(self, project_id: UUID | None) -> Sequence[Observed]:
        """Two calls: all servers, which name their volumes, and all volumes, which carry our ids."""
        servers = self._servers.all(project_id)
        holds = {v["id"]: server for server in servers for v in server.get(_ATTACHED, [])}
        return list(self._observed(self._volumes.all(project_id), holds)) if holds else []

    def delete(self, key: Key) -> bool:
        seen = self.find(key)
        if seen is None:
            return True
        if seen.status is not Status.DELETING:
            server, _, volume = seen.ref.partition(":")
            self._client.delete("compute", f"/servers/{server}/os-volume_attachments/{volume}")
        return False

    def _observed(self, volumes: Iterable[Json], holds: dict[str, Json]) -> Iterable[Observed]:
        for volume in volumes:
            ids, server = self._volumes.id_of(volume), holds.get(volume["id"])
            if ids is None or server is None:
                continue
            status = {"in-use": Status.ACTIVE, "detaching": Status.DELETING}.get(volume["status"], Status.BUILDING)
            key = Key(Kind.ATTACHMENT, *ids)
            yield Observed(key, _ref(server, volume), status, server_id=self._servers.id_of(server))


def _ref(server: Json, volume: Json) -> str:
    return f"{server['id']}:{volume['id']}"

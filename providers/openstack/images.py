"""Images that servers boot from, and snapshots, which are images that carry an id of ours.

Called by: ``provider`` and ``servers``. Must not: delete an image that is not a snapshot of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from providers.contract import CpuArch, Key, Kind, Observed, SnapshotSpec, Status
from providers.errors import Permanent
from providers.openstack.client import Client, Json
from providers.openstack.naming import CLOUD, ID, NAME, check_name, ids_in, metadata
from providers.openstack.projects import Projects

_BOOTABLE = frozenset({"raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx", "ami", "iso"})
_STATUS = {
    "active": Status.ACTIVE,
    "killed": Status.ERROR,
    "deactivated": Status.STOPPED,
    "pending_delete": Status.DELETING,
    "deleted": Status.DELETING,
}


class Images:
    """Glance's public images."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def names(self) -> Sequence[str]:
        params = {"visibility": "public", "status": "active", "limit": "200"}
        images = self._client.pages("image", "/images", "images", params)
        return sorted(
            {i["name"] for i in images if i.get("name") and i.get("disk_format") in _BOOTABLE and ID not in i}
        )

    def require(self, name: str, arch: CpuArch) -> str:
        """Glance's id of an image, the newest of that name. Raises Permanent if there is none for ``arch``."""
        params = {"name": name, "visibility": "public", "status": "active"}
        images = self._client.pages("image", "/images", "images", params)
        if not images:
            raise Permanent("image_unknown", f"no image {name}")
        fitting = [image for image in images if image.get("architecture", arch.value) == arch.value]
        if not fitting:
            raise Permanent("image_arch", f"image {name} is not for {arch.value}")
        return str(max(fitting, key=lambda image: str(image["created_at"]))["id"])


class Snapshots:
    """Glance's images that carry an id of ours and this sub-cloud's name."""

    def __init__(self, client: Client, projects: Projects, cloud: str) -> None:
        self._client = client
        self._projects = projects
        self._cloud = cloud

    def create(self, spec: SnapshotSpec, server: Json | None) -> Observed:
        """Order an image of ``server`` (nova's), unless there is one with this id."""
        check_name(spec.name)
        ref = self._projects.require(spec.project_id)
        key = Key(Kind.SNAPSHOT, spec.id, spec.project_id)
        found = self.find(key)
        if found is not None:
            return found
        if server is None:
            raise Permanent("server_missing", f"no server {spec.server_id} in this project")
        carried = metadata(self._cloud, spec.id, spec.project_id, spec.name)
        order = {"createImage": {"name": spec.name or str(spec.id), "metadata": carried}}
        answer = self._client.post("compute", f"/servers/{server['id']}/action", order, project=ref)
        return Observed(key, answer["image_id"], Status.BUILDING, name=spec.name)

    def find(self, key: Key) -> Observed | None:
        found = self._images({ID: str(key.id)})
        return next(iter(self._observed(found)), None)

    def list(self, project_id: UUID | None) -> Sequence[Observed]:
        if project_id is None:
            return self._observed(self._images({}))
        ref = self._projects.ref(project_id)
        return self._observed(self._images({"owner": ref})) if ref else []

    def delete(self, key: Key) -> bool:
        found = self._images({ID: str(key.id)})
        for image in found:
            if image["status"] not in {"deleted", "pending_delete"}:
                self._client.delete("image", f"/images/{image['id']}")
        return not found

    def _images(self, params: dict[str, str]) -> Sequence[Json]:
        return self._client.pages("image", "/images", "images", {**params, CLOUD: self._cloud, "limit": "200"})

    def _observed(self, images: Sequence[Json]) -> Sequence[Observed]:
        by_key: dict[tuple[UUID, UUID], list[Json]] = {}
        for image in sorted(images, key=lambda each: (str(each["created_at"]), str(each["id"]))):
            ids = ids_in(image, self._cloud)
            if ids:
                by_key.setdefault(ids, []).append(image)
        return [_seen(found, Key(Kind.SNAPSHOT, *ids)) for ids, found in by_key.items()]


def _seen(images: Sequence[Json], key: Key) -> Observed:
    first = images[0]
    return Observed(
        key,
        first["id"],
        _STATUS.get(first["status"], Status.BUILDING),
        name=str(first.get(NAME, first["name"])),
        extra_refs=tuple(image["id"] for image in images[1:]),
    )

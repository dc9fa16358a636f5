"""Volumes: cinder's, by class, found by the metadata that they are created with.

Called by: ``provider``; ``attachments`` asks for a volume. Must not: attach or detach.

Cinder offers nothing that only one can take, so after a create this module looks again: of several volumes with one id
the one that is attached counts, else the oldest; a create takes the others back, its own among them. Cinder keeps whole
seconds: of two that were made in the same one the id decides, so that everybody who looks sees the same volume count.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

from providers.contract import Key, Kind, Observed, Status, VolumeSpec
from providers.errors import Permanent
from providers.openstack.client import Client, Json
from providers.openstack.naming import CLOUD, ID, check_name, ids_in, metadata
from providers.openstack.options import Options
from providers.openstack.projects import Projects

_READY = frozenset({"available", "in-use", "reserved", "attaching", "detaching", "backing-up", "maintenance"})
_PAGE = "1000"


class Volumes:
    """Cinder's volumes that carry an id of ours and this sub-cloud's name."""

    def __init__(self, client: Client, options: Options, projects: Projects, cloud: str) -> None:
        self._client = client
        self._options = options
        self._projects = projects
        self._cloud = cloud

    def create(self, spec: VolumeSpec) -> Observed:
        check_name(spec.name)
        if spec.size_gib < 1:
            raise Permanent("size_invalid", f"{spec.size_gib} GiB")
        ref = self._projects.require(spec.project_id)
        key = Key(Kind.VOLUME, spec.id, spec.project_id)
        found = self.raw(key, ref)
        if not found:
            volume_type = self._type_of(spec.block_class)
            body = {
                "name": spec.name,
                "size": spec.size_gib,
                "volume_type": volume_type,
                "metadata": metadata(self._cloud, spec.id, spec.project_id, spec.name),
            }
            made = self._client.post("block_storage", "/volumes", {"volume": body}, project=ref)["volume"]
            found = self.raw(key, ref) or [made]
        for late in found[1:]:
            if late["status"] in {"available", "error"}:
                self._client.delete("block_storage", f"/volumes/{late['id']}")
        return self._seen(found[:1], key)

    def change(self, spec: VolumeSpec) -> Observed:
        """Grow a volume. Raises Permanent for one that would have to shrink."""
        ref = self._projects.require(spec.project_id)
        key = Key(Kind.VOLUME, spec.id, spec.project_id)
        found = self.raw(key, ref)
        if not found:
            raise Permanent("not_found", f"no volume {spec.id}")
        volume = found[0]
        if spec.size_gib < volume["size"]:
            raise Permanent("size_invalid", f"a volume of {volume['size']} GiB cannot shrink to {spec.size_gib}")
        if spec.size_gib > volume["size"]:
            order = {"os-extend": {"new_size": spec.size_gib}}
            self._client.post("block_storage", f"/volumes/{volume['id']}/action", order, project=ref)
            found = self.raw(key, ref) or found
        return self._seen(found, key)

    def find(self, key: Key) -> Observed | None:
        ref = self._projects.ref(key.project_id)
        found = self.raw(key, ref) if ref else []
        return self._seen(found, key) if found else None

    def list(self, project_id: UUID | None) -> Sequence[Observed]:
        by_key: dict[tuple[UUID, UUID], list[Json]] = {}
        for volume in self.all(project_id):
            ids = ids_in(volume["metadata"], self._cloud)
            if ids:
                by_key.setdefault(ids, []).append(volume)
        return [self._seen(sorted(v, key=_order), Key(Kind.VOLUME, *ids)) for ids, v in by_key.items()]

    def delete(self, key: Key) -> bool:
        """Remove the volume and its duplicates. Raises Permanent while one is attached."""
        ref = self._projects.ref(key.project_id)
        found = self.raw(key, ref) if ref else []
        for volume in found:
            if volume["attachments"]:
                raise Permanent("volume_attached", f"volume {key.id} is attached")
            if volume["status"] != "deleting":
                self._client.delete("block_storage", f"/volumes/{volume['id']}")
        return not found

    def raw(self, key: Key, ref: str) -> Sequence[Json]:
        """The volumes with one id, the one that counts first."""
        params = {**_of(ref), "metadata": json.dumps({ID: str(key.id)})}
        found = self._client.pages("block_storage", "/volumes/detail", "volumes", params)
        return sorted((v for v in found if v["metadata"].get(CLOUD) == self._cloud), key=_order)

    def all(self, project_id: UUID | None) -> Sequence[Json]:
        """All volumes of one project or of the cloud, ours or not."""
        ref = self._projects.ref(project_id) if project_id else None
        if project_id is not None and ref is None:
            return []
        return self._client.pages("block_storage", "/volumes/detail", "volumes", _of(ref))

    def id_of(self, volume: Json) -> tuple[UUID, UUID] | None:
        return ids_in(volume["metadata"], self._cloud)

    def _type_of(self, block_class: str) -> str:
        wanted = self._options.volume_types.get(block_class, block_class)
        types = self._client.pages("block_storage", "/types", "volume_types")
        if wanted not in {each["name"] for each in types}:
            raise Permanent("block_class_unknown", f"no volume type {wanted}")
        return wanted

    def _seen(self, volumes: Sequence[Json], key: Key) -> Observed:
        first = volumes[0]
        return Observed(
            key,
            first["id"],
            _status(first["status"]),
            name=first.get("name") or "",
            size_gib=first["size"],
            detail=first["status"] if first["status"].startswith("error") else "",
            extra_refs=tuple(volume["id"] for volume in volumes[1:]),
        )


def _of(ref: str | None) -> dict[str, str]:
    everyone = {"all_tenants": "1", "limit": _PAGE}
    return {**everyone, "project_id": ref} if ref else everyone


def _order(volume: Json) -> tuple[bool, str, str]:
    return (not volume["attachments"], volume["created_at"], volume["id"])


def _status(status: str) -> Status:
    if status in _READY:
        return Status.ACTIVE
    if status.startswith("error"):
        return Status.ERROR
    return Status.DELETING if status == "deleting" else Status.BUILDING

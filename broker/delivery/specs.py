"""From a resource's row to what a provider is asked for. Pure.

Called by: ``delivery.provision``, ``delivery.remove``, reconcile. Must not: read the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Network

from broker.inventory.models import Resource
from providers.contract import (
    AttachmentSpec,
    CpuArch,
    Key,
    Kind,
    NetworkSpec,
    ServerSpec,
    Spec,
    Uplink,
    VolumeSpec,
)

KIND = {"segment": Kind.NETWORK, "volume": Kind.VOLUME, "server": Kind.SERVER}


def key_of_resource(resource: Resource) -> Key:
    """The key under which a resource lives in its cloud."""
    return Key(KIND[resource.kind], resource.id, resource.project_id)


def attachment_key(volume: Resource) -> Key:
    """The key of a volume's attachment (its id is the volume's)."""
    return Key(Kind.ATTACHMENT, volume.id, volume.project_id)


def spec_of(
    resource: Resource, images: Mapping[str, str], public_key: str | None, uplink: Uplink | None = None
) -> Spec:
    """What to ask the provider for. ``images`` maps our codes to the sub-cloud's names; ``uplink``: a segment's."""
    if resource.kind == "segment":
        assert resource.prefix is not None
        return NetworkSpec(
            id=resource.id,
            project_id=resource.project_id,
            name=resource.name,
            prefix=IPv6Network(resource.prefix),
            zone=resource.spec["zone"],
            uplink=uplink,
        )
    if resource.kind == "volume":
        return VolumeSpec(
            id=resource.id,
            project_id=resource.project_id,
            name=resource.name,
            size_gib=resource.spec["size_gib"],
            block_class=resource.spec["block_class"],
        )
    assert resource.network_id is not None
    return ServerSpec(
        id=resource.id,
        project_id=resource.project_id,
        name=resource.name,
        vcpu=resource.spec["vcpu"],
        memory_gib=resource.spec["memory_gib"],
        root_gib=resource.spec["system_disk_gib"],
        image=images.get(resource.spec["image"], resource.spec["image"]),
        cpu_arch=CpuArch(resource.spec["cpu_arch"]),
        network_id=resource.network_id,
        ssh_public_key=public_key,
    )


def attachment_of(volume: Resource) -> AttachmentSpec:
    """The attachment of a volume to its server."""
    assert volume.server_id is not None
    return AttachmentSpec(id=volume.id, project_id=volume.project_id, server_id=volume.server_id)

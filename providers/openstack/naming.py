"""How our ids travel in a cloud: names, metadata and MAC addresses made of them, and read back from them.

Called by: the modules beside it. Pure. Must not: change how an id is written; objects made earlier would be lost.

Where a service lets a name be taken once (a project in its domain) or offers nothing else at creation (neutron sets
tags only afterwards), the name is ``guiyun-<id>`` and the people's name is the description. Elsewhere it is metadata.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from providers.errors import Permanent

PREFIX = "guiyun-"
ID, PROJECT, CLOUD, NAME = "guiyun_id", "guiyun_project", "guiyun_cloud", "guiyun_name"
_MAX_NAME = 200
_SLUG_LENGTH = 20


def tagged_name(identity: UUID) -> str:
    """The name of an object that is found by its name."""
    return f"{PREFIX}{identity}"


def id_in_name(name: str) -> UUID | None:
    """Our id in a name of ours; None for anybody else's."""
    return uuid_or_none(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None


def uuid_or_none(text: object) -> UUID | None:
    try:
        return UUID(str(text))
    except ValueError:
        return None


def metadata(cloud: str, identity: UUID, project_id: UUID, name: str) -> dict[str, str]:
    """What servers, volumes and images carry of us."""
    return {ID: str(identity), PROJECT: str(project_id), CLOUD: cloud, NAME: name}


def ids_in(found: Mapping[str, Any], cloud: str) -> tuple[UUID, UUID] | None:
    """(our id, our project's id) in metadata that this sub-cloud wrote; None for anybody else's."""
    if found.get(CLOUD) != cloud:
        return None
    identity, project = uuid_or_none(found.get(ID)), uuid_or_none(found.get(PROJECT))
    return (identity, project) if identity and project else None


def server_name(identity: UUID, name: str) -> str:
    """A readable host name that ends in our id, since the cloud's metering shows nothing else of a deleted server."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_SLUG_LENGTH].strip("-")
    return f"{slug or 'server'}-{identity}"


def id_in_server_name(name: str) -> UUID | None:
    return uuid_or_none(name[-36:])


def mac_of(identity: UUID) -> str:
    """A locally administered unicast address that only the server with this id has; a network takes it once."""
    digest = hashlib.sha256(identity.bytes).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def check_name(name: str) -> None:
    """Raises Permanent for a name that a cloud's database would not give back as it was."""
    if len(name) > _MAX_NAME or any(unicodedata.category(letter) in {"Cc", "Cs", "Cn"} for letter in name):
        raise Permanent("name_invalid", f"a name has up to {_MAX_NAME} letters, and no control characters")

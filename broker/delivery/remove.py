"""Takes resources out of a sub-cloud: attachments, servers, volumes, segments, in that order. Accepts "nothing there".

Called by: delivery's undo and reclamation's release. Must not: change a row of a resource's (its caller does). First
segments go off the extranet's routers: from then on nobody reaches what is being taken apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from broker.delivery import routing
from broker.delivery.provision import TryAgainError, again
from broker.delivery.specs import attachment_key, key_of_resource
from broker.delivery.tools import Pace, Tools
from broker.inventory.models import Resource
from providers.contract import Key, Provider
from providers.errors import ActionRequired, Permanent, ProviderError, Temporary, UnknownOutcome


def remove(
    tools: Tools, sub_cloud: str, resources: Sequence[Resource], pace: Pace, *, with_servers: bool = False
) -> dict[UUID, str]:
    """Remove resources; returns what could not be removed, with a code (empty: all gone).

    ``with_servers``: a disk whose server could not be removed stays as well, for the server may yet be spared.
    Raises TryAgainError while the cloud gives no clear answer and attempts are left.
    """
    if not resources:
        return {}
    stuck = routing.withdraw(tools, resources, pace)
    resources = [r for r in resources if r.id not in stuck]
    try:
        provider = tools.providers(sub_cloud)
    except ActionRequired as error:
        return stuck | {r.id: error.code for r in resources}
    volumes = [r for r in resources if r.kind == "volume"]
    # A disk that is not let go may still go with its server: its own turn decides.
    _wave(provider, [attachment_key(v) for v in volumes if v.server_id], pace)
    stuck |= _wave(provider, [key_of_resource(r) for r in resources if r.kind == "server"], pace)
    if with_servers:
        stuck |= {v.id: stuck[v.server_id] for v in volumes if v.server_id is not None and v.server_id in stuck}
    stuck |= _wave(provider, [key_of_resource(v) for v in volumes if v.id not in stuck], pace)
    stuck |= _wave(provider, [key_of_resource(r) for r in resources if r.kind == "segment"], pace)
    routing.free(tools, [r for r in resources if r.id not in stuck])
    return stuck


def _wave(provider: Provider, keys: Sequence[Key], pace: Pace) -> dict[UUID, str]:
    """Delete all of one kind and wait until nothing of them is left; one that is unclear holds up no other."""
    left = list(keys)
    stuck: dict[UUID, str] = {}
    unclear: dict[UUID, ProviderError] = {}
    while left:
        left = [key for key in left if not _gone(provider, key, pace, stuck, unclear)]
        if left and not pace.wait():
            if pace.in_place:
                raise TryAgainError("provider.still_deleting")
            stuck |= {key.id: "provider.still_deleting" for key in left}
            break
    if not pace.last:
        for error in unclear.values():
            raise again(error)
    return stuck | {i: e.code for i, e in unclear.items()}


def _gone(provider: Provider, key: Key, pace: Pace, stuck: dict[UUID, str], unclear: dict[UUID, ProviderError]) -> bool:
    """Whether there is nothing to wait for: nothing of it is left, or the cloud says that it will not or cannot say."""
    if pace.over:
        raise TryAgainError("provider.slow", 0)
    try:
        return provider.delete(key)
    except (Temporary, UnknownOutcome) as error:
        unclear[key.id] = error
    except (Permanent, ActionRequired) as error:
        stuck[key.id] = error.code
    return True

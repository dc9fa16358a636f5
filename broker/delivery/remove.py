"""Takes resources out of a sub-cloud: attachments, servers, volumes, segments, in that order. Accepts "nothing there".

Called by: delivery's undo and reclamation's release. Must not: open a transaction or change a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from broker.delivery.provision import TryAgainError
from broker.delivery.specs import attachment_key, key_of_resource
from broker.delivery.tools import Pace
from broker.inventory.models import Resource
from providers.contract import Key, Provider
from providers.errors import ActionRequired, Permanent, Temporary, UnknownOutcome


def remove(provider: Provider, resources: Sequence[Resource], pace: Pace) -> dict[UUID, str]:
    """Remove resources; returns what could not be removed, with a code (empty: all gone).

    Raises TryAgainError while the cloud gives no clear answer and attempts are left.
    """
    volumes = [r for r in resources if r.kind == "volume"]
    waves: list[list[Key]] = [
        [attachment_key(v) for v in volumes if v.server_id],
        [key_of_resource(r) for r in resources if r.kind == "server"],
        [key_of_resource(v) for v in volumes],
        [key_of_resource(r) for r in resources if r.kind == "segment"],
    ]
    stuck: dict[UUID, str] = {}
    for wave in waves:
        stuck |= _wave(provider, wave, pace)
    return stuck


def _wave(provider: Provider, keys: Sequence[Key], pace: Pace) -> dict[UUID, str]:
    """Delete all of one kind and wait until nothing of them is left."""
    left, stuck = list(keys), {}
    while left:
        still = []
        for key in left:
            try:
                if not provider.delete(key):
                    still.append(key)
            except (Temporary, UnknownOutcome) as error:
                if not pace.last:
                    raise TryAgainError(error.code, getattr(error, "retry_after_s", 1.0)) from error
                stuck[key.id] = error.code
            except (Permanent, ActionRequired) as error:
                stuck[key.id] = error.code
        left = still
        if left and not pace.wait():
            if pace.in_place:
                raise TryAgainError("provider.still_deleting")
            stuck |= {key.id: "provider.still_deleting" for key in left}
            break
    return stuck

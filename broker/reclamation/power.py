"""Stops and starts servers in a sub-cloud, and waits until it is so. Saying it twice is harmless.

Called by: the steps of a case. Must not: open a transaction or change a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from broker.delivery.specs import key_of_resource
from broker.delivery.tools import Pace, Tools
from broker.inventory.models import Resource
from broker.reclamation.values import CaseJob
from broker.reclamation.waves import until
from providers.contract import Key, Provider, Status
from providers.errors import ActionRequired, Permanent

NO_POWER = "provider.no_power"
NOT_FOUND = "not_found"
AT_REST = frozenset({Status.STOPPED, Status.ERROR, Status.DELETING})
"""What a server says that does no work. Whatever else a cloud may say, it may be at work."""


def running(
    tools: Tools, job: CaseJob, servers: Sequence[Resource], pace: Pace
) -> tuple[dict[UUID, bool], dict[UUID, str]]:
    """Which servers are at work, as their cloud says, and what could not be asked, with a code.

    One that is not there is in neither. Raises as ``switch``.
    """
    if not servers:
        return {}, {}
    try:
        provider = tools.providers(job.sub_cloud)
    except ActionRequired as error:
        return {}, {s.id: error.code for s in servers}
    seen: dict[UUID, bool] = {}
    asked = {s.id: partial(_looked_at, provider, key_of_resource(s), seen) for s in servers}
    return seen, until(asked, pace, "provider.still_switching")


def _looked_at(provider: Provider, key: Key, seen: dict[UUID, bool]) -> bool:
    found = provider.observe(key)
    if found is not None:
        seen[key.id] = found.status not in AT_REST
    return True


def switch(tools: Tools, job: CaseJob, servers: Sequence[Resource], pace: Pace, *, on: bool) -> dict[UUID, str]:
    """Bring servers to the state; returns those that cannot, with a code (empty: all are there).

    Raises TryAgainError while the cloud gives no clear answer and attempts are left.
    """
    if not servers:
        return {}
    try:
        provider = tools.providers(job.sub_cloud)
    except ActionRequired as error:
        return {s.id: error.code for s in servers}
    if not provider.capabilities.power:
        return {s.id: NO_POWER for s in servers}
    ordered: set[UUID] = set()
    asked = {s.id: partial(_switched, provider, key_of_resource(s), ordered, on=on) for s in servers}
    return until(asked, pace, "provider.still_switching")


def _switched(provider: Provider, key: Key, ordered: set[UUID], *, on: bool) -> bool:
    """Ordered once in an attempt, and looked at after that: a cloud may refuse a second order while it is at it."""
    wanted = Status.ACTIVE if on else Status.STOPPED
    seen = provider.observe(key)
    if seen is not None and seen.status is not wanted and key.id not in ordered:
        seen = provider.power(key, on=on)
        ordered.add(key.id)
    if seen is None:
        raise Permanent(NOT_FOUND)
    if seen.status is Status.ERROR:
        raise Permanent("provider.in_error")
    return seen.status is wanted

"""Attaches a case's disks again: a release that was spared half-way had let them go before it was stopped.

Called by: the steps of a case, when a deletion is spared and before servers are started. Must not: open a transaction
or change a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from broker.delivery.specs import attachment_key, attachment_of, key_of_resource
from broker.delivery.tools import Pace, Tools
from broker.inventory.models import Resource
from broker.reclamation.values import CaseJob
from broker.reclamation.waves import until
from providers.contract import Kind, Provider, Status
from providers.errors import ActionRequired, Permanent


def attach(tools: Tools, job: CaseJob, resources: Sequence[Resource], pace: Pace) -> dict[UUID, str]:
    """See to it that each disk hangs on its server; returns those that cannot, with a code. What hangs stays.

    Where disk or server are not there is nothing to wait for: what is lost is told of elsewhere.
    Raises TryAgainError while the cloud gives no clear answer and attempts are left.
    """
    servers = {r.id: r for r in resources if r.kind == "server"}
    disks = [(r, servers[r.server_id]) for r in resources if r.kind == "volume" and r.server_id in servers]
    if not disks:
        return {}
    try:
        provider = tools.providers(job.sub_cloud)
    except ActionRequired as error:
        return {disk.id: error.code for disk, _ in disks}
    if Kind.ATTACHMENT not in provider.capabilities.kinds:
        return {}
    asked = {disk.id: partial(_hangs, provider, disk, server) for disk, server in disks}
    return until(asked, pace, "provider.still_attaching")


def _hangs(provider: Provider, disk: Resource, server: Resource) -> bool:
    seen = provider.observe(attachment_key(disk))
    if seen is None:
        if provider.observe(key_of_resource(disk)) is None or provider.observe(key_of_resource(server)) is None:
            return True
        seen = provider.create(attachment_of(disk))
    if seen.status is Status.ERROR:
        raise Permanent("provider.in_error")
    return seen.status is Status.ACTIVE

"""Writes a step that is done, with the segments it rests on, and lifts what stood because it was late.

Called by: ``steps``, ``probing``. Must not: ask whether it may be done.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select

from broker.dedicated import stops
from broker.dedicated.models import DedicatedNetwork, NetworkSegment, NetworkStep
from broker.dedicated.values import Done, Step
from broker.tenancy.work import Work


def write(
    work: Work,
    network: DedicatedNetwork,
    step: Step,
    given: Done,
    segments: Iterable[UUID] = (),
    *,
    by: UUID | None = None,
) -> None:
    """The step, its ties and its event. ``by``: who reported it, when that is not who acts now (a probe answered)."""
    reporter = by or work.actor.account_id
    assert reporter is not None
    work.session.add(
        NetworkStep(
            network_id=network.id,
            position=step.position,
            done_on=given.done_on,
            evidence=given.evidence.strip(),
            done_by=reporter,
            at=work.now,
        )
    )
    work.session.flush()
    _tie(work, network, step, segments)
    data = {"step": step.value, "segments": list(given.segments)}
    work.record("network.step_done", "dedicated_network", network.id, article=step.article, data=data)
    stops.settle(work, network)


def _tie(work: Work, network: DedicatedNetwork, step: Step, ids: Iterable[UUID]) -> None:
    held = select(NetworkSegment.resource_id).where(NetworkSegment.network_id == network.id)
    there = set(work.session.scalars(held))
    for resource_id in ids:
        if resource_id not in there:
            work.session.add(
                NetworkSegment(network_id=network.id, resource_id=resource_id, position=step.position, tied_at=work.now)
            )

"""Steps as people see them: one row a step and run, for live progress and for what went wrong.

Called by: the steps of delivery and reclamation; the API reads. Must not: be needed for correctness.
"""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from broker.db.base import new_id
from broker.delivery.models import DeliveryStep
from broker.tenancy.work import Work


class Subject(Protocol):
    """A delivery or a release: what a step belongs to."""

    id: Any
    run: Any
    request_id: Any


def begin(work: Work, subject: Subject, name: str) -> None:
    """The step runs (again)."""
    statement = insert(DeliveryStep).values(
        id=new_id(),
        subject_id=subject.id,
        request_id=subject.request_id,
        run=subject.run,
        name=name,
        state="running",
        started_at=work.now,
        detail="",
    )
    work.session.execute(
        statement.on_conflict_do_update(
            index_elements=["subject_id", "run", "name"],
            set_={"attempts": DeliveryStep.attempts + 1, "state": "running", "finished_at": None},
        )
    )


def end(work: Work, subject: Subject, name: str, *, failed: str = "") -> None:
    """The step is done, or has failed with ``failed`` (codes, for an operator)."""
    work.session.execute(
        update(DeliveryStep)
        .where(DeliveryStep.subject_id == subject.id, DeliveryStep.run == subject.run, DeliveryStep.name == name)
        .values(state="failed" if failed else "done", finished_at=work.now, detail=failed[:500])
    )


def of_request(work: Work, request_id: UUID) -> list[DeliveryStep]:
    """The steps of a request's deliveries and releases, in the order they began."""
    statement = (
        select(DeliveryStep)
        .where(DeliveryStep.request_id == request_id)
        .order_by(DeliveryStep.started_at, DeliveryStep.id)
    )
    return list(work.session.scalars(statement))

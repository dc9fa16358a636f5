"""Steps as people see them: one row a step and run, for live progress and for what went wrong.

Called by: the steps of delivery and reclamation; the API reads. Must not: be needed for correctness.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from broker.db.base import new_id
from broker.delivery.models import DeliveryStep
from broker.tenancy.work import Work


def begin(work: Work, subject_id: UUID, run: int, name: str) -> None:
    """The step runs (again)."""
    statement = insert(DeliveryStep).values(
        id=new_id(), subject_id=subject_id, run=run, name=name, state="running", started_at=work.now, detail=""
    )
    work.session.execute(
        statement.on_conflict_do_update(
            index_elements=["subject_id", "run", "name"],
            set_={"attempts": DeliveryStep.attempts + 1, "state": "running", "finished_at": None},
        )
    )


def end(work: Work, subject_id: UUID, run: int, name: str, *, failed: str = "") -> None:
    """The step is done, or has failed with ``failed`` (codes, for an operator)."""
    work.session.execute(
        update(DeliveryStep)
        .where(DeliveryStep.subject_id == subject_id, DeliveryStep.run == run, DeliveryStep.name == name)
        .values(state="failed" if failed else "done", finished_at=work.now, detail=failed[:500])
    )


def of(work: Work, subject_ids: list[UUID]) -> list[DeliveryStep]:
    """The steps of some deliveries or releases, in the order they began."""
    statement = select(DeliveryStep).where(DeliveryStep.subject_id.in_(subject_ids)).order_by(DeliveryStep.started_at)
    return list(work.session.scalars(statement))

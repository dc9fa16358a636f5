"""Steps as people see them: one row a step and run, for live progress and for what went wrong.

Called by: the steps of delivery and reclamation; the API reads. Must not: be needed for correctness.

A step's start and end travel with the statement that reads or writes its resources: one round trip each.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CTE, select, update
from sqlalchemy.dialects.postgresql import insert

from broker.db.base import new_id
from broker.delivery.models import DeliveryStep
from broker.delivery.values import Job
from broker.tenancy.work import Work


def begun(work: Work, job: Job, name: str) -> CTE:
    """The step runs (again): to be added to the statement that reads what it works on."""
    statement = insert(DeliveryStep).values(
        id=new_id(),
        subject_id=job.id,
        request_id=job.request_id,
        run=job.run,
        name=name,
        state="running",
        started_at=work.now,
        detail="",
    )
    return statement.on_conflict_do_update(
        index_elements=["subject_id", "run", "name"],
        set_={"attempts": DeliveryStep.attempts + 1, "state": "running", "finished_at": None},
    ).cte("step")


def done_at_once(work: Work, job: Job, name: str, *, failed: str = "") -> CTE:
    """A step that was through in one transaction."""
    values = {"state": "failed" if failed else "done", "finished_at": work.now, "detail": failed[:500]}
    statement = insert(DeliveryStep).values(
        id=new_id(),
        subject_id=job.id,
        request_id=job.request_id,
        run=job.run,
        name=name,
        started_at=work.now,
        **values,
    )
    return statement.on_conflict_do_update(index_elements=["subject_id", "run", "name"], set_=values).cte("step")


def end(work: Work, job: Job, name: str, *, failed: str = "") -> None:
    """The step is done, or has failed with ``failed`` (codes, for an operator)."""
    work.session.execute(
        update(DeliveryStep)
        .where(DeliveryStep.subject_id == job.id, DeliveryStep.run == job.run, DeliveryStep.name == name)
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

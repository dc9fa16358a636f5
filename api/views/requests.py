"""A request as it is shown: in a list, in full, while it is being carried out.

Called by: the routes, the console's pages. Must not: write, or show what the services would not.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from api import texts
from api.schemas import request as schemas
from api.views import scarcity
from broker.db.base import AnyRow
from broker.delivery import progress as steps
from broker.delivery import service as delivery
from broker.errors import Problem
from broker.lifecycle import RequestState, Role, possible
from broker.reclamation import terms
from broker.request import attachments, clocks, repository
from broker.request.models import RequestRevision, ServiceRequest
from broker.request.service import Checked
from broker.scarcity.asked import Asked
from broker.tenancy.models import Person
from broker.tenancy.work import Work

_SAME = ("id", "number", "state", "version", "purpose", "unit_id", "due_at", "created_at", "submitted_at", "closed_at")
_DUTIES = {
    Role.APPROVER: "deciding_unit_id",
    Role.ASSESSOR: "assessing_unit_id",
    Role.OPERATOR: "delivering_unit_id",
}


def head(row: AnyRow) -> schemas.RequestHead:
    """A row of ``repository.listing``."""
    return schemas.RequestHead(
        **{name: getattr(row[0], name) for name in _SAME},
        unit_name=row.unit_name,
        system_name=row.system_name,
        target_cloud_name=row.cloud_name,
    )


def state(request: ServiceRequest) -> schemas.RequestState:
    """Where a request is after something was done to it."""
    return schemas.RequestState(
        id=request.id,
        number=request.number,
        state=request.state,
        version=request.version,
        revision=request.revision_id,
        due_at=request.due_at,
    )


def finding(problem: Problem) -> schemas.Finding:
    """A problem with its sentence."""
    return schemas.Finding(
        code=problem.code,
        field=problem.field,
        message=texts.sentence(problem.code, problem.params),
        article=problem.article,
    )


def check(checked: Checked, beside: Asked | None) -> schemas.Check:
    """What a form would be worth, and what it asks for beside what its unit has."""
    quote = checked.quote.to_json() if checked.quote else None
    quota = scarcity.asked(beside) if beside else None
    return schemas.Check(problems=[finding(p) for p in checked.problems], quote=quote, quota=quota)


def actions(work: Work, request: ServiceRequest) -> list[str]:
    """What this actor may do to this request now, by role and duty; the services have the last word."""
    actor, roles = work.actor, set(work.actor.roles) - set(_DUTIES)
    own = request.applicant_id in actor.accounts
    for role, column in _DUTIES.items():
        units = {actor.unit_id} if role in actor.roles else set()
        units |= {p.unit_id for p in actor.deputy_for.get(role, ())}
        if getattr(request, column) in units and not own:
            roles.add(role)
    return [event.value for event in possible(RequestState(request.state), frozenset(roles))]


def detail(work: Work, request_id: UUID) -> schemas.ServiceRequest:
    """A request in full. A fixed number of statements."""
    request = repository.load(work.session, work.actor, request_id)
    revision = work.session.get(RequestRevision, request.revision_id) if request.revision_id else None
    person = work.session.get(Person, request.contact_id) if request.contact_id else None
    # While a draft or a correction is being written, it is what counts; the revision is what was submitted last.
    form = request.draft if request.draft is not None else revision.form if revision else None
    return schemas.ServiceRequest(
        **{name: getattr(request, name) for name in _SAME},
        applicant_id=request.applicant_id,
        revision=request.revision_id,
        form=form,
        contact=schemas.Contact.model_validate(person) if person else None,
        quote=revision.quote if revision else None,
        digest=revision.digest if revision else None,
        items=[schemas.RequestItem.model_validate(i) for i in repository.items(work.session, request)],
        attachments=[schemas.Attachment.model_validate(a) for a in attachments.of_request(work, request_id)],
        clocks=[clock(row) for row in clocks.of_request(work, request_id)],
        actions=actions(work, request),
        deciding_unit_id=request.deciding_unit_id,
        assessing_unit_id=request.assessing_unit_id,
        delivering_unit_id=request.delivering_unit_id,
        renewed_until=terms.renewed_until(work, request_id),
    )


def clock(row: AnyRow) -> schemas.StageClock:
    """A row of ``clocks.of_request``."""
    found = row[0]
    return schemas.StageClock(
        stage=found.stage,
        round=found.round,
        unit_id=found.unit_id,
        workdays=found.workdays,
        received_at=found.received_at,
        due_at=found.due_at,
        provisional=found.provisional,
        finished_at=found.finished_at,
        stands_still=any(stop.upper is None for stop in row.stops or ()),
    )


def progress(work: Work, request_id: UUID) -> dict[str, Any]:
    """What live progress starts from: the request, its items, deliveries and steps."""
    request = repository.load(work.session, work.actor, request_id)
    return {
        "id": str(request.id),
        "number": request.number,
        "state": request.state,
        "version": request.version,
        "items": [{"ordinal": i.ordinal, "state": i.state} for i in repository.items(work.session, request)],
        "deliveries": [{"id": str(d.id), "state": d.state} for d in delivery.of_request(work, request_id)],
        "steps": [
            {"subject_id": str(s.subject_id), "run": s.run, "name": s.name, "state": s.state, "detail": s.detail}
            for s in steps.of_request(work, request_id)
        ],
    }

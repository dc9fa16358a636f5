"""Assessments, deliveries, desk cases and releases as they are shown.

Called by: the routes, the console's pages. Must not: write, or decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from api import texts
from api.schemas import stages as schemas
from broker.assessment import service as assessment
from broker.assessment.models import Placement
from broker.assessment.service import Changes, Proposal
from broker.assessment.values import judgement_json
from broker.delivery import progress
from broker.delivery import service as delivery
from broker.delivery.models import Delivery, DeskCase, Handover
from broker.lifecycle import RequestState
from broker.reclamation.models import Release
from broker.request import repository
from broker.request.values import item_spec
from broker.tenancy.work import Work


def changes(form: schemas.Changes) -> Changes:
    """What the assessor changed, as the service takes it."""
    return Changes(clouds=form.clouds, sizes=form.sizes)


def candidate(raw: Mapping[str, Any]) -> schemas.Candidate:
    """A candidate as a placement keeps it, with a sentence for each verdict."""
    verdicts = [
        schemas.Verdict(
            filter=v["filter"],
            passed=v["passed"],
            code=v["code"],
            message=texts.verdict(v["code"], v["params"]),
            article=v["article"],
        )
        for v in raw["verdicts"]
    ]
    return schemas.Candidate(
        sub_cloud=raw["sub_cloud"],
        name=raw["name"],
        chosen=raw["chosen"],
        passed=raw["passed"],
        weight=raw["weight"],
        verdicts=verdicts,
    )


def proposal(found: Proposal, tried: schemas.Changes | None = None) -> schemas.Assessment:
    """What the system proposes, with every candidate."""
    changed = {*tried.clouds, *tried.sizes} if tried else set()
    placements = [
        schemas.Placement(
            item_id=wish.item_id,
            ordinal=wish.ordinal,
            spec={"count": wish.item.count, **item_spec(wish.item)},
            overridden=wish.ordinal in changed,
            candidates=[
                candidate(judgement_json(j, chosen=j.sub_cloud_id == found.chosen[wish.ordinal]))
                for j in found.judgements[wish.ordinal]
            ],
        )
        for wish in found.wishes
    ]
    return schemas.Assessment(
        outcome="proposed",
        revision=found.request.revision_id,
        reason="",
        complete=found.complete,
        monthly_fen=found.quote.total_fen,
        quote=found.quote.to_json(),
        placements=placements,
        hold_expires_at=None,
        decided_by=None,
        on_behalf_of=None,
        decided_at=None,
        late=False,
    )


def of_request(work: Work, request_id: UUID) -> schemas.Assessment:
    """The last assessment of a request; while it waits to be assessed, what the system proposes."""
    request = repository.load(work.session, work.actor, request_id)
    found = None
    if request.state != RequestState.APPROVED:
        found = assessment.latest(work, request_id)
    if found is None:
        return proposal(assessment.propose(work, request_id))
    ordinals = {item.id: item.ordinal for item in repository.items(work.session, request)}
    return schemas.Assessment(
        outcome=found.outcome,
        revision=found.revision_id,
        reason=found.reason,
        complete=True,
        monthly_fen=found.monthly_fen,
        quote=found.quote,
        placements=[placement(p, ordinals) for p in assessment.placements(work, found.id)],
        hold_expires_at=found.hold_expires_at,
        decided_by=found.decided_by,
        on_behalf_of=found.on_behalf_of,
        decided_at=found.decided_at,
        late=found.late,
    )


def placement(row: Placement, ordinals: Mapping[UUID, int]) -> schemas.Placement:
    """A placement with every candidate it was chosen from."""
    return schemas.Placement(
        item_id=row.item_id,
        ordinal=ordinals.get(row.item_id),
        spec=row.spec,
        overridden=row.overridden,
        candidates=[candidate(raw) for raw in row.candidates],
    )


def deliveries(work: Work, request_id: UUID) -> list[schemas.Delivery]:
    """The deliveries of a request with their steps, handovers and cases. A fixed number of statements."""
    repository.load(work.session, work.actor, request_id)
    steps = [schemas.Step.model_validate(s) for s in progress.of_request(work, request_id)]
    handovers = delivery.handovers(work, request_id)
    cases = delivery.cases_of(work, request_id)
    return [_delivery(row, steps, handovers, cases) for row in delivery.of_request(work, request_id)]


def _delivery(
    row: Delivery, steps: Sequence[schemas.Step], handovers: Sequence[Handover], cases: Sequence[DeskCase]
) -> schemas.Delivery:
    return schemas.Delivery(
        id=row.id,
        request_id=row.request_id,
        sub_cloud_id=row.sub_cloud_id,
        state=row.state,
        run=row.run,
        ordered_by=row.ordered_by,
        queued_at=row.queued_at,
        finished_at=row.finished_at,
        secret_waiting=row.secret is not None and row.secret_shown_at is None,
        steps=[step for step in steps if step.subject_id == row.id],
        handovers=[schemas.Handover.model_validate(h) for h in handovers if h.delivery_id == row.id],
        cases=[case(c) for c in cases if c.subject_id == row.id],
    )


def case(row: DeskCase, number: str | None = None) -> schemas.DeskCase:
    """A case of the operator's desk, with what went wrong in words."""
    return schemas.DeskCase(
        id=row.id,
        request_id=row.request_id,
        number=number,
        subject_type=row.subject_type,
        subject_id=row.subject_id,
        resource_id=row.resource_id,
        step=row.step,
        code=row.code,
        message=texts.trouble(row.code),
        detail=row.detail,
        opened_at=row.opened_at,
        action=row.action,
        reason=row.reason,
        decided_by=row.decided_by,
        closed_at=row.closed_at,
    )


def release(row: Release, number: str | None = None) -> schemas.Release:
    """A release."""
    return schemas.Release.model_validate(row).model_copy(update={"number": number})

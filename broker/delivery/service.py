"""Stage 4's use-cases for people: order delivery, work the operator's desk, show the secret once, look.

Called by: the API. Must not: call a cloud; it writes rows, and dispatch starts what acts on them.
"""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from sqlalchemy import insert, select, update

from broker.approval import service as approval
from broker.db.base import AnyRow, new_id
from broker.delivery import decisions, keys
from broker.delivery.models import Delivery, DeskCase, Handover
from broker.errors import Conflict, Forbidden, Invalid, NotFound, Problem
from broker.inventory.models import Resource
from broker.lifecycle import ItemState, RequestEvent, RequestState, ResourceState, Role, after
from broker.request import repository
from broker.request import service as requests
from broker.request.clocks import ARTICLE, Stage
from broker.request.models import ServiceRequest
from broker.settings import Settings
from broker.tenancy.rules import mandate
from broker.tenancy.values import Mandate
from broker.tenancy.work import Work


class Action(StrEnum):
    """What an operator may do about something a machine could not finish."""

    RETRY = "retry"
    ADOPT = "adopt"
    GIVE_UP = "give_up"


def order(work: Work, request_id: UUID) -> ServiceRequest:
    """The operator orders delivery: one delivery for each sub-cloud the items were placed in.

    Raises Forbidden ``duty.separated`` (who decided cannot deliver), Conflict ``state.refused``, or ``hold.gone`` when
    nothing is planned for it any more: it would be on its way for ever, with no delivery to end that.
    """
    request = repository.load(work.session, work.actor, request_id, lock=True)
    by = _operator(work, request)
    request.state = after(RequestState(request.state), RequestEvent.DELIVER, frozenset({Role.OPERATOR})).value
    request.version += 1
    planned = work.session.execute(
        select(Resource.sub_cloud_id, Resource.project_id, Resource.hold_id)
        .where(Resource.request_id == request.id, Resource.state == ResourceState.PLANNED.value)
        .distinct()
    ).all()
    if not planned:
        raise Conflict("hold.gone")
    # All items are on their way with the first delivery.
    with_first = [requests.items_at(request, ItemState.DELIVERING)]
    for sub_cloud_id, project_id, hold_id in planned:
        delivery_id = new_id()
        ordered = insert(Delivery).values(
            id=delivery_id,
            request_id=request.id,
            sub_cloud_id=sub_cloud_id,
            project_id=project_id,
            hold_id=hold_id,
            state="queued",
            ordered_by=by.account_id,
            queued_at=work.now,
        )
        work.session.execute(
            update(Resource)
            .where(Resource.hold_id == hold_id, Resource.state == ResourceState.PLANNED.value)
            .values(delivery_id=delivery_id)
            .add_cte(ordered.cte("ordered"), *with_first)
        )
        with_first = []
    work.record(
        "request.delivering",
        "request",
        request.id,
        request_id=request.id,
        mandate=by,
        article=ARTICLE[Stage.DELIVERY],
    )
    return request


def decide_case(work: Work, case_id: UUID, action: Action, *, reason: str = "") -> DeskCase:
    """Close a case on the operator's desk; once none of the same delivery is left open, the delivery goes on.

    A release's case is closed here too; ``reclamation.service.decide_case`` wraps this and starts the release again.

    Retry and adopt make the thing again (what carries our tag in the cloud is taken as it is). Giving up needs a
    reason: the resource is let go; unless a part may be delivered, and is left, the whole delivery is undone.
    Raises NotFound, Forbidden, Conflict ``case.closed``, ``case.on_its_way``, Invalid ``reason.missing``.
    """
    case = work.session.scalar(select(DeskCase).where(DeskCase.id == case_id))
    if case is None:
        raise NotFound("case.not_found")
    request = repository.load(work.session, work.actor, case.request_id, lock=True)
    by = _operator(work, request)
    work.session.refresh(case)  # read again below the request's lock: somebody may have been faster
    if case.closed_at is not None:
        raise Conflict("case.closed")
    if action is Action.GIVE_UP and not reason.strip():
        raise Invalid([Problem("reason.missing", "reason")])
    case.action, case.reason, case.decided_by, case.closed_at = action.value, reason.strip(), by.account_id, work.now
    work.session.flush()
    if case.subject_type == "delivery":
        decisions.follow(work, request, case)
    work.record(
        f"case.{action.value}",
        "desk_case",
        case.id,
        request_id=request.id,
        mandate=by,
        data={"step": case.step, "code": case.code, "resource": str(case.resource_id or "")},
    )
    return case


def _operator(work: Work, request: ServiceRequest) -> Mandate:
    """Who may deliver: an operator of the delivering authority who neither asked for nor decided on this request."""
    excepted = approval.deciders(work, request.id) | {request.applicant_id}
    return mandate(work.actor, Role.OPERATOR, request.delivering_unit_id, except_for=excepted)


def show_secret(work: Work, delivery_id: UUID, settings: Settings) -> str:
    """The private key of a delivery, once, to the applicant; afterwards it is gone.

    Raises NotFound ``secret.none``, Conflict ``secret.shown``, Forbidden ``secret.not_yours``.
    """
    delivery = work.session.scalar(select(Delivery).where(Delivery.id == delivery_id).with_for_update())
    if delivery is None:
        raise NotFound("delivery.not_found")
    request = repository.load(work.session, work.actor, delivery.request_id)
    if request.applicant_id != work.actor.account_id:
        raise Forbidden("secret.not_yours")
    if delivery.secret_shown_at is not None:
        raise Conflict("secret.shown")
    if delivery.secret is None or delivery.state not in {"delivered", "partly_delivered"}:
        raise NotFound("secret.none")
    text = keys.unseal(settings.secret_key, delivery.id, delivery.secret)
    delivery.secret, delivery.secret_shown_at = None, work.now
    work.record("delivery.secret_shown", "delivery", delivery.id, request_id=request.id)
    return text


def of_request(work: Work, request_id: UUID) -> list[Delivery]:
    """The deliveries of a request, oldest first."""
    return list(work.session.scalars(select(Delivery).where(Delivery.request_id == request_id).order_by(Delivery.id)))


def handovers(work: Work, request_id: UUID) -> list[Handover]:
    """The handover records of a request, oldest first."""
    return list(work.session.scalars(select(Handover).where(Handover.request_id == request_id).order_by(Handover.id)))


def cases_of(work: Work, request_id: UUID) -> list[DeskCase]:
    """The desk cases of a request, oldest first."""
    return list(work.session.scalars(select(DeskCase).where(DeskCase.request_id == request_id).order_by(DeskCase.id)))


def desk(work: Work, *, limit: int = 100) -> list[AnyRow]:
    """The open cases of the actor's authority, oldest first: rows of ``(DeskCase, number)``."""
    units = {work.actor.unit_id} | {p.unit_id for p in work.actor.deputy_for.get(Role.OPERATOR, ())}
    statement = (
        select(DeskCase, ServiceRequest.number)
        .join(ServiceRequest, ServiceRequest.id == DeskCase.request_id)
        .where(DeskCase.closed_at.is_(None))
        .order_by(DeskCase.id)
        .limit(limit)
    )
    if not work.actor.sees_everything:
        statement = statement.where(DeskCase.unit_id.in_(units))
    return list(work.session.execute(statement).all())

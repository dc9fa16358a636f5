"""Stage 2's use-case: the authority approves, returns or refuses a revision (Art. 14, 17(2)).

Called by: the API. Must not: deliver anything; the party that approves does not deliver.
"""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from sqlalchemy import select

from broker.approval.models import Approval
from broker.db.base import new_id
from broker.errors import Conflict, Invalid, Problem
from broker.lifecycle import ItemState, RequestEvent, RequestState, Role, after
from broker.notify import service as notify
from broker.request import clocks, repository
from broker.request import service as requests
from broker.request.clocks import ARTICLE, Stage
from broker.request.models import ServiceRequest
from broker.tenancy.rules import mandate
from broker.tenancy.work import Work


class Decision(StrEnum):
    """What the authority may say."""

    APPROVE = "approve"
    RETURN = "return"
    REFUSE = "refuse"


_EVENT = {
    Decision.APPROVE: RequestEvent.APPROVE,
    Decision.RETURN: RequestEvent.RETURN,
    Decision.REFUSE: RequestEvent.REFUSE,
}


def decide(
    work: Work, request_id: UUID, decision: Decision, *, revision_id: UUID, reason: str = "", article: str = ""
) -> ServiceRequest:
    """Decide on the revision the decider saw.

    Raises Conflict ``revision.stale`` (another revision is in force) or ``state.refused``; Forbidden ``duty.missing``,
    ``duty.separated`` (the requester cannot decide); Invalid ``reason.missing`` for a return or refusal without one.
    """
    request = repository.load(work.session, work.actor, request_id, lock=True)
    requester = frozenset({request.applicant_id})
    by = mandate(work.actor, Role.APPROVER, request.deciding_unit_id, except_for=requester)
    if request.revision_id != revision_id:
        raise Conflict("revision.stale", seen=str(revision_id), current=str(request.revision_id))
    state = after(RequestState(request.state), _EVENT[decision], frozenset({Role.APPROVER}))
    if decision is not Decision.APPROVE and not reason.strip():
        raise Invalid([Problem("reason.missing", "reason")])
    if len(reason) > 2000:
        raise Invalid([Problem("field.length", "reason", params={"least": 1, "most": 2000})])
    late = _move_clocks(work, request, decision)
    request.state = state.value
    request.version += 1
    work.session.add(
        Approval(
            id=new_id(),
            request_id=request.id,
            revision_id=revision_id,
            decision=decision.value,
            reason=reason.strip(),
            article=article or ARTICLE[Stage.APPROVAL],
            decided_by=by.account_id,
            on_behalf_of=by.on_behalf_of,
            decided_at=work.now,
            late=late,
        )
    )
    if decision is Decision.REFUSE:
        request.closed_at = work.now
        requests.set_items(work, request, ItemState.CANCELLED)
    _tell(work, request, decision)
    work.record(
        f"request.{state.value}",
        "request",
        request.id,
        request_id=request.id,
        mandate=by,
        article=article or ARTICLE[Stage.APPROVAL],
        data={"revision": str(revision_id), "late": late},
    )
    return request


def deciders(work: Work, request_id: UUID) -> frozenset[UUID]:
    """The accounts that approved this request, themselves or as principals: their people may not deliver it."""
    rows = work.session.execute(
        select(Approval.decided_by, Approval.on_behalf_of).where(
            Approval.request_id == request_id, Approval.decision == Decision.APPROVE.value
        )
    )
    return frozenset(account for row in rows for account in row if account is not None)


def history(work: Work, request_id: UUID) -> list[Approval]:
    """The decisions on a request, oldest first."""
    return list(work.session.scalars(select(Approval).where(Approval.request_id == request_id).order_by(Approval.id)))


def _move_clocks(work: Work, request: ServiceRequest, decision: Decision) -> bool:
    if decision is Decision.RETURN:
        clocks.stop(work, request, Stage.APPROVAL)
        return False
    if decision is Decision.REFUSE:
        late = clocks.finish(work, request, Stage.APPROVAL)
        clocks.abandon(work, request)
        return late
    assert request.assessing_unit_id is not None
    if request.version == 1:  # no assessment of it can have been sent back
        return clocks.hand_on(work, request, Stage.APPROVAL, Stage.ASSESSMENT, request.assessing_unit_id)
    late = clocks.finish(work, request, Stage.APPROVAL)
    if not clocks.resume(work, request, Stage.ASSESSMENT):  # one that was sent back goes on with its old clock
        clocks.start(work, request, Stage.ASSESSMENT, request.assessing_unit_id)
    return late


def _tell(work: Work, request: ServiceRequest, decision: Decision) -> None:
    about = ("request", request.id)
    notify.tell_account(work, request.applicant_id, f"approval.{decision.value}", about, number=request.number)
    if decision is Decision.APPROVE:
        audience = (request.assessing_unit_id, Role.ASSESSOR)
        notify.tell_role(work, audience, "assessment.waiting", about, number=request.number)

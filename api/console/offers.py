"""Which buttons a page offers: what the actor may do to a request now, by the services' own rules. Pure.

Called by: the pages of a request. Must not: be the guard; the service decides again when the button is pressed.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from broker.delivery.models import Delivery, DeskCase
from broker.errors import Forbidden
from broker.lifecycle import RequestEvent, RequestState, Role, possible
from broker.reclamation.models import Release
from broker.request.models import ServiceRequest
from broker.tenancy.rules import mandate
from broker.tenancy.values import Actor


def may(actor: Actor, role: Role, unit_id: UUID | None, except_for: Iterable[UUID] = ()) -> bool:
    """Whether the actor has the duty, itself or as a deputy."""
    try:
        mandate(actor, role, unit_id, except_for=frozenset(except_for))
    except Forbidden:
        return False
    return True


def offers(
    actor: Actor,
    request: ServiceRequest,
    *,
    deciders: frozenset[UUID],
    deliveries: Iterable[Delivery] = (),
    cases: Iterable[DeskCase] = (),
    releases: Iterable[Release] = (),
) -> frozenset[str]:
    """The names of the actions that are open to the actor now; ``deciders``: the accounts that approved."""
    applicant = frozenset({request.applicant_id})
    state = RequestState(request.state)
    events = set(possible(state, frozenset(Role)))
    own = set(possible(state, actor.roles))
    operator = may(actor, Role.OPERATOR, request.delivering_unit_id, deciders | applicant)
    shown = {
        "edit": RequestEvent.SAVE in own,
        "withdraw": RequestEvent.WITHDRAW in own,
        "release": RequestEvent.RELEASE in own,
        "decide": RequestEvent.APPROVE in events and may(actor, Role.APPROVER, request.deciding_unit_id, applicant),
        "assess": RequestEvent.CONFIRM in events and may(actor, Role.ASSESSOR, request.assessing_unit_id, applicant),
        "deliver": RequestEvent.DELIVER in events and operator,
        "cases": operator and any(case.closed_at is None for case in cases),
        "confirm_release": any(
            r.state == "asked" and may(actor, Role.OPERATOR, r.delivering_unit_id, {r.asked_by}) for r in releases
        ),
        "secret": actor.account_id == request.applicant_id
        and any(d.secret is not None and d.state in {"delivered", "partly_delivered"} for d in deliveries),
    }
    return frozenset(name for name, open_ in shown.items() if open_)

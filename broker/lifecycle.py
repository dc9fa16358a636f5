"""The states of a request, an item, a resource and a reclaim case, and the ONE transition table of each. Pure.

Called by: the services of every stage, before they write a state. Must not: import SQL, web, cloud or engine.

Read a table as: *in this state, this event leads to that state, and these roles may cause it*. What is not in the table
is refused with ``state.refused``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from broker.errors import Conflict


class Role(StrEnum):
    """What a person or program may be to a request. ``SYSTEM`` is the worker."""

    APPLICANT = "applicant"
    UNIT_LEADER = "unit_leader"
    APPROVER = "approver"
    ASSESSOR = "assessor"
    OPERATOR = "operator"
    FINANCE = "finance"
    AUDIT = "audit"
    CLOUD_OPERATOR = "cloud_operator"
    CLOUD_CHIEF = "cloud_chief"
    ADMINISTRATOR = "administrator"
    SYSTEM = "system"


class RequestState(StrEnum):
    """Where a request is on the road."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    RETURNED = "returned"
    WITHDRAWN = "withdrawn"
    REFUSED = "refused"
    APPROVED = "approved"
    ASSESSED = "assessed"
    DELIVERING = "delivering"
    NEEDS_OPERATOR = "needs_operator"
    DELIVERED = "delivered"
    PARTLY_DELIVERED = "partly_delivered"
    UNDELIVERED = "undelivered"
    RELEASING = "releasing"
    RELEASED = "released"


class RequestEvent(StrEnum):
    """What can happen to a request."""

    SAVE = "save"
    SUBMIT = "submit"
    WITHDRAW = "withdraw"
    APPROVE = "approve"
    RETURN = "return"
    REFUSE = "refuse"
    CONFIRM = "confirm"
    SEND_BACK = "send_back"
    EXPIRE = "expire"
    DELIVER = "deliver"
    STALL = "stall"
    RESUME = "resume"
    HAND_OVER = "hand_over"
    HAND_OVER_PART = "hand_over_part"
    UNDO = "undo"
    RELEASE = "release"
    CLOSE = "close"


_S, _E, _R = RequestState, RequestEvent, Role
_UNIT = frozenset({_R.APPLICANT, _R.UNIT_LEADER})
_BUREAU = frozenset({_R.APPROVER})
_ASSESSOR = frozenset({_R.ASSESSOR})
_OPERATOR = frozenset({_R.OPERATOR})
_SYSTEM = frozenset({_R.SYSTEM})

Table = Mapping[tuple[RequestState, RequestEvent], tuple[RequestState, frozenset[Role]]]

REQUEST: Table = {
    (_S.DRAFT, _E.SAVE): (_S.DRAFT, _UNIT),
    (_S.DRAFT, _E.SUBMIT): (_S.SUBMITTED, _UNIT),
    (_S.DRAFT, _E.WITHDRAW): (_S.WITHDRAWN, _UNIT),
    (_S.SUBMITTED, _E.WITHDRAW): (_S.WITHDRAWN, _UNIT),
    (_S.SUBMITTED, _E.APPROVE): (_S.APPROVED, _BUREAU),
    (_S.SUBMITTED, _E.RETURN): (_S.RETURNED, _BUREAU),
    (_S.SUBMITTED, _E.REFUSE): (_S.REFUSED, _BUREAU),
    (_S.RETURNED, _E.SAVE): (_S.RETURNED, _UNIT),
    (_S.RETURNED, _E.SUBMIT): (_S.SUBMITTED, _UNIT),
    (_S.RETURNED, _E.WITHDRAW): (_S.WITHDRAWN, _UNIT),
    (_S.APPROVED, _E.WITHDRAW): (_S.WITHDRAWN, _UNIT),
    (_S.APPROVED, _E.CONFIRM): (_S.ASSESSED, _ASSESSOR),
    (_S.APPROVED, _E.SEND_BACK): (_S.RETURNED, _ASSESSOR),
    (_S.ASSESSED, _E.WITHDRAW): (_S.WITHDRAWN, _UNIT),
    (_S.ASSESSED, _E.EXPIRE): (_S.APPROVED, _SYSTEM),
    (_S.ASSESSED, _E.DELIVER): (_S.DELIVERING, _OPERATOR),
    (_S.DELIVERING, _E.EXPIRE): (_S.APPROVED, _SYSTEM),
    (_S.DELIVERING, _E.STALL): (_S.NEEDS_OPERATOR, _SYSTEM),
    (_S.DELIVERING, _E.HAND_OVER): (_S.DELIVERED, _SYSTEM),
    (_S.DELIVERING, _E.HAND_OVER_PART): (_S.PARTLY_DELIVERED, _SYSTEM),
    (_S.DELIVERING, _E.UNDO): (_S.UNDELIVERED, _SYSTEM),
    (_S.NEEDS_OPERATOR, _E.RESUME): (_S.DELIVERING, _OPERATOR),
    (_S.NEEDS_OPERATOR, _E.HAND_OVER): (_S.DELIVERED, _SYSTEM | _OPERATOR),
    (_S.NEEDS_OPERATOR, _E.HAND_OVER_PART): (_S.PARTLY_DELIVERED, _SYSTEM | _OPERATOR),
    (_S.NEEDS_OPERATOR, _E.UNDO): (_S.UNDELIVERED, _SYSTEM | _OPERATOR),
    (_S.PARTLY_DELIVERED, _E.RESUME): (_S.DELIVERING, _OPERATOR),
    (_S.DELIVERED, _E.RELEASE): (_S.RELEASING, _UNIT),
    (_S.PARTLY_DELIVERED, _E.RELEASE): (_S.RELEASING, _UNIT),
    (_S.DELIVERED, _E.CLOSE): (_S.RELEASED, _SYSTEM),
    (_S.PARTLY_DELIVERED, _E.CLOSE): (_S.RELEASED, _SYSTEM),
    (_S.RELEASING, _E.CLOSE): (_S.RELEASED, _SYSTEM),
}
"""The request's road. ``SEND_BACK`` is the assessor's return; ``EXPIRE`` a hold whose date has passed.

A delivered request is closed without being asked when the last of its resources was reclaimed."""


def after(state: RequestState, event: RequestEvent, roles: frozenset[Role]) -> RequestState:
    """The state that ``event`` leads to. Raises Conflict ``state.refused`` when ``roles`` have no such arrow."""
    arrow = REQUEST.get((state, event))
    if arrow is None or not (arrow[1] & roles):
        raise Conflict("state.refused", state=state.value, event=event.value)
    return arrow[0]


def possible(state: RequestState, roles: frozenset[Role]) -> list[RequestEvent]:
    """What these roles may do to a request in ``state``: what a page offers as buttons."""
    return [event for (s, event), (_, who) in REQUEST.items() if s == state and who & roles]


FINAL: frozenset[RequestState] = frozenset(
    s for s in RequestState if not any(start == s and end != s for (start, _), (end, _) in REQUEST.items())
)
"""States that no arrow leaves."""


class ItemState(StrEnum):
    """Where one item of a request is: derived from its resources, kept so that lists need not look at them."""

    REQUESTED = "requested"
    HELD = "held"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    PARTLY_DELIVERED = "partly_delivered"
    UNDELIVERED = "undelivered"
    RELEASED = "released"
    CANCELLED = "cancelled"


class ResourceState(StrEnum):
    """Where one server, volume or segment is.

    ``READY`` is there in the cloud but not yet handed over: metering starts with ``ACTIVE``.
    """

    PLANNED = "planned"
    BUILDING = "building"
    READY = "ready"
    ACTIVE = "active"
    STOPPED = "stopped"
    FAILED = "failed"
    UNDONE = "undone"
    RELEASING = "releasing"
    RELEASED = "released"


_RS = ResourceState
RESOURCE: Mapping[ResourceState, frozenset[ResourceState]] = {
    _RS.PLANNED: frozenset({_RS.BUILDING, _RS.UNDONE}),
    _RS.BUILDING: frozenset({_RS.READY, _RS.FAILED, _RS.UNDONE}),
    _RS.READY: frozenset({_RS.ACTIVE, _RS.FAILED, _RS.UNDONE, _RS.BUILDING}),
    _RS.FAILED: frozenset({_RS.BUILDING, _RS.UNDONE}),
    _RS.ACTIVE: frozenset({_RS.STOPPED, _RS.RELEASING}),
    _RS.STOPPED: frozenset({_RS.ACTIVE, _RS.RELEASING}),
    _RS.RELEASING: frozenset({_RS.RELEASED, _RS.ACTIVE, _RS.STOPPED}),
    _RS.UNDONE: frozenset(),
    _RS.RELEASED: frozenset(),
}
"""From which state of a resource to which; the machine's steps move along these and no others.

From ready back to building: a later run of the delivery looks again at what an earlier one made. From releasing back:
nothing of it was deleted yet when it was seen to be in use again, or it was lost and turned up (``inventory.keep``, and
nobody else).
"""


def item_state(states: list[ResourceState]) -> ItemState:
    """The state of an item from those of its resources, all of them."""
    live = {_RS.ACTIVE, _RS.STOPPED, _RS.RELEASING}
    if all(s is _RS.PLANNED for s in states):
        return ItemState.HELD
    if all(s in live for s in states):
        return ItemState.DELIVERED
    if any(s in {_RS.PLANNED, _RS.BUILDING, _RS.READY, _RS.FAILED} for s in states):
        return ItemState.DELIVERING
    if any(s in live for s in states):
        return ItemState.PARTLY_DELIVERED
    return ItemState.RELEASED if any(s is _RS.RELEASED for s in states) else ItemState.UNDELIVERED


class CaseState(StrEnum):
    """Where a reclaim case is (Art. 14, 28): a row with dates; the machine's own states end in -ing."""

    FOUND = "found"
    """Nobody has been told yet."""
    NOTICED = "noticed"
    """The owner and its cloud chief have been told; the objection window runs."""
    OBJECTED = "objected"
    MEASURING = "measuring"
    """The window is over: is it really not in use?"""
    SUSPENDING = "suspending"
    SUSPENDED = "suspended"
    CONTESTED = "contested"
    """An objection after the suspension."""
    PROPOSED = "proposed"
    """One person has proposed the release; a second one has to confirm it."""
    RESUMING = "resuming"
    RELEASING = "releasing"
    DROPPED = "dropped"
    """In use again, or ended by a person."""
    EXEMPTED = "exempted"
    """An objection was accepted: not to be taken up again before a date."""
    RENEWED = "renewed"
    """The term was extended."""
    GIVEN_BACK = "given_back"
    """The unit gives it back itself, by a request, before anything was stopped."""
    RELEASED = "released"


class CaseEvent(StrEnum):
    """What can happen to a reclaim case."""

    NOTIFY = "notify"
    OBJECT = "object"
    ACCEPT = "accept"
    RENEW = "renew"
    REFUSE = "refuse"
    EXTEND = "extend"
    WITHDRAW = "withdraw"
    FALL_DUE = "fall_due"
    WAIT = "wait"
    FIND_IN_USE = "find_in_use"
    FIND_RUNNING = "find_running"
    ADMIT = "admit"
    STOP = "stop"
    RESUME = "resume"
    START = "start"
    PROPOSE = "propose"
    DECLINE = "decline"
    CONFIRM = "confirm"
    GIVE_BACK = "give_back"
    RELEASE = "release"
    LOSE = "lose"
    """What could not be started is not there any more."""
    TURN_UP = "turn_up"
    """What was lost is there again."""
    FOLLOW = "follow"
    """The resources went to another unit, which is heard first."""


_C, _CE = CaseState, CaseEvent
_ENDING = _OPERATOR | _BUREAU

CASE: Mapping[tuple[CaseState, CaseEvent], tuple[CaseState, frozenset[Role]]] = {
    (_C.FOUND, _CE.NOTIFY): (_C.NOTICED, _SYSTEM),
    (_C.FOUND, _CE.WITHDRAW): (_C.DROPPED, _ENDING),
    (_C.FOUND, _CE.GIVE_BACK): (_C.GIVEN_BACK, _UNIT),
    (_C.NOTICED, _CE.OBJECT): (_C.OBJECTED, _UNIT),
    (_C.NOTICED, _CE.FALL_DUE): (_C.MEASURING, _SYSTEM),
    (_C.NOTICED, _CE.WITHDRAW): (_C.DROPPED, _ENDING),
    (_C.NOTICED, _CE.GIVE_BACK): (_C.GIVEN_BACK, _UNIT),
    (_C.NOTICED, _CE.FOLLOW): (_C.FOUND, _SYSTEM),
    (_C.OBJECTED, _CE.ACCEPT): (_C.EXEMPTED, _BUREAU),
    (_C.OBJECTED, _CE.RENEW): (_C.RENEWED, _BUREAU),
    (_C.OBJECTED, _CE.REFUSE): (_C.NOTICED, _BUREAU),
    (_C.OBJECTED, _CE.EXTEND): (_C.NOTICED, _BUREAU),
    (_C.OBJECTED, _CE.WITHDRAW): (_C.DROPPED, _ENDING),
    (_C.OBJECTED, _CE.GIVE_BACK): (_C.GIVEN_BACK, _UNIT),
    (_C.MEASURING, _CE.FIND_IN_USE): (_C.DROPPED, _SYSTEM),
    (_C.MEASURING, _CE.WAIT): (_C.NOTICED, _SYSTEM),
    (_C.MEASURING, _CE.ADMIT): (_C.SUSPENDING, _SYSTEM),
    (_C.SUSPENDING, _CE.STOP): (_C.SUSPENDED, _SYSTEM),
    (_C.SUSPENDING, _CE.FIND_IN_USE): (_C.RESUMING, _SYSTEM),
    (_C.SUSPENDING, _CE.WAIT): (_C.NOTICED, _SYSTEM),
    (_C.SUSPENDING, _CE.OBJECT): (_C.RESUMING, _UNIT),
    (_C.SUSPENDING, _CE.RESUME): (_C.RESUMING, _ENDING),
    (_C.SUSPENDED, _CE.OBJECT): (_C.CONTESTED, _UNIT | _SYSTEM),
    (_C.SUSPENDED, _CE.PROPOSE): (_C.PROPOSED, _OPERATOR),
    (_C.SUSPENDED, _CE.RESUME): (_C.RESUMING, _ENDING | _SYSTEM),
    (_C.SUSPENDED, _CE.FIND_RUNNING): (_C.RESUMING, _SYSTEM),
    (_C.SUSPENDED, _CE.TURN_UP): (_C.SUSPENDED, _SYSTEM),
    (_C.CONTESTED, _CE.ACCEPT): (_C.RESUMING, _BUREAU),
    (_C.CONTESTED, _CE.RENEW): (_C.RESUMING, _BUREAU),
    (_C.CONTESTED, _CE.REFUSE): (_C.SUSPENDED, _BUREAU),
    (_C.CONTESTED, _CE.EXTEND): (_C.SUSPENDED, _BUREAU),
    (_C.CONTESTED, _CE.RESUME): (_C.RESUMING, _ENDING),
    (_C.PROPOSED, _CE.OBJECT): (_C.CONTESTED, _UNIT),
    (_C.PROPOSED, _CE.DECLINE): (_C.SUSPENDED, _OPERATOR),
    (_C.PROPOSED, _CE.CONFIRM): (_C.RELEASING, _ENDING),
    (_C.PROPOSED, _CE.RESUME): (_C.RESUMING, _ENDING),
    (_C.PROPOSED, _CE.FIND_RUNNING): (_C.RESUMING, _SYSTEM),
    (_C.PROPOSED, _CE.TURN_UP): (_C.SUSPENDED, _SYSTEM),
    (_C.PROPOSED, _CE.FOLLOW): (_C.SUSPENDED, _SYSTEM),
    (_C.RESUMING, _CE.START): (_C.DROPPED, _SYSTEM),
    (_C.RESUMING, _CE.NOTIFY): (_C.NOTICED, _SYSTEM),
    (_C.RESUMING, _CE.OBJECT): (_C.OBJECTED, _SYSTEM),
    (_C.RESUMING, _CE.ACCEPT): (_C.EXEMPTED, _SYSTEM),
    (_C.RESUMING, _CE.RENEW): (_C.RENEWED, _SYSTEM),
    (_C.RESUMING, _CE.LOSE): (_C.SUSPENDED, _SYSTEM),
    (_C.RELEASING, _CE.FIND_IN_USE): (_C.SUSPENDED, _SYSTEM),
    (_C.RELEASING, _CE.TURN_UP): (_C.SUSPENDED, _SYSTEM),
    (_C.RELEASING, _CE.RELEASE): (_C.RELEASED, _SYSTEM),
}
"""A case's road. Everything can be undone until ``CONFIRM``, which needs a second person; a release that finds its
servers running goes back, because nothing that is in use again may be deleted, and so does one that finds what was
thought lost: it was confirmed as gone. The system resumes what an accepted objection would have had started, and lets
an objection stand that nobody answered: one against a suspension that is stuck is heard with everything running. What
somebody has started at its cloud while it was suspended (``FIND_RUNNING``) is heard anew, from its notice on."""

CASE_MACHINE = frozenset({_C.MEASURING, _C.SUSPENDING, _C.RESUMING, _C.RELEASING})
"""States in which a workflow has to act."""

CASE_OPEN = frozenset(s for s in CaseState if any(start is s for start, _ in CASE))
"""States that an arrow leaves."""

CASE_HOLDS = frozenset({_C.SUSPENDING, _C.SUSPENDED, _C.CONTESTED, _C.PROPOSED, _C.RESUMING, _C.RELEASING})
"""States in which a case's resources count against the share of a unit and of a cloud."""


def case_after(state: CaseState, event: CaseEvent, roles: frozenset[Role]) -> CaseState:
    """The state that ``event`` leads to. Raises Conflict ``reclaim.state`` when ``roles`` have no such arrow."""
    arrow = CASE.get((state, event))
    if arrow is None or not (arrow[1] & roles):
        raise Conflict("reclaim.state", case_state=state.value, case_event=event.value)
    return arrow[0]


def case_possible(state: CaseState, roles: frozenset[Role]) -> list[CaseEvent]:
    """What these roles may do to a case in ``state``: what a page offers as buttons."""
    return [event for (s, event), (_, who) in CASE.items() if s is state and who & roles]

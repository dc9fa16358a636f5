"""The one transition table: what is in it, who may, and what it leaves out."""

from __future__ import annotations

import pytest

from broker.errors import Conflict
from broker.lifecycle import (
    CASE,
    CASE_HOLDS,
    CASE_MACHINE,
    CASE_OPEN,
    FINAL,
    REQUEST,
    RESOURCE,
    CaseEvent,
    CaseState,
    ItemState,
    RequestEvent,
    RequestState,
    ResourceState,
    Role,
    after,
    case_after,
    item_state,
    possible,
)

AGREED = """
approved --confirm--> assessed (assessor)
approved --send_back--> returned (assessor)
approved --withdraw--> withdrawn (applicant, unit_leader)
assessed --deliver--> delivering (operator)
assessed --expire--> approved (system)
assessed --withdraw--> withdrawn (applicant, unit_leader)
delivered --close--> released (system)
delivered --release--> releasing (applicant, unit_leader)
delivering --expire--> approved (system)
delivering --hand_over--> delivered (system)
delivering --hand_over_part--> partly_delivered (system)
delivering --stall--> needs_operator (system)
delivering --undo--> undelivered (system)
draft --save--> draft (applicant, unit_leader)
draft --submit--> submitted (applicant, unit_leader)
draft --withdraw--> withdrawn (applicant, unit_leader)
needs_operator --hand_over--> delivered (operator, system)
needs_operator --hand_over_part--> partly_delivered (operator, system)
needs_operator --resume--> delivering (operator)
needs_operator --undo--> undelivered (operator, system)
partly_delivered --close--> released (system)
partly_delivered --release--> releasing (applicant, unit_leader)
partly_delivered --resume--> delivering (operator)
releasing --close--> released (system)
returned --save--> returned (applicant, unit_leader)
returned --submit--> submitted (applicant, unit_leader)
returned --withdraw--> withdrawn (applicant, unit_leader)
submitted --approve--> approved (approver)
submitted --refuse--> refused (approver)
submitted --return--> returned (approver)
submitted --withdraw--> withdrawn (applicant, unit_leader)
"""


def test_the_table_is_as_agreed() -> None:
    """Whoever changes an arrow changes it here too, in view."""
    arrows = sorted(
        f"{state} --{event}--> {to} ({', '.join(sorted(roles))})" for (state, event), (to, roles) in REQUEST.items()
    )
    assert arrows == AGREED.strip().splitlines()


def test_every_state_can_be_reached_from_a_draft() -> None:
    """No state stands outside the road."""
    reached = {RequestState.DRAFT}
    while True:
        more = {to for (state, _), (to, _) in REQUEST.items() if state in reached} - reached
        if not more:
            break
        reached |= more
    assert reached == set(RequestState)


def test_what_is_final_is_final() -> None:
    """Closed requests stay closed; corrections are new rows."""
    assert {
        RequestState.WITHDRAWN,
        RequestState.REFUSED,
        RequestState.UNDELIVERED,
        RequestState.RELEASED,
    } == FINAL


@pytest.mark.parametrize("state", list(RequestState))
@pytest.mark.parametrize("event", list(RequestEvent))
def test_what_is_not_in_the_table_is_refused(state: RequestState, event: RequestEvent) -> None:
    """An unknown state change changes nothing and has a code."""
    everybody = frozenset(Role)
    if (state, event) in REQUEST:
        assert after(state, event, everybody) is REQUEST[state, event][0]
        return
    with pytest.raises(Conflict) as refused:
        after(state, event, everybody)
    assert refused.value.code == "state.refused"


def test_a_role_without_the_duty_is_refused() -> None:
    """The applicant cannot approve, the approver cannot deliver (Art. 14)."""
    for state, event, role in (
        (RequestState.SUBMITTED, RequestEvent.APPROVE, Role.APPLICANT),
        (RequestState.ASSESSED, RequestEvent.DELIVER, Role.APPROVER),
        (RequestState.SUBMITTED, RequestEvent.APPROVE, Role.ADMINISTRATOR),
    ):
        with pytest.raises(Conflict):
            after(state, event, frozenset({role}))
        assert event not in possible(state, frozenset({role}))


def test_audit_and_finance_change_nothing() -> None:
    """Audit reads everything and changes nothing (Art. 16(3))."""
    for role in (Role.AUDIT, Role.FINANCE, Role.CLOUD_CHIEF, Role.CLOUD_OPERATOR):
        assert not any(role in roles for _, roles in REQUEST.values())


def test_a_resource_is_metered_only_after_it_was_ready() -> None:
    """Metering starts when it is active and handed over."""
    assert [s for s, nexts in RESOURCE.items() if ResourceState.ACTIVE in nexts] == [
        ResourceState.READY,
        ResourceState.STOPPED,
        ResourceState.RELEASING,  # it was metered until the last reading, which is void when nothing was deleted
    ]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["planned", "planned"], ItemState.HELD),
        (["active", "ready"], ItemState.DELIVERING),
        (["active", "failed"], ItemState.DELIVERING),
        (["active", "undone"], ItemState.PARTLY_DELIVERED),
        (["active", "stopped"], ItemState.DELIVERED),
        (["undone", "undone"], ItemState.UNDELIVERED),
        (["released", "undone"], ItemState.RELEASED),
    ],
)
def test_an_item_is_where_its_resources_are(states: list[str], expected: ItemState) -> None:
    """Seven of ten servers may be up: the item says so."""
    assert item_state([ResourceState(s) for s in states]) is expected


AGREED_CASES = """
contested --accept--> resuming (approver)
contested --extend--> suspended (approver)
contested --refuse--> suspended (approver)
contested --renew--> resuming (approver)
contested --resume--> resuming (approver, operator)
found --give_back--> given_back (applicant, unit_leader)
found --notify--> noticed (system)
found --withdraw--> dropped (approver, operator)
measuring --admit--> suspending (system)
measuring --find_in_use--> dropped (system)
measuring --wait--> noticed (system)
noticed --fall_due--> measuring (system)
noticed --follow--> found (system)
noticed --give_back--> given_back (applicant, unit_leader)
noticed --object--> objected (applicant, unit_leader)
noticed --withdraw--> dropped (approver, operator)
objected --accept--> exempted (approver)
objected --extend--> noticed (approver)
objected --give_back--> given_back (applicant, unit_leader)
objected --refuse--> noticed (approver)
objected --renew--> renewed (approver)
objected --withdraw--> dropped (approver, operator)
proposed --confirm--> releasing (approver, operator)
proposed --decline--> suspended (operator)
proposed --find_running--> resuming (system)
proposed --follow--> suspended (system)
proposed --object--> contested (applicant, unit_leader)
proposed --resume--> resuming (approver, operator)
proposed --turn_up--> suspended (system)
releasing --find_in_use--> suspended (system)
releasing --release--> released (system)
releasing --turn_up--> suspended (system)
resuming --accept--> exempted (system)
resuming --lose--> suspended (system)
resuming --notify--> noticed (system)
resuming --object--> objected (system)
resuming --renew--> renewed (system)
resuming --start--> dropped (system)
suspended --find_running--> resuming (system)
suspended --object--> contested (applicant, system, unit_leader)
suspended --propose--> proposed (operator)
suspended --resume--> resuming (approver, operator, system)
suspended --turn_up--> suspended (system)
suspending --find_in_use--> resuming (system)
suspending --object--> resuming (applicant, unit_leader)
suspending --resume--> resuming (approver, operator)
suspending --stop--> suspended (system)
suspending --wait--> noticed (system)
"""


def test_the_table_of_cases_is_as_agreed() -> None:
    """Whoever changes an arrow changes it here too, in view."""
    arrows = sorted(
        f"{state} --{event}--> {to} ({', '.join(sorted(roles))})" for (state, event), (to, roles) in CASE.items()
    )
    assert arrows == AGREED_CASES.strip().splitlines()


def test_a_case_can_be_undone_until_it_is_confirmed() -> None:
    """From every open state but that of the release some arrow of a person leads to where nothing is taken."""
    kept = {CaseState.DROPPED, CaseState.EXEMPTED, CaseState.RENEWED, CaseState.GIVEN_BACK}
    for state in CASE_OPEN - CASE_MACHINE:
        people = {to for (at, _), (to, roles) in CASE.items() if at is state and roles != {Role.SYSTEM}}
        assert people & (kept | {CaseState.RESUMING}), state
    assert {at for at, event in CASE if event is CaseEvent.CONFIRM} == {CaseState.PROPOSED}
    assert {to for (at, _), (to, _) in CASE.items() if at is CaseState.RELEASING} == {
        CaseState.RELEASED,
        CaseState.SUSPENDED,
    }
    assert CASE_HOLDS <= CASE_OPEN
    with pytest.raises(Conflict):
        case_after(CaseState.RELEASING, CaseEvent.RESUME, frozenset(Role))

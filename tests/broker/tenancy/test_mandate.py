"""Who may decide: his own duty, or as somebody's deputy; never on his own request."""

from __future__ import annotations

from uuid import uuid4

import pytest

from broker.errors import Forbidden
from broker.lifecycle import Role
from broker.tenancy.rules import mandate
from broker.tenancy.values import SYSTEM, Actor, Principal

BUREAU, OTHER, ME, CHIEF = uuid4(), uuid4(), uuid4(), uuid4()
APPROVER = Actor(ME, BUREAU, frozenset({Role.APPROVER}))
DEPUTY = Actor(ME, OTHER, frozenset(), deputy_for={Role.APPROVER: (Principal(CHIEF, BUREAU),)})


def code(actor: Actor, **kwargs: object) -> str:
    with pytest.raises(Forbidden) as refused:
        mandate(actor, Role.APPROVER, BUREAU, **kwargs)  # type: ignore[arg-type]
    return refused.value.code


def test_who_holds_the_duty_acts_in_his_own_name() -> None:
    """A mandate of one's own names nobody else."""
    found = mandate(APPROVER, Role.APPROVER, BUREAU)
    assert (found.account_id, found.on_behalf_of) == (ME, None)


def test_a_deputy_acts_in_the_name_of_whom_he_stands_for() -> None:
    """代理: the decision names both."""
    found = mandate(DEPUTY, Role.APPROVER, BUREAU)
    assert (found.account_id, found.on_behalf_of) == (ME, CHIEF)


def test_a_role_in_another_unit_is_no_duty_here() -> None:
    """Who decides is data of the sub-cloud: a city's approver does not decide for the main cloud."""
    assert code(Actor(ME, OTHER, frozenset({Role.APPROVER}))) == "duty.missing"


def test_the_requester_cannot_decide_himself_or_through_a_deputy() -> None:
    """No one decides on his own request (Art. 14)."""
    assert code(APPROVER, except_for=frozenset({ME})) == "duty.separated"
    assert code(DEPUTY, except_for=frozenset({CHIEF})) == "duty.separated"


def test_the_system_takes_no_decisions() -> None:
    """The worker acts on what people ordered."""
    assert code(SYSTEM) == "duty.missing"

"""Lent capacity is claimed back by notice (ours): once, with figures, to borrower and Center; nothing is ended."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from broker.errors import Conflict
from broker.scarcity import claims, notices
from broker.scarcity.models import QuotaClaim
from quotas import service as quotas
from quotas.errors import QuotaExceeded
from quotas.values import Line, ResourceClass
from tests.stories import road
from tests.stories.test_quota import cloud_of, unit_of
from tests.stories.world import World

GPU, VCPU, X86 = ResourceClass.GPU, ResourceClass.VCPU, ResourceClass.VCPU_X86_64


def share(world: World, unit: str, kind: ResourceClass, amount: int | None, borrowing: int | None = 0) -> None:
    with world.app.works.begin() as work:
        quotas.set_limit(work.session, unit_of(world, unit), kind, None, amount, borrowing=borrowing)


def hold(world: World, unit: str, line: Line, owner: UUID | None = None) -> UUID:
    with world.app.works.begin() as work:
        until = work.now + timedelta(days=1)
        owner = owner or uuid4()
        return quotas.hold(work.session, owner=owner, node=unit_of(world, unit), lines=[line], expires_at=until)


def void(world: World, hold_id: UUID) -> None:
    with world.app.works.begin() as work:
        quotas.void(work.session, hold_id)


def look(world: World) -> int:
    """What dispatch does every twenty seconds."""
    with world.app.works.begin() as work:
        return claims.look(work)


def told(world: World) -> set[tuple[str, str, int, int, int]]:
    """Unit and role, and the figures: wanted, to be given back, used by the borrower."""
    return {
        (row.code, row.role, *(int(row.params[name]) for name in ("wanted", "amount", "used")))
        for row in world.rows(
            "SELECT u.code, n.role, n.params FROM broker.notice n JOIN broker.unit u ON u.id = n.unit_id"
            " WHERE n.code LIKE 'quota%.claimed'"
        )
    }


def open_(world: World) -> list[QuotaClaim]:
    with world.app.works.begin() as work:
        return [each.claim for each in claims.open_claims(work, [unit_of(world, "jyt"), unit_of(world, "rst")])]


@pytest.fixture
def lent_out(world: World) -> UUID:
    """The region has as many processors as jyt and rst have shares; rst uses its own and all of jyt's. The loan."""
    share(world, "450000", VCPU, 20)
    share(world, "jyt", VCPU, 10)
    share(world, "rst", VCPU, 10, borrowing=None)
    hold(world, "rst", Line(X86, 10, cloud_of(world, "main")))
    return hold(world, "rst", Line(X86, 10, cloud_of(world, "main")))


def test_a_waiting_request_claims_what_is_lent_of_its_share_once(world: World, lent_out: UUID) -> None:
    """8 processors of jyt's 10 are wanted: rst is asked for 8, the Center knows; given back, the request passes."""
    request_id = road.submit(world)
    assert look(world) == 0  # nobody has approved it yet
    road.approve(world, request_id)
    with pytest.raises(Conflict, match=r"quota\.exceeded"):
        road.assess(world, request_id)
    assert (look(world), look(world)) == (4, 0)
    people = [("rst", "applicant"), ("rst", "unit_leader"), ("rst", "cloud_chief"), ("dsjfzj-xxzx", "operator")]
    assert told(world) == {(*each, 8, 8, 20) for each in people}
    (claim,) = open_(world)
    assert (claim.owner, claim.lender_id, claim.amount) == (request_id, unit_of(world, "jyt"), 8)
    void(world, lent_out)
    assert (look(world), open_(world)) == (0, [])
    again = hold(world, "rst", Line(X86, 10, cloud_of(world, "main")))
    assert (look(world), look(world)) == (4, 0)  # the same is short once more
    void(world, again)
    road.assess(world, request_id)
    assert (look(world), open_(world)) == (0, [])


def test_what_no_return_would_help_claims_nothing(world: World, lent_out: UUID) -> None:
    """A share of 6 is too small for 8, whatever others give back; and where there is room nothing is claimed."""
    share(world, "jyt", VCPU, 6)
    request_id = road.submit(world)
    road.approve(world, request_id)
    assert look(world) == 0
    share(world, "jyt", VCPU, 10)
    share(world, "450000", VCPU, 11)
    assert look(world) == 0  # the region is 9 over: with 8 more, the 10 that rst has borrowed do not suffice
    share(world, "450000", VCPU, 20)
    void(world, lent_out)
    hold(world, "rst", Line(X86, 1, cloud_of(world, "main")))
    assert look(world) == 0  # 11 of 20 are used: there is room, and nobody has to give anything back
    assert (told(world), open_(world)) == (set(), [])


def test_a_refused_hold_claims_too_and_is_forgotten_after_a_week(world: World, lent_out: UUID) -> None:
    """A program's hold has no request that says whether it still waits."""
    line, owner = Line(X86, 4, cloud_of(world, "main")), uuid4()
    with pytest.raises(QuotaExceeded):
        hold(world, "jyt", line, owner)
    for expected in (4, 0):
        with world.app.works.begin() as work:
            assert claims.for_refused(work, owner=owner, node=unit_of(world, "jyt"), lines=[line]) == expected
    assert (look(world), [claim.amount for claim in open_(world)]) == (0, [4])
    world.clock.forward(days=8)
    assert (look(world), open_(world)) == (0, [])


def test_a_borrower_has_three_marks(world: World) -> None:
    """80 % of its share; the share used up, from where on it borrows; and full, when it may not borrow any more."""
    with world.app.works.begin() as work:
        quotas.set_inventory(work.session, cloud_of(world, "main"), GPU, total=10**6)
    share(world, "slt", GPU, 10, borrowing=5)

    def marks(amount: int) -> list[str]:
        hold(world, "slt", Line(GPU, amount, cloud_of(world, "main")))
        with world.app.works.begin() as work:
            assert notices.tell(work, percent=80) in {0, 3}
        return [
            row.code for row in world.rows("SELECT DISTINCT code FROM broker.notice WHERE params->>'class' = 'gpu'")
        ]

    assert marks(8) == ["quota.near"]
    assert sorted(marks(2)) == ["quota.borrowing", "quota.near"]
    assert sorted(marks(4)) == ["quota.borrowing", "quota.near"]
    assert sorted(marks(1)) == ["quota.borrowing", "quota.full", "quota.near"]
    share(world, "slt", GPU, 10, borrowing=None)
    assert world.rows("SELECT 1 FROM broker.quota_mark WHERE \"full\" AND resource_class = 'gpu'")
    with world.app.works.begin() as work:
        assert notices.tell(work, percent=80) == 0  # a fall: it may borrow as far as there is room
    assert not world.rows("SELECT 1 FROM broker.quota_mark WHERE \"full\" AND resource_class = 'gpu'")

"""Statements as payers read them: sums beside last month's, and the rule and price version behind every line."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from broker.chargeback import overviews, statements
from broker.chargeback.views import Axis, ExplainedLine, Standing
from broker.db.base import new_id
from broker.errors import Forbidden, NotFound
from broker.lifecycle import Role
from broker.tenancy.values import SYSTEM
from tests.broker.chargeback.billed import SEPTEMBER, Billed, bill, close, person, settle
from tests.broker.chargeback.money_worlds import CITY, COUNTY, DEPARTMENT, MAIN, OTHER_CITY, REGION
from tests.broker.chargeback.small_region import NOW, OCTOBER, work


@pytest.fixture
def billed(session: Session) -> Billed:
    return bill(session)


def test_every_axis_sums_to_the_total_and_stands_beside_the_month_before(billed: Billed) -> None:
    """Systems, resource classes, clouds, units and rules are the same lines in other heaps."""
    found = statements.summary(billed.session, billed.statements[CITY], actor=SYSTEM, now=NOW)
    assert found.previous is not None
    for axis in Axis:
        assert sum(one.amount_fen for one in found.by(axis)) == found.head.total_fen
        assert sum(one.before_fen for one in found.by(axis)) == found.previous.total_fen == found.before_fen
        assert sum(one.lines for one in found.by(axis)) == found.lines
    assert {one.name: (one.amount_fen > 0, one.before_fen > 0) for one in found.by(Axis.METER)} == {
        "vcpu_x86_64": (True, True),
        "memory_gib": (True, True),
        "block_gib_ssd": (False, True),  # gone in October: it stays in the comparison
    }
    assert [one.name for one in found.by(Axis.SYSTEM)] == ["不动产登记系统", ""]
    assert {one.key for one in found.by(Axis.UNIT)} == {str(CITY), str(COUNTY)}
    assert [one.key for one in found.by(Axis.RULE)] == ["city_without_cloud|Art. 16(2)"]
    assert [one.key for one in found.by(Axis.CLOUD)] == [str(MAIN)]


def test_every_line_names_its_rule_article_and_price_version(billed: Billed) -> None:
    """Art. 16(2) or ours; the price change in mid-month makes two lines of one meter."""
    lines = list(statements.every_line(billed.session, billed.statements[CITY], actor=SYSTEM, now=NOW))
    assert {(x.payer_rule, x.article, x.tariff_version) for x in lines} == {("city_without_cloud", "Art. 16(2)", "v")}
    own = [x for x in lines if x.resource_id == billed.city.id and x.meter == "vcpu_x86_64"]
    assert sorted(f"{x.price_cny:f}" for x in own) == ["0.33333333", "0.36000000"]
    assert {x.system_name for x in own} == {"不动产登记系统"}
    region = list(statements.every_line(billed.session, billed.statements[REGION], actor=SYSTEM, now=NOW))
    assert {(x.payer_rule, x.article) for x in region} == {("region_budget", ""), ("unified_management", "Art. 16(3)")}


def test_pages_of_lines_meet_without_gap_or_overlap(billed: Billed) -> None:
    """The last line of a page is where the next begins."""
    one = billed.statements[CITY]
    whole = list(statements.every_line(billed.session, one, actor=SYSTEM, now=NOW))
    pages: list[ExplainedLine] = []
    after = None
    while page := statements.lines(billed.session, one, actor=SYSTEM, now=NOW, after=after, limit=2):
        pages += page
        after = page[-1].id
    assert pages == whole
    assert len(whole) == 6


def test_a_statement_says_whether_it_is_owed(billed: Billed) -> None:
    """Interim before the close, final after it; the older version says that it was replaced."""
    before = statements.summary(billed.session, billed.statements[CITY], actor=SYSTEM, now=NOW)
    final = close(billed.session)
    after = statements.summary(billed.session, final[CITY], actor=SYSTEM, now=NOW)
    old = statements.summary(billed.session, billed.statements[CITY], actor=SYSTEM, now=NOW)
    assert (before.standing, after.standing) == (Standing.INTERIM, Standing.CLOSED)
    assert (before.head.latest, old.head.latest, after.head.latest) == (True, False, True)
    assert after.head.total_fen == before.head.total_fen


@pytest.mark.parametrize(
    ("role", "unit", "sees"),
    [
        (Role.FINANCE, CITY, {CITY}),
        (Role.FINANCE, COUNTY, {CITY}),
        (Role.FINANCE, REGION, {CITY, OTHER_CITY, REGION}),
        (Role.AUDIT, DEPARTMENT, {CITY, OTHER_CITY, REGION}),
        (Role.APPLICANT, CITY, set()),
    ],
)
def test_overviews_and_lines_keep_to_who_sees_what(billed: Billed, role: Role, unit: UUID, sees: set[UUID]) -> None:
    """A city's finance sees its city, the region's and audit all, others nothing (0005)."""
    actor = person(billed.session, role, unit)
    mine = work(billed.session, actor)
    found = overviews.payers(mine, OCTOBER)
    assert {row.payer_unit_id for row in found.payers} == sees
    assert {point.payer_unit_id for point in found.trend} == sees
    for payer, one in billed.statements.items():
        if payer in sees:
            assert overviews.payer(mine, payer, OCTOBER).statement.head.id == one
            assert statements.lines(billed.session, one, actor=actor, now=NOW)
        else:
            with pytest.raises(NotFound):
                overviews.payer(mine, payer, OCTOBER)
            with pytest.raises(NotFound):
                statements.lines(billed.session, one, actor=actor, now=NOW)


def test_the_overview_compares_with_the_month_before_and_names_the_movers(billed: Billed) -> None:
    """What each payer owes, its change and its months; the largest change first."""
    found = overviews.payers(work(billed.session), OCTOBER)
    by_payer = {row.payer_unit_id: row for row in found.payers}
    assert by_payer[CITY].change_fen > 0 > by_payer[OTHER_CITY].change_fen
    assert found.total_fen == sum(row.total_fen for row in found.payers)
    assert found.before_fen == overviews.payers(work(billed.session), SEPTEMBER).total_fen
    assert [abs(row.change_fen) for row in found.movers] == sorted(
        (abs(row.change_fen) for row in found.movers), reverse=True
    )
    assert (found.months[-1], len(found.months)) == (OCTOBER, overviews.TREND_MONTHS)
    assert {(p.month, p.total_fen) for p in found.trend if p.payer_unit_id == CITY} == {
        (SEPTEMBER, by_payer[CITY].before_fen),
        (OCTOBER, by_payer[CITY].total_fen),
    }
    city = overviews.payer(work(billed.session), CITY, OCTOBER)
    assert {mover.resource_id for mover in city.movers} == {billed.city.id, billed.county.id}
    assert sum(mover.change_fen for mover in city.movers) == city.payer.change_fen


def test_the_bureau_sees_industry_clouds_and_their_step_down(billed: Billed) -> None:
    """Art. 16(3): under unified management at the Bureau's cost; outside, a ceiling a year that steps down."""
    found = overviews.bureau(work(billed.session), OCTOBER)
    (cloud,) = found.clouds
    assert (cloud.unified, cloud.payers) == (True, ("unit 1",))
    assert cloud.by_month[-1] == cloud.month_fen > 0
    assert cloud.spent_fen == cloud.month_fen + cloud.before_fen
    assert found.total(unified=True) == cloud.month_fen
    assert found.total(unified=False) == 0
    assert found.main_by_month[-1] > 0
    assert found.months[0].number == 1
    for role, unit in ((Role.FINANCE, CITY), (Role.APPLICANT, REGION), (Role.APPROVER, CITY)):
        with pytest.raises(Forbidden):
            overviews.bureau(work(billed.session, person(billed.session, role, unit)), OCTOBER)


def test_settlements_are_for_who_sees_the_region(billed: Billed) -> None:
    """What operators are owed (Art. 15) is nobody's business in a city."""
    settle(billed.session)
    close(billed.session)
    head, unpriced = overviews.settlements(work(billed.session))
    assert (unpriced.total_fen, unpriced.operator) == (0, "two")
    found = overviews.settlement(work(billed.session), head.id)
    assert (found.head.operator, found.head.total_fen) == ("one", sum(line.amount_fen for line in found.lines))
    assert {line.tariff_version for line in found.lines} == {"settle-2026"}
    assert [row.id for row in found.trend] == [head.id]
    assert overviews.settlements(work(billed.session), SEPTEMBER) == ()
    with pytest.raises(NotFound):
        overviews.settlement(work(billed.session), new_id())
    with pytest.raises(Forbidden):
        overviews.settlements(work(billed.session, person(billed.session, Role.FINANCE, CITY)))


def test_overviews_read_sums_in_few_statements(billed: Billed) -> None:
    """However many lines there are: only what moved most compares them."""
    close(billed.session)
    sent: list[str] = []
    event.listen(billed.session.connection(), "before_cursor_execute", lambda *args: sent.append(args[2]))
    overviews.payer(work(billed.session), CITY, OCTOBER)
    assert (len(sent), sum("broker.charge " in one for one in sent)) == (8, 1)
    sent.clear()
    overviews.bureau(work(billed.session), OCTOBER)
    assert (len(sent), sum("broker.charge " in one for one in sent)) == (4, 0)

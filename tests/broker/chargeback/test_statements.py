"""Statements: who pays, versions, what is refused, who sees what, and what a request has cost so far."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from broker.audit.models import AuditEvent
from broker.chargeback import access, closing, repository, service
from broker.chargeback.access import Scope
from broker.chargeback.models import Charge, Statement
from broker.chargeback.values import StatementRow
from broker.db.base import new_id
from broker.errors import BrokerError, Conflict, Forbidden, Invalid, NotFound
from broker.lifecycle import Role
from broker.pricing.models import FinanceOffice, TariffPrice
from broker.pricing.rules import show_fen
from broker.tenancy.models import Unit, UnitPeriod
from broker.tenancy.values import SYSTEM, Actor
from tests.broker.chargeback.money_oracle import PriceRow
from tests.broker.chargeback.money_worlds import (
    CITY,
    CITY_CLOUD,
    COUNTY,
    DEPARTMENT,
    INDUSTRY,
    LONG_AGO,
    MAIN,
    OTHER_CITY,
    REGION,
    Period,
    World,
    add_thing,
    during,
    store,
)
from tests.broker.chargeback.small_region import (
    ALWAYS,
    END,
    HOUR,
    NOW,
    OCTOBER,
    PAYERS,
    PRICES,
    START,
    running,
    thing,
    work,
    world,
)


def person(role: Role, unit: UUID) -> Actor:
    return Actor(new_id(), unit, frozenset({role}))


def count(session: Session, table: type) -> int:
    return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_city_without_a_cloud_pays_for_the_main_one_and_so_does_it_for_its_counties(session: Session) -> None:
    """Art. 16(2); every line names the rule and the article that put it there."""
    own, countys = thing(CITY, MAIN, running(START, None)), thing(COUNTY, MAIN, running(START, None, vcpu=2))
    departments = thing(DEPARTMENT, MAIN, running(START, None))
    industry, with_cloud = (
        thing(DEPARTMENT, INDUSTRY, running(START, None)),
        thing(OTHER_CITY, CITY_CLOUD, running(START, None)),
    )
    store(session, world(own, countys, departments, industry, with_cloud))
    shown = service.preview(session, OCTOBER)
    assert {x.resource_id: (x.payer_unit_id, x.payer_rule, x.article) for x in shown.lines} == {
        own.id: (CITY, "city_without_cloud", "Art. 16(2)"),
        countys.id: (CITY, "city_without_cloud", "Art. 16(2)"),
        departments.id: (REGION, "region_budget", ""),
        industry.id: (REGION, "unified_management", "Art. 16(3)"),
        with_cloud.id: (OTHER_CITY, "own_city_cloud", ""),
    }
    month_fen = 36 * 24 * 31
    assert shown.totals == {CITY: 3 * month_fen, REGION: 2 * month_fen, OTHER_CITY: month_fen}
    only = service.preview(session, OCTOBER, payer_unit_id=CITY)
    assert (only.totals, {x.unit_id for x in only.lines}) == ({CITY: 3 * month_fen}, {CITY, COUNTY})


def test_a_stopped_server_keeps_paying_for_its_disk_only(session: Session) -> None:
    """Ours: vCPU and memory are free while stopped."""
    stopped = Period("stopped", 4, 8, 100, (START, None))
    store(session, world(thing(CITY, MAIN, stopped)))
    assert {x.meter: x.amount_fen for x in service.preview(session, OCTOBER).lines} == {"block_gib_ssd": 9000}


def test_a_price_change_at_an_odd_second_splits_the_line(session: Session) -> None:
    """Each version its own line, each rounded once; the sub-cloud's own price wins while it lasts."""
    change, special = (
        START + timedelta(seconds=12345),
        (START + timedelta(seconds=20001), START + timedelta(seconds=30001)),
    )
    prices = [
        PriceRow(new_id(), "vcpu_x86_64", None, "0.36", "hour", (LONG_AGO, change)),
        PriceRow(new_id(), "vcpu_x86_64", None, "0.18", "hour", (change, None)),
        PriceRow(new_id(), "vcpu_x86_64", MAIN, "0.01", "hour", special),
    ]
    store(session, world(thing(CITY, MAIN, running(START, START + timedelta(seconds=50000))), prices=prices))
    lines = service.preview(session, OCTOBER).lines
    assert [(x.price_cny, int(x.quantity_seconds), x.amount_fen) for x in sorted(lines, key=lambda x: x.price_cny)] == [
        (Decimal("0.01"), 10000, 3),  # 2.78
        (Decimal("0.18"), 50000 - 12345 - 10000, 138),  # 138.275
        (Decimal("0.36"), 12345, 123),  # 123.45
    ]


@pytest.mark.parametrize(("seconds", "fen"), [(100, 0), (300, 2), (500, 2), (700, 4), (301, 2), (299, 1)])
def test_the_database_rounds_half_a_fen_to_even(session: Session, seconds: int, fen: int) -> None:
    """NUMERIC's own round() would make 1, 2, 3 and 4 of the ties 0.5, 1.5, 2.5 and 3.5."""
    end = START + timedelta(seconds=seconds)
    store(session, world(thing(CITY, MAIN, running(START, end, vcpu=0, memory=1))))
    assert [x.amount_fen for x in service.preview(session, OCTOBER).lines] == [fen]


def test_so_far_and_to_the_months_end(session: Session) -> None:
    """``until`` cuts what is running; without it what is running counts to the month's end, and not beyond."""
    store(session, world(thing(CITY, MAIN, running(START - HOUR, None))))
    assert service.preview(session, OCTOBER, until=START + HOUR).total_fen == 36
    assert service.preview(session, OCTOBER).total_fen == service.preview(session, OCTOBER, until=NOW).total_fen
    assert service.preview(session, OCTOBER, until=START).lines == ()


def test_an_issued_statement_is_its_lines_and_is_on_record(session: Session) -> None:
    """Totals are sums of lines; one audit event a statement; ids are ordered by time (UUIDv7)."""
    store(
        session, world(thing(CITY, MAIN, running(START, None, disk=7)), thing(DEPARTMENT, MAIN, running(START, None)))
    )
    issued = closing.issue(work(session), OCTOBER)
    assert {(x.payer_unit_id, x.version, x.lines) for x in issued} == {(CITY, 1, 2), (REGION, 1, 1)}
    for one in issued:
        view = service.statement(session, one.id, actor=SYSTEM, now=NOW)
        assert view.head.total_fen == one.total_fen == sum(x.amount_fen for x in view.lines) > 0
        assert (view.head.month, view.head.covers_until, view.head.latest) == (OCTOBER.first_day, END, True)
        assert one.id.version == 7
        assert all(x.unit_name and x.resource_number and x.tariff_version == "v" for x in view.lines)
    preview = {
        (x.resource_id, x.meter, x.amount_fen, x.quantity_seconds) for x in service.preview(session, OCTOBER).lines
    }
    rows = session.scalars(select(Charge)).all()
    assert {(x.resource_id, x.meter, x.amount_fen, x.quantity_seconds) for x in rows} == preview
    session.flush()
    noted = session.scalars(select(AuditEvent.subject_id).where(AuditEvent.action == "statement.issue")).all()
    assert set(noted) == {x.id for x in issued}


def test_issuing_again_writes_a_new_version_of_every_statement(session: Session) -> None:
    """The old one stays; a payer who owes nothing any more gets zero, so the newest version of a month is complete."""
    city, department = (
        thing(CITY, MAIN, running(START, None)),
        thing(DEPARTMENT, MAIN, running(START + 240 * HOUR, None)),
    )
    store(session, world(city))
    first = closing.issue(work(session, now=START + HOUR), OCTOBER)
    assert [(x.payer_unit_id, x.total_fen) for x in first] == [(CITY, 36)]
    add_thing(session, department, number="late")
    session.query(TariffPrice).where(TariffPrice.meter == "vcpu_x86_64").update({"price_cny": Decimal("0.72")})
    second = closing.issue(work(session), OCTOBER)
    assert {(x.payer_unit_id, x.version) for x in second} == {(CITY, 2), (REGION, 2)}
    assert {x.total_fen for x in second} == {72 * 24 * 31, 72 * 24 * 21}
    latest = service.list_statements(session, SYSTEM, now=NOW)
    assert {x.version for x in latest} == {2}
    everything = service.list_statements(session, SYSTEM, now=NOW, only_latest=False)
    assert [(x.version, x.latest) for x in everything if x.payer_unit_id == CITY] == [(2, True), (1, False)]


def test_a_payer_without_lines_in_the_new_version_owes_zero(session: Session) -> None:
    """Its older statement is replaced, not forgotten."""
    store(session, world(thing(CITY, MAIN, running(START, None))))
    session.add(
        Statement(
            payer_unit_id=OTHER_CITY,
            month=OCTOBER.first_day,
            version=4,
            total_fen=5,
            covers_until=START + HOUR,
            created_at=START + HOUR,
        )
    )
    session.flush()
    issued = closing.issue(work(session), OCTOBER)
    assert {(x.payer_unit_id, x.version, x.total_fen > 0, x.lines) for x in issued} == {
        (CITY, 5, True, 1),
        (OTHER_CITY, 5, False, 0),
    }


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda w: world(*w.things, prices=PRICES[1:]), "charge.price_missing"),
        (lambda w: world(*w.things, payers=PAYERS[1:2]), "charge.payer_missing"),
        (
            lambda w: world(*w.things, prices=[PriceRow(new_id(), "vcpu_x86_64", None, "9999999999", "hour", ALWAYS)]),
            "charge.limit",
        ),
    ],
)
def test_nothing_is_issued_when_a_line_cannot_be(session: Session, change: Callable[[World], World], code: str) -> None:
    """Never free in silence and never absurd: all of it is refused, named by resource and meter, nothing is written."""
    bad = thing(CITY, MAIN, running(START, None))
    store(session, change(world(bad)))
    with pytest.raises(Invalid) as refused:
        closing.issue(work(session), OCTOBER)
    assert [(p.code, p.field, p.params["meter"]) for p in refused.value.problems] == [
        (code, str(bad.id), "vcpu_x86_64")
    ]
    assert count(session, Statement) == count(session, Charge) == 0


def test_a_month_that_has_not_begun_has_no_statement(session: Session) -> None:
    """Not even an empty one."""
    with pytest.raises(Conflict) as refused:
        closing.issue(work(session, now=START), OCTOBER)
    assert refused.value.code == "statement.month_not_begun"


@pytest.mark.parametrize(
    ("role", "unit", "may"),
    [
        (Role.FINANCE, REGION, True),
        (Role.FINANCE, DEPARTMENT, False),
        (Role.FINANCE, CITY, False),
        (Role.FINANCE, COUNTY, False),
        (Role.ADMINISTRATOR, DEPARTMENT, True),
        (Role.AUDIT, REGION, False),
        (Role.APPLICANT, REGION, False),
    ],
)
def test_only_the_regions_finance_and_the_administrator_issue(
    session: Session, role: Role, unit: UUID, *, may: bool
) -> None:
    """Audit reads everything and changes nothing (Art. 16(3))."""
    store(session, world(thing(CITY, MAIN, running(START, None))))
    with nullcontext() if may else pytest.raises(Forbidden):
        closing.issue(work(session, person(role, unit)), OCTOBER)
    assert count(session, Statement) == (1 if may else 0)


@pytest.mark.parametrize(
    ("role", "unit", "sees"),
    [
        (Role.FINANCE, CITY, {CITY}),
        (Role.FINANCE, COUNTY, set()),
        (Role.FINANCE, OTHER_CITY, {OTHER_CITY}),
        (Role.FINANCE, REGION, {REGION, CITY, OTHER_CITY}),
        (Role.FINANCE, DEPARTMENT, {REGION}),
        (Role.AUDIT, CITY, {REGION, CITY, OTHER_CITY}),
        (Role.ADMINISTRATOR, CITY, {REGION, CITY, OTHER_CITY}),
        (Role.APPLICANT, CITY, set()),
        (Role.APPROVER, REGION, set()),
    ],
)
def test_finance_sees_its_payers_tree_and_nothing_else(
    session: Session, role: Role, unit: UUID, sees: set[UUID]
) -> None:
    """In the list and by id; what one may not see is not there."""
    store(
        session,
        world(
            thing(CITY, MAIN, running(START, None)),
            thing(DEPARTMENT, MAIN, running(START, None)),
            thing(OTHER_CITY, CITY_CLOUD, running(START, None)),
        ),
    )
    issued = closing.issue(work(session), OCTOBER)
    actor = person(role, unit)
    assert {x.payer_unit_id for x in service.list_statements(session, actor, now=NOW)} == sees
    for one in issued:
        if one.payer_unit_id in sees:
            assert service.statement(session, one.id, actor=actor, now=NOW).head.id == one.id
        else:
            with pytest.raises(NotFound):
                service.statement(session, one.id, actor=actor, now=NOW)


def test_a_department_acts_for_the_region_only_while_it_is_its_finance_office(session: Session) -> None:
    """A dated row says so, not that it stands below; before and after, it sees its own lines of the region's bill."""
    store(
        session,
        world(thing(DEPARTMENT, MAIN, running(START, None)), thing(REGION, MAIN, running(START, None, vcpu=5))),
    )
    closing.issue(work(session), OCTOBER)
    office = person(Role.FINANCE, DEPARTMENT)

    def seen(now: datetime) -> tuple[Scope, list[tuple[int, bool]]]:
        rows = service.list_statements(session, office, now=now)
        return access.scope(session, office, now), [(x.total_fen, x.part) for x in rows]

    session.add(
        FinanceOffice(office_unit_id=DEPARTMENT, payer_unit_id=REGION, during=Range(NOW, NOW + 24 * HOUR, bounds="[)"))
    )
    session.flush()
    part = Scope(everything=False, root_unit_id=REGION, payer_unit_id=None, whole_region=False, part_unit_id=DEPARTMENT)
    assert seen(NOW - HOUR) == (part, [(36 * 744, True)])
    assert seen(NOW) == (Scope(False, REGION, REGION, whole_region=True), [(6 * 36 * 744, False)])
    assert seen(NOW + 24 * HOUR) == (part, [(36 * 744, True)])
    assert [closing.may_close(work(session, office, at)) for at in (NOW - HOUR, NOW)] == [False, True]
    assert repository.finance_units(session, REGION, NOW) == sorted([REGION, DEPARTMENT])
    below = Unit(id=new_id(), code="below-the-office", kind="office")
    session.add(below)
    session.flush()
    line = [REGION, DEPARTMENT, below.id]
    session.add(UnitPeriod(unit_id=below.id, parent_id=DEPARTMENT, name="x", ancestors=line, during=during(ALWAYS)))
    session.flush()
    office = person(Role.FINANCE, below.id)
    assert seen(NOW) == (part, [(36 * 744, True)])
    assert not closing.may_close(work(session, office))


def test_pages_of_statements_meet_without_gap_or_overlap(session: Session) -> None:
    """Newest first; the last id of a page is where the next begins; filters hold."""
    store(session, world(thing(CITY, MAIN, running(START, None)), thing(DEPARTMENT, MAIN, running(START, None))))
    for hours in range(1, 5):
        closing.issue(work(session, now=START + hours * HOUR), OCTOBER)
    whole = service.list_statements(session, SYSTEM, now=NOW, only_latest=False)
    pages: list[StatementRow] = []
    before = None
    while page := service.list_statements(session, SYSTEM, now=NOW, only_latest=False, limit=3, before=before):
        pages += page
        before = page[-1].id
    assert pages == list(whole)
    assert len(whole) == 8
    mine = service.list_statements(session, SYSTEM, now=NOW, payer_unit_id=CITY, month=OCTOBER)
    assert [(x.payer_unit_id, x.version) for x in mine] == [(CITY, 4)]
    assert service.list_statements(session, SYSTEM, now=NOW, month=OCTOBER.next) == ()


def test_what_a_request_has_cost_grows_with_every_second(session: Session) -> None:
    """Rated live over all months, without rounding in between; nothing before the first second."""
    request, begin = new_id(), END - timedelta(seconds=5)
    store(session, world(thing(CITY, MAIN, running(begin, None))), request_id=request)
    costs = [service.resource_cost_to_date(session, request, begin + timedelta(seconds=s)) for s in (0, 1, 5, 10, 110)]
    assert [show_fen(c.exact_fen, 2) for c in costs] == ["0.00", "0.01", "0.05", "0.10", "1.10"]
    assert [c.total_fen for c in costs] == [0, 0, 0, 0, 1]
    assert {x.month for x in costs[-1].lines} == {OCTOBER, OCTOBER.next}
    assert service.resource_cost_to_date(session, new_id(), NOW).lines == ()


def test_two_people_who_issue_at_once_make_two_versions(engine: Engine) -> None:
    """The second waits for the first and bills anew; neither fails and no version is written twice."""
    with Session(engine) as session, session.begin():
        store(session, world(thing(CITY, MAIN, running(START, None)), thing(DEPARTMENT, MAIN, running(START, None))))

    def one(_: int) -> set[int]:
        with Session(engine) as session, session.begin():
            return {x.version for x in closing.issue(work(session), OCTOBER)}

    with ThreadPoolExecutor(4) as threads:
        versions = list(threads.map(one, range(4)))
    assert sorted(versions, key=min) == [{1}, {2}, {3}, {4}]
    with Session(engine) as session:
        assert count(session, Statement) == 8


def test_a_refusal_carries_an_error_of_the_vocabulary(session: Session) -> None:
    """Codes, not words: what the API turns into problem+json."""
    with pytest.raises(BrokerError) as refused:
        service.statement(session, new_id(), actor=SYSTEM, now=datetime.now(UTC))
    assert (refused.value.code, refused.value.status) == ("statement.unknown", 404)

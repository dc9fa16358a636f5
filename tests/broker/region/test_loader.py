"""The region file becomes rows; again it changes nothing; edited it adds, and no history is rewritten."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from broker.catalog.models import SubCloud, SubCloudAuthority, SubCloudOperator
from broker.inventory.models import InformationSystem
from broker.pricing.models import TariffPrice
from broker.pricing.repository import payer_of
from broker.region.loader import DEMONSTRATION_PASSWORD, LoadReport, load
from broker.region.plan import candidate_pools, own_pool_id
from broker.region.reading import RegionError, read_region
from broker.tenancy.models import Account, Person, RoleGrant, Unit, UnitPeriod
from quotas import models as quota_models
from tests.broker.region.editing import AS_SHIPPED, NOW, Edited, append, drop, hashed, loaded, put


def unit(session: Session, code: str) -> UUID:
    found = session.scalars(select(Unit.id).where(Unit.code == code)).one()
    assert isinstance(found, UUID)
    return found


def refusals(session: Session, path: Path) -> set[tuple[str, str]]:
    with pytest.raises(RegionError) as refusal, session.begin_nested():
        loaded(session, path)
    return {(problem.code, problem.field) for problem in refusal.value.problems}


def test_a_second_load_changes_nothing(session: Session) -> None:
    """Idempotent, to the row."""
    first = loaded(session)
    assert first.counts["unit.added"] == 249
    assert first.counts["sub_cloud.added"] == 17
    second = loaded(session)
    assert second.nothing_changed, dict(second.counts)


def test_a_load_is_one_audit_event(session: Session) -> None:
    """Who looks later sees when the region changed; a load without effect leaves no trace."""
    loaded(session)
    session.flush()
    count = "SELECT count(*) FROM broker.audit_event WHERE action = 'region.loaded'"
    assert session.connection().exec_driver_sql(count).scalar_one() == 1
    loaded(session)
    session.flush()
    assert session.connection().exec_driver_sql(count).scalar_one() == 1


def test_units_form_a_tree_with_their_ancestors(world: Session) -> None:
    """From the root to the unit itself, and the division each lies in."""
    office = unit(world, "450203-zfb")
    period = world.scalars(select(UnitPeriod).where(UnitPeriod.unit_id == office)).one()
    assert period.ancestors == [unit(world, code) for code in ("450000", "450200", "450203", "450203-zfb")]
    assert period.during.upper is None
    assert world.get_one(Unit, office).division_code == "450203"
    assert world.get_one(Unit, unit(world, "jyt")).division_code == "450000"


@pytest.mark.parametrize(
    ("unit_code", "tier", "pays", "article"),
    [
        ("451481", "main", "451400", "Art. 16(2)"),
        ("451400", "main", "451400", "Art. 16(2)"),
        ("450203", "city", "450200", ""),
        ("jyt-zsksy", "main", "450000", ""),
        ("jyt", "industry", "dsjfzj", "Art. 16(3)"),
        ("wjw", "industry", "dsjfzj", "Art. 16(3)"),
    ],
)
def test_who_pays_follows_the_tree(world: Session, unit_code: str, tier: str, pays: str, article: str) -> None:
    """A county of a city without a cloud: the city pays (Art. 16(2)); a department: the region's budget (ours)."""
    found = payer_of(world, unit(world, unit_code), tier, NOW)
    assert found is not None
    assert (found[0], found[2]) == (unit(world, pays), article)


def test_an_industry_cloud_outside_unified_management_is_paid_by_its_own(world: Session) -> None:
    """Art. 16(3): whoever uses it, its department pays; the Bureau arranges the others."""
    cloud = world.scalars(select(SubCloud.id).where(SubCloud.code == "wjw")).one()
    found = payer_of(world, unit(world, "jyt"), "industry", NOW, cloud)
    assert found == (unit(world, "wjw"), "own_industry_cloud", "Art. 16(3)")


def test_accounts_have_a_password_in_a_demonstration_only(world: Session) -> None:
    """Elsewhere nobody can sign in until somebody sets one."""
    assert set(world.scalars(select(Account.password_hash))) == {None}
    report = loaded(world, demonstration=True)
    assert dict(report.counts) == {"account.changed": 34}
    assert set(world.scalars(select(Account.password_hash))) == {hashed(DEMONSTRATION_PASSWORD)}
    assert loaded(world).nothing_changed


def test_every_role_of_the_road_is_there(world: Session) -> None:
    """Applicants, leaders, two approvers, two assessors, two operators, and those who watch."""
    roles = list(world.scalars(select(RoleGrant.role)))
    for role in ("finance", "audit", "cloud_operator", "administrator"):
        assert roles.count(role) == 1
    for role in ("applicant", "unit_leader", "approver", "assessor", "operator", "cloud_chief"):
        assert roles.count(role) >= 2


def test_capacity_limits_and_prefixes_stand_in_quotas(world: Session) -> None:
    """A cloud's cores with ratio and reserve; a unit's limit; a pool for its segments in each zone."""
    main = world.scalars(select(SubCloud).where(SubCloud.code == "main")).one()
    stock = quota_models.inventory
    cores = world.execute(
        select(stock).where(stock.c.pool_id == main.id, stock.c.resource_class == "vcpu_x86_64")
    ).one()
    assert (cores.total, cores.reserved, cores.capacity) == (8192, 819, (8192 - 819) * 4)
    limit = quota_models.node_limit
    jyt = unit(world, "jyt")
    assert world.scalar(
        select(limit.c.limit_amount).where(limit.c.node_id == jyt, limit.c.resource_class == "vcpu")
    ) == 2400  # fmt: skip
    pools = set(world.scalars(select(quota_models.prefix_pool.c.id)))
    assert own_pool_id(jyt, "private") in pools
    office = world.scalars(select(UnitPeriod).where(UnitPeriod.unit_id == unit(world, "450203-zfb"))).one()
    first = next(pool for pool in candidate_pools(office.ancestors, "shared") if pool in pools)
    assert first == own_pool_id(unit(world, "450203-zfb"), "shared")


def test_a_simulated_cloud_is_as_large_as_its_capacity_says(world: Session) -> None:
    """One number in the file, not two that drift apart; and nothing secret among the options."""
    beihai = world.scalars(select(SubCloud).where(SubCloud.code == "city-450500")).one()
    assert beihai.options["vcpu_x86_64"] == str(1024 * 3)
    assert beihai.options["vcpu_aarch64"] == "0"
    assert beihai.options_ref == "city-450500"


def test_what_may_be_edited_is_updated(world: Session, edited: Edited) -> None:
    """Names, sizes, whose people a cloud operator's are, people's titles, quotas, capacity."""
    report = loaded(
        world,
        edited(
            put("sub_clouds", 0, "operator_changes", value=[{"operator": "另一家演示公司", "from": date(2027, 1, 1)}]),
            put("people", 29, "operator", value="另一家演示公司"),
            put("people", 0, "title", value="主任"),
            put("offerings", "large", "volumes", 0, "max_gib", value=20000),
            put("quotas", 0, "limits", "vcpu", value=3000),
            put("sub_clouds", 0, "capacity", "compute", "x86_64", "cores", value=9000),
            put("information_systems", 0, "frequency_of_use", value="每周"),
        ),
    )
    assert dict(report.counts) == {
        "information_system.changed": 1,
        "inventory.changed": 1,
        "node_limit.changed": 1,
        "offering.changed": 1,
        "person.changed": 1,
        "role_grant.changed": 1,
        "sub_cloud.changed": 1,
        "sub_cloud_operator.added": 1,
        "sub_cloud_operator.changed": 1,
        "system_revision.added": 1,
    }
    operating = select(SubCloudOperator).join(SubCloud).where(SubCloud.code == "main").order_by(SubCloudOperator.during)
    new_year = datetime(2026, 12, 31, 16, tzinfo=UTC)
    assert [(row.operator, row.during.lower, row.during.upper) for row in world.scalars(operating)] == [
        ("桂云演示运营有限公司", None, new_year),
        ("另一家演示公司", new_year, None),
    ]
    world.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    assert world.scalars(select(Person.title).where(Person.name == "韦海燕")).one() == "主任"
    systems = select(InformationSystem.frequency_of_use).where(InformationSystem.code == "jyt-xjgl")
    assert world.scalars(systems).one() == "每周"


def test_a_new_price_ends_the_old_one_on_its_day(world: Session, edited: Edited) -> None:
    """Dated rows: the past keeps its price."""
    price = {
        "meter": "memory_gib",
        "price_cny": "15.5",
        "per": "month",
        "from": date(2027, 1, 1),
        "version": "demo-2027",
        "source": "made up for this test",
    }
    report = loaded(world, edited(append("prices", price)))
    assert dict(report.counts) == {"tariff_price.added": 1, "tariff_price.changed": 1}
    ours = (TariffPrice.meter == "memory_gib") & (TariffPrice.side == "charge")
    rows = world.scalars(select(TariffPrice).where(ours).order_by(TariffPrice.during))
    new_year = datetime(2026, 12, 31, 16, tzinfo=UTC)
    assert [(row.version, row.during.upper) for row in rows] == [("demo-2025", new_year), ("demo-2027", None)]


def test_another_authority_from_a_day_on(world: Session, edited: Edited) -> None:
    """Who decides has dates; who assesses and delivers stays in one row, as nothing about it changed."""
    later = {"decides": "fgw", "assesses": "dsjfzj-xxzx", "delivers": "dsjfzj-xxzx", "from": date(2027, 3, 1)}

    def add(data: dict[str, Any]) -> None:
        data["sub_clouds"][0]["authorities"].append(later)

    loaded(world, edited(add))
    main = select(SubCloud.id).where(SubCloud.code == "main").scalar_subquery()
    rows = world.scalars(
        select(SubCloudAuthority).where(SubCloudAuthority.sub_cloud_id == main, SubCloudAuthority.duty == "decide")
    ).all()
    assert {row.unit_id: row.during.upper is None for row in rows} == {
        unit(world, "dsjfzj"): False,
        unit(world, "fgw"): True,
    }
    assert loaded(world, edited(add)).nothing_changed


def test_a_unit_that_moves_takes_those_below_it_along(world: Session, edited: Edited) -> None:
    """机构改革: from the day on another parent and name; what was before stays on record."""
    moved = {"unit": "dsjfzj-xxzx", "from": date(2027, 1, 1), "parent": "fgw", "name": "自治区数据中心"}
    report = loaded(world, edited(put("units", "changes", value=[moved])))
    assert dict(report.counts) == {"unit_period.added": 1, "unit_period.changed": 1}
    periods = world.scalars(
        select(UnitPeriod).where(UnitPeriod.unit_id == unit(world, "dsjfzj-xxzx")).order_by(UnitPeriod.during)
    ).all()
    assert [(p.name, p.parent_id) for p in periods] == [
        ("自治区信息中心", unit(world, "dsjfzj")),
        ("自治区数据中心", unit(world, "fgw")),
    ]
    county = {"unit": "450200", "from": date(2027, 6, 1), "name": "柳州新市"}
    report = loaded(world, edited(put("units", "changes", value=[moved, county])))
    assert dict(report.counts) == {"unit_period.added": 1, "unit_period.changed": 1}, "a name is the unit's alone"


def test_history_is_not_rewritten(world: Session, edited: Edited) -> None:
    """What held until today was acted on: bills, decisions. All such edits are named, and nothing is written."""
    past = {"meter": "memory_gib", "price_cny": "1", "per": "month", "version": "x", "source": "x"}
    path = edited(
        put("prices", 0, "price_cny", value="1"),
        append("prices", {**past, "from": date(2026, 11, 1)}),
        put("payers", 3, "pays", value="450000"),
        put("home_clouds", 1, "cloud", value="main"),
        put("units", "more", 0, "name", value="改名"),
        put("people", 0, "unit", value="slt"),
        put("sub_clouds", 1, "provider", value="openstack"),
        put("units", "more", 1, "block", value="e0"),
    )
    found = refusals(world, path)
    assert found == {
        ("region.history", "prices[0]"),
        ("region.history", "prices[18]"),
        ("region.history", "payers[3]"),
        ("region.history", "home_clouds[1]"),
        ("region.history", "units.gat-kjxx"),
        ("region.fixed", "people[0].unit"),
        ("region.fixed", "sub_clouds[1].provider"),
    }
    assert loaded(world).nothing_changed


def test_an_operator_is_put_right_as_long_as_nothing_was_closed(world: Session, edited: Edited) -> None:
    """A misspelt name from the beginning on, and a contract that the file learns of late; a price names one that is."""
    change = {"operator": "新运营方", "from": date(2026, 11, 5)}
    path = edited(
        put("sub_clouds", 2, "operator", value="拼写更正"), put("sub_clouds", 2, "operator_changes", value=[change])
    )
    assert dict(loaded(world, path).counts) == {"sub_cloud_operator.added": 1, "sub_cloud_operator.changed": 2}
    cloud_id = world.scalars(select(SubCloud.id).where(SubCloud.code == "rst")).one()
    rows = (
        select(SubCloudOperator.operator, SubCloudOperator.during)
        .where(SubCloudOperator.sub_cloud_id == cloud_id)
        .order_by(SubCloudOperator.during)
    )
    since = datetime(2026, 11, 4, 16, tzinfo=UTC)
    assert [(name, span.lower, span.upper) for name, span in world.execute(rows)] == [
        ("拼写更正", None, since), ("新运营方", since, None),
    ]  # fmt: skip
    assert loaded(world, path).nothing_changed
    # A day put right: who it was in between is what the file says now.
    change["from"] = date(2026, 11, 9)
    names = (
        put("sub_clouds", 2, "operator", value="拼写更正"),
        put("sub_clouds", 2, "operator_changes", value=[change]),
    )
    loaded(world, edited(*names))
    assert [(name, span.lower) for name, span in world.execute(rows)] == [
        ("拼写更正", None), ("拼写更正", since), ("新运营方", since + timedelta(days=4)),
    ]  # fmt: skip
    price = {"meter": "gpu", "price_cny": "1", "per": "month", "version": "x", "source": "x", "operator": "拼写更错"}
    with pytest.raises(RegionError) as refused:
        read_region(edited(append("prices", price)))
    assert [(p.code, p.field) for p in refused.value.problems] == [("region.unknown_value", "prices[18].operator")]


def test_a_block_once_given_stays(world: Session, edited: Edited) -> None:
    """A unit's addresses do not move, and no other unit gets them."""
    assert refusals(world, edited(put("units", "more", 1, "block", value="e0"))) == {
        ("region.fixed", "units.gat-xxzx.block")
    }
    assert loaded(world).nothing_changed


def test_what_the_file_no_longer_names_stays(world: Session, edited: Edited) -> None:
    """Nothing is deleted: units, people and clouds end by a date, not by a missing line."""
    report = loaded(world, edited(drop("people", 33), drop("information_systems", 1)))
    assert report.nothing_changed
    assert world.scalars(select(Account.login).where(Account.login == "admin")).one() == "admin"


def test_a_blanked_person_stays_blank(world: Session) -> None:
    """Personal data that was erased does not come back from a file."""
    person = world.scalars(select(Person).where(Person.name == "韦海燕")).one()
    person.name, person.blanked_at = "", NOW
    world.flush()
    assert loaded(world).nothing_changed


def test_two_loads_at_once_make_one_region(engine: Engine) -> None:
    """The second waits, and finds nothing to do."""
    reports: list[LoadReport] = []

    def run() -> None:
        with Session(engine) as session, session.begin():
            reports.append(load(session, AS_SHIPPED, now=NOW, demonstration=False, hasher=hashed))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    assert sorted(report.nothing_changed for report in reports) == [False, True]

"""Usage spans derive from a resource's periods."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from broker.catalog.models import SubCloud
from broker.db.base import new_id
from broker.inventory.models import Project, Resource, ResourcePeriod
from broker.metering.service import spans
from broker.metering.values import Span
from broker.tenancy.models import Unit

NOON = datetime(2026, 10, 5, 4, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def server(session: Session, number: str) -> UUID:
    """A server without any period yet."""
    unit = Unit(code=number, kind="city")
    cloud = SubCloud(
        code=number,
        name="",
        tier="main",
        provider="simulated",
        options={},
        mlps_level=3,
        zones=[],
        unified_management=True,
        position=1,
    )
    session.add_all([unit, cloud])
    session.flush()
    project = Project(unit_id=unit.id, sub_cloud_id=cloud.id)
    session.add(project)
    session.flush()
    made = Resource(
        id=new_id(),
        number=number,
        kind="server",
        origin="adopted",
        unit_id=unit.id,
        sub_cloud_id=cloud.id,
        project_id=project.id,
        name=number,
        spec={},
        state="active",
    )
    session.add(made)
    session.flush()
    return made.id


def period(resource: UUID, state: str, vcpu: int, start: datetime, end: datetime | None) -> ResourcePeriod:
    return ResourcePeriod(
        resource_id=resource,
        state=state,
        cpu_arch="aarch64",
        vcpu=vcpu,
        memory_gib=2 * vcpu,
        block_gib=40,
        block_class="hdd",
        during=Range(start, end, bounds="[)"),
    )


def test_each_size_of_a_period_is_a_span_cut_to_the_question(session: Session) -> None:
    """Meters of the architecture and the disk class; what is still running says so."""
    one = server(session, "S1")
    session.add_all(
        [
            period(one, "active", 4, NOON - HOUR, NOON + HOUR),
            period(one, "stopped", 8, NOON + HOUR, None),
        ]
    )
    session.flush()
    found = spans(session, start=NOON, end=NOON + 2 * HOUR)
    assert [s for s in found if s.meter == "vcpu_aarch64"] == [
        Span(one, "vcpu_aarch64", 4, "active", NOON, NOON + HOUR, open=False),
        Span(one, "vcpu_aarch64", 8, "stopped", NOON + HOUR, NOON + 2 * HOUR, open=True),
    ]
    assert {(s.meter, s.quantity) for s in found if s.state == "active"} == {
        ("vcpu_aarch64", 4),
        ("memory_gib", 8),
        ("block_gib_hdd", 40),
    }


def test_what_only_touches_the_question_is_left_out(session: Session) -> None:
    """[from, to): a period that ends as the question begins, or begins as it ends, has no time in it."""
    one = server(session, "S1")
    session.add_all(
        [
            period(one, "active", 1, NOON - HOUR, NOON),
            period(one, "active", 2, NOON + HOUR, NOON + 2 * HOUR),
        ]
    )
    session.flush()
    assert spans(session, start=NOON, end=NOON + HOUR) == ()


def test_some_resources_can_be_asked_for_and_none_is_none(session: Session) -> None:
    """An empty choice is not the same as no choice."""
    one, two = server(session, "S1"), server(session, "S2")
    session.add_all([period(one, "active", 1, NOON, None), period(two, "active", 1, NOON, None)])
    session.flush()
    asked = spans(session, start=NOON, end=NOON + HOUR, resource_ids=[two])
    assert {s.resource_id for s in asked} == {two}
    assert {s.resource_id for s in spans(session, start=NOON, end=NOON + HOUR)} == {one, two}
    assert spans(session, start=NOON, end=NOON + HOUR, resource_ids=[]) == ()

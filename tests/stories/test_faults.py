"""Every fault of a cloud at every thing a delivery makes: it ends as it should, nothing is lost, nothing is twice."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from broker.delivery.service import Action
from broker.errors import Conflict
from providers.contract import Kind
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.stories import road, slate
from tests.stories.world import World

MADE = (Kind.PROJECT, Kind.NETWORK, Kind.VOLUME, Kind.SERVER, Kind.ATTACHMENT)
STEP = {
    Kind.PROJECT: "create_project",
    Kind.NETWORK: "create_segments",
    Kind.VOLUME: "create_volumes",
    Kind.SERVER: "create_servers",
    Kind.ATTACHMENT: "attach_volumes",
}

PASSING = "passing"
"""The step tries again by itself, and nobody notices."""

ONCE: dict[Mode, str] = {
    Mode.REFUSE: "refused",
    Mode.SLOW: PASSING,
    Mode.HTTP_5XX: PASSING,
    Mode.TIMEOUT_AFTER_DONE: PASSING,
    Mode.LATE: PASSING,
    Mode.VANISH: PASSING,
    Mode.QUOTA_EXCEEDED: "quota.exceeded",
    Mode.RATE_LIMIT: PASSING,
    Mode.ERROR_STATE: "provider.error_state",
    Mode.STUCK_BUILDING: "provider.still_building",
}
"""The code on the operator's desk after one such fault while something is created."""

ELSEWHERE: dict[tuple[Mode, Kind], tuple[str, str]] = {
    # The limits are set anew before an operator hears of it.
    **{(Mode.QUOTA_EXCEEDED, kind): ("", PASSING) for kind in (Kind.NETWORK, Kind.VOLUME, Kind.SERVER)},
    # Neither a project nor an attachment is anything that could be built.
    **{(mode, kind): ("", PASSING) for mode in (Mode.ERROR_STATE, Mode.STUCK_BUILDING)
       for kind in (Kind.PROJECT, Kind.ATTACHMENT)},
    # What vanishes is missed by what stands on it.
    (Mode.VANISH, Kind.PROJECT): ("create_project", "project.unknown"),
    (Mode.VANISH, Kind.NETWORK): ("create_servers", "network.unknown"),
    (Mode.VANISH, Kind.VOLUME): ("attach_volumes", "volume.unknown"),
    (Mode.VANISH, Kind.SERVER): ("attach_volumes", "server.unknown"),
}  # fmt: skip

LASTING: dict[Mode, str] = {
    Mode.REFUSE: "refused",
    Mode.HTTP_5XX: "unavailable",
    Mode.LATE: "cloud.timeout",
    Mode.RATE_LIMIT: "rate.limited",
    Mode.QUOTA_EXCEEDED: "quota.exceeded",
    Mode.ERROR_STATE: "provider.error_state",
    Mode.STUCK_BUILDING: "provider.still_building",
}
"""The code on the desk after a fault that outlasts every attempt."""


def cloud_of(world: World, request_id: UUID) -> str:
    """The sub-cloud that the request was placed in."""
    return str(
        world.scalar(
            "SELECT c.code FROM broker.sub_cloud c JOIN broker.resource r ON r.sub_cloud_id = c.id"
            " WHERE r.request_id = :id LIMIT 1",
            id=request_id,
        )
    )


def inject(world: World, request_id: UUID, verb: str, kind: Kind, mode: Mode, **how: Any) -> None:
    delay = {Mode.SLOW: 0.01, Mode.RATE_LIMIT: 0.01}.get(mode, 0.0)
    fault = Fault(cloud_of(world, request_id), verb, kind, mode, delay_s=delay, **how)
    faults.inject(world.clouds_url, fault)


def desk(world: World, request_id: UUID) -> list[tuple[str, str]]:
    """What lies on the operator's desk of this request: (step, code)."""
    rows = world.rows(
        "SELECT step, code FROM broker.desk_case WHERE request_id = :id AND closed_at IS NULL ORDER BY id",
        id=request_id,
    )
    return [(row.step, row.code) for row in rows]


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("mode", list(Mode))
def test_one_fault_while_something_is_made_ends_delivered(mode: Mode, kind: Kind, town: World) -> None:
    """By itself, or after the operator has asked for another try: everything is there once, and taken back again."""
    request_id = road.up_to_order(town)
    inject(town, request_id, "create", kind, mode)
    step, code = ELSEWHERE.get((mode, kind), (STEP[kind], ONCE[mode]))
    road.walk(town)
    assert faults.unspent(town.clouds_url, cloud_of(town, request_id)) == 0, "the fault was never met"
    if code == PASSING:
        assert town.request(request_id).state == "delivered", desk(town, request_id)
    else:
        assert town.request(request_id).state == "needs_operator"
        assert set(desk(town, request_id)) == {(step, code)}
        road.decide_all(town, request_id, Action.RETRY)
        road.walk(town)
        assert town.request(request_id).state == "delivered", desk(town, request_id)
    town.clock.forward(hours=1)
    slate.check(town)
    road.release(town, request_id)
    road.walk(town)
    assert town.request(request_id).state == "released"
    slate.check(town)


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("mode", list(LASTING))
def test_a_lasting_fault_is_undone_when_the_operator_gives_up(mode: Mode, kind: Kind, town: World) -> None:
    """One case that names step and code; given up, nothing is left in the cloud, of the hold or of the prefix."""
    if ELSEWHERE.get((mode, kind)) == ("", PASSING) and mode is not Mode.QUOTA_EXCEEDED:
        mode = Mode.REFUSE
    request_id = road.up_to_order(town)
    first = FIRST[kind]
    object_id = resource(town, request_id, first) if first else None
    inject(town, request_id, "create", kind, mode, times=99, looks=99, object_id=object_id)
    road.walk(town)
    assert town.request(request_id).state == "needs_operator"
    assert desk(town, request_id) == [(STEP[kind], LASTING[mode])]
    slate.check(town, waiting=True)
    road.decide_all(town, request_id, Action.GIVE_UP)
    assert town.request(request_id).state == "delivering"
    road.walk(town)
    assert town.request(request_id).state == "undelivered"
    assert slate.in_the_clouds(town) == {}
    slate.check(town)


FIRST = {
    Kind.PROJECT: "",
    Kind.NETWORK: "net",
    Kind.VOLUME: "backup",
    Kind.SERVER: "web-01",
    Kind.ATTACHMENT: "web-01-data1",
}
"""What the fault is for, by name: one thing of each kind."""


def resource(world: World, request_id: UUID, name: str) -> UUID:
    return UUID(
        str(world.scalar("SELECT id FROM broker.resource WHERE request_id = :r AND name = :n", r=request_id, n=name))
    )


@pytest.mark.parametrize("kind", [Kind.VOLUME, Kind.SERVER, Kind.ATTACHMENT])
@pytest.mark.parametrize("mode", list(LASTING))
def test_where_a_part_is_allowed_the_rest_is_handed_over(mode: Mode, kind: Kind, town: World) -> None:
    """What fails is undone alone and goes to the desk; given up, the request stays delivered in part."""
    if ELSEWHERE.get((mode, kind)) == ("", PASSING) and mode is not Mode.QUOTA_EXCEEDED:
        mode = Mode.REFUSE
    request_id = road.up_to_order(town, allow_partial=True)
    lost = {Kind.VOLUME: {"backup"}, Kind.SERVER: {"web-01", "web-01-data1"}, Kind.ATTACHMENT: {"web-01-data1"}}[kind]
    inject(
        town, request_id, "create", kind, mode, times=99, looks=99, object_id=resource(town, request_id, FIRST[kind])
    )
    road.walk(town)
    town.clock.forward(hours=1)
    assert town.request(request_id).state == "partly_delivered"
    assert desk(town, request_id) == [(STEP[kind], LASTING[mode])], "a disk has no case beside its server's"
    assert names(town, request_id, "failed") == lost
    slate.check(town, waiting=True)
    with pytest.raises(Conflict, match="unsettled"):
        road.release(town, request_id)

    road.decide_all(town, request_id, Action.GIVE_UP)
    road.walk(town)
    assert town.request(request_id).state == "partly_delivered"
    assert names(town, request_id, "undone") == lost
    assert len(names(town, request_id, "active")) == 6 - len(lost)
    slate.check(town)
    road.release(town, request_id)
    road.walk(town)
    assert town.request(request_id).state == "released"
    slate.check(town)


def names(world: World, request_id: UUID, state: str) -> set[str]:
    rows = world.rows("SELECT name FROM broker.resource WHERE request_id = :r AND state = :s", r=request_id, s=state)
    return {row.name for row in rows}


DELETED = (Kind.NETWORK, Kind.VOLUME, Kind.SERVER)
DELETING: dict[Mode, str] = {
    Mode.REFUSE: "refused",
    Mode.HTTP_5XX: "unavailable",
    Mode.LATE: "cloud.timeout",
    Mode.RATE_LIMIT: "rate.limited",
    Mode.QUOTA_EXCEEDED: "quota.exceeded",
}


@pytest.mark.parametrize("kind", DELETED)
@pytest.mark.parametrize("mode", list(Mode))
def test_one_fault_while_something_is_deleted_ends_released(mode: Mode, kind: Kind, town: World) -> None:
    """A release passes over what passes; what the cloud refuses waits for the operator, and is deleted after that."""
    request_id = road.up_to_order(town)
    road.walk(town)
    town.clock.forward(hours=1)
    road.release(town, request_id)
    inject(town, request_id, "delete", kind, mode)
    road.walk(town)
    if mode in {Mode.REFUSE, Mode.QUOTA_EXCEEDED}:
        assert town.request(request_id).state == "releasing"
        assert desk(town, request_id) != []
        assert {step for step, _ in desk(town, request_id)} == {"delete"}
        assert road.decide_all(town, request_id, Action.RETRY) > 0
        road.walk(town)
    assert town.request(request_id).state == "released", desk(town, request_id)
    assert faults.unspent(town.clouds_url, cloud_of(town, request_id)) == 0
    assert slate.in_the_clouds(town) == {}
    slate.check(town)


@pytest.mark.parametrize("kind", DELETED)
@pytest.mark.parametrize("mode", list(DELETING))
def test_an_undo_that_fails_comes_back_to_the_desk(mode: Mode, kind: Kind, town: World) -> None:
    """What cannot be removed is never called undone: the operator decides until nothing of it is left."""
    request_id = road.up_to_order(town)
    inject(town, request_id, "create", Kind.VOLUME, Mode.REFUSE, object_id=resource(town, request_id, "backup"))
    road.walk(town)
    assert desk(town, request_id) == [("create_volumes", "refused")]
    held_up = {Kind.NETWORK: "net", Kind.VOLUME: "web-01-data1", Kind.SERVER: "web-01"}[kind]
    inject(town, request_id, "delete", kind, mode, times=99, looks=99, object_id=resource(town, request_id, held_up))
    for _ in range(2):
        road.decide_all(town, request_id, Action.GIVE_UP)
        road.walk(town)
        assert town.request(request_id).state == "needs_operator"
        assert ("undo", DELETING[mode]) in desk(town, request_id)
        assert {step for step, _ in desk(town, request_id)} == {"undo"}
    faults.clear(town.clouds_url)
    road.decide_all(town, request_id, Action.RETRY)
    road.walk(town)
    assert town.request(request_id).state == "undelivered"
    assert slate.in_the_clouds(town) == {}
    slate.check(town)


@pytest.mark.parametrize(("kind", "one"), [(Kind.SERVER, "web-{}"), (Kind.ATTACHMENT, "web-{}-data1")])
def test_a_step_that_is_tried_again_still_tells_what_failed_before(kind: Kind, one: str, town: World) -> None:
    """One thing is refused, a hiccup at the other asks for another attempt: the step has failed, with its code."""
    request_id = road.up_to_order(town, allow_partial=True)
    inject(town, request_id, "create", kind, Mode.REFUSE, object_id=resource(town, request_id, one.format("01")))
    inject(town, request_id, "create", kind, Mode.HTTP_5XX, object_id=resource(town, request_id, one.format("02")))
    road.walk(town)
    assert town.request(request_id).state == "partly_delivered"
    steps = "SELECT state, detail, attempts FROM broker.delivery_step WHERE request_id = :r AND name = :s"
    assert [tuple(row) for row in town.rows(steps, r=request_id, s=STEP[kind])] == [("failed", "refused", 2)]
    road.decide_all(town, request_id, Action.GIVE_UP)
    road.walk(town)
    town.clock.forward(hours=1)
    road.release(town, request_id)
    road.walk(town)
    assert town.request(request_id).state == "released"


def test_what_failed_and_cannot_be_removed_has_one_case_until_it_is_gone(town: World) -> None:
    """A failed disk that cannot be removed: its case names both troubles; once it can be, the next run removes it."""
    request_id = road.up_to_order(town, allow_partial=True)
    backup = resource(town, request_id, "backup")
    inject(town, request_id, "create", Kind.VOLUME, Mode.ERROR_STATE, object_id=backup)
    inject(town, request_id, "delete", Kind.VOLUME, Mode.REFUSE, object_id=backup)
    road.walk(town)
    town.clock.forward(hours=1)
    case = town.rows("SELECT step, code, detail FROM broker.desk_case WHERE request_id = :r", r=request_id)
    assert [tuple(row) for row in case] == [("undo_failed", "refused", "create_volumes: provider.error_state")]
    assert slate.in_the_clouds(town)[Kind.VOLUME, backup] == 1
    road.decide_all(town, request_id, Action.GIVE_UP)
    road.walk(town)
    assert names(town, request_id, "undone") == {"backup"}
    slate.check(town)
    road.release(town, request_id)
    road.walk(town)
    assert slate.in_the_clouds(town) == {}


def test_a_cloud_whose_adapter_is_missing_ends_on_the_desk(town: World) -> None:
    """No step is tried for ever: the operator reads what is missing, and after that the delivery is made."""
    request_id = road.up_to_order(town)
    code = cloud_of(town, request_id)
    built = town.app.providers._built.pop(code)
    with town.app.sessions.begin() as session:
        session.execute(
            text("UPDATE broker.sub_cloud SET options = options || '{\"colour\": 1}' WHERE code = :c"), {"c": code}
        )
    road.walk(town)
    assert desk(town, request_id) == [("create_project", "options.unknown")]
    with town.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.sub_cloud SET options = options - 'colour' WHERE code = :c"), {"c": code})
    town.app.providers._built[code] = built
    road.decide_all(town, request_id, Action.RETRY)
    road.walk(town)
    assert town.request(request_id).state == "delivered"
    town.clock.forward(hours=1)
    slate.check(town)
    road.release(town, request_id)
    road.walk(town)

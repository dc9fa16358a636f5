"""What the stories of reclaiming share: a delivered request, a case over one of its servers, days that pass.

Called by: the stories and the kill tests of reclaiming. Must not: replace any of our own code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from broker.errors import BrokerError, Invalid
from broker.metering import service as metering
from broker.reclamation import cases, dates, opening
from broker.reclamation.values import Answer, Cause, Decision, Opening
from broker.utilisation import service as utilisation
from providers.contract import Key, Kind, Status
from tests.stories import road
from tests.stories.world import World

POLICY = """version: "t"
policies:
  - name: idle-server
    kind: server
    when: {all: [{metric: cpu_avg_pct, daily: mean, below: 5}]}
    days: 3
    min_samples_per_day: 1
"""
ITEMS: list[dict[str, Any]] = [
    {"kind": "segment", "name": "net", "zone": "shared"},
    {"kind": "server", "name": "web", "count": 2, "vcpu": 2, "memory_gib": 4, "image": "openeuler-22.03-x86_64",
     "zone": "shared", "data_disks": [{"size_gib": 10}]},
]  # fmt: skip


def delivered(world: World, **changes: Any) -> UUID:
    """A delivered request of the education department, in its own cloud."""
    world.feel_well()
    request_id = road.up_to_order(world, **({"items": ITEMS} | changes))
    road.walk(world)
    world.clock.forward(hours=1)
    return request_id


def servers(world: World, request_id: UUID) -> list[Any]:
    return world.rows(
        "SELECT id, number, project_id, state FROM broker.resource"
        " WHERE request_id = :r AND kind = 'server' ORDER BY id",
        r=request_id,
    )


def open_case(world: World, *resources: UUID, cause: Cause = Cause.IDLE, who: str = "", **more: Any) -> UUID:
    made = Opening(cause, resources, "连续 30 日闲置", policy="idle-server", policy_version="t", **more)
    if who:
        with world.acting(who) as work:
            return opening.open_case(work, made).id
    with world.app.works.begin() as work:
        return opening.open_case(work, made).id


def noticed(world: World, **more: Any) -> tuple[UUID, UUID, list[Any]]:
    """A request, a case over its first server that the owner has been told of, and its servers."""
    request_id = delivered(world)
    found = servers(world, request_id)
    case_id = open_case(world, found[0].id, **more)
    days_come(world)
    return request_id, case_id, found


def days_come(world: World) -> int:
    """What dispatch does every twenty seconds."""
    with world.app.works.begin() as work:
        return dates.come(work)


def case(world: World, case_id: UUID) -> Any:
    return world.rows("SELECT * FROM broker.reclaim_case WHERE id = :id", id=case_id)[0]


def state(world: World, case_id: UUID) -> str:
    return str(case(world, case_id).state)


def pass_the_window(world: World, case_id: UUID) -> None:
    """To the instant after the end of the objection window; the machine has not acted yet."""
    world.clock.now = case(world, case_id).due_at + timedelta(seconds=1)
    days_come(world)


def suspended(world: World, **more: Any) -> tuple[UUID, UUID, list[Any]]:
    """As ``noticed``, with the window over and the server stopped; nobody measures, somebody has vouched for it."""
    request_id, case_id, found = noticed(world, **({"cause": Cause.PERSON} | more))
    pass_the_window(world, case_id)
    road.walk(world)
    assert state(world, case_id) == "suspended", case(world, case_id)
    return request_id, case_id, found


def proposed(world: World, **more: Any) -> tuple[UUID, UUID, list[Any]]:
    """As ``suspended``, kept as long as it must be, and proposed for release by an operator."""
    request_id, case_id, found = suspended(world, **more)
    world.clock.now = case(world, case_id).keep_until + timedelta(seconds=1)
    with world.acting("deliver.jyt") as work:
        cases.propose(work, case_id, reason="期满无异议")
    return request_id, case_id, found


def confirm(world: World, case_id: UUID, who: str = "approve.jyt") -> None:
    with world.acting(who) as work:
        cases.confirm(work, case_id)


def status(world: World, server: Any, cloud: str = "jyt") -> Status | None:
    """What the cloud says of a server."""
    seen = world.app.providers(cloud).observe(Key(Kind.SERVER, server.id, server.project_id))
    return None if seen is None else seen.status


def measure(world: World, server: Any, days: Sequence[tuple[datetime, float | None]], folder: Path) -> None:
    """Samples of a server: its mean CPU at noon of each day; None: of everything but that."""
    lines = ["vm_id,hour_utc,vcpu,mem_gib,cpu_avg_pct,cpu_max_pct,mem_used_gib,disk_kbps,net_kbps,n_samples,n_off"]
    cpus = [(at, "" if cpu is None else cpu) for at, cpu in days]
    lines += [f"{server.number},{at:%Y-%m-%dT%HZ},2,4,{cpu},{cpu},1,0,0,60,0" for at, cpu in cpus]
    file = folder / f"{server.number}-{len(list(folder.iterdir()))}.csv"
    file.write_text("\n".join(lines) + "\n")
    utilisation.import_file(world.app.settings, file, days[-1][0] + timedelta(hours=2))


def days_from(first: datetime, last: datetime, cpu: float) -> list[tuple[datetime, float]]:
    """A sample at 04:00 UTC (noon in Guangxi) of every day between two instants."""
    out, at = [], first.replace(hour=4, minute=0, second=0, microsecond=0)
    while at < last:
        if at > first:
            out.append((at, cpu))
        at += timedelta(days=1)
    return out


def told(world: World, code: str) -> set[str]:
    return {row.role for row in world.rows("SELECT role FROM broker.notice WHERE code = :c", c=code)}


def object_to(world: World, case_id: UUID, who: str = "apply.jyt") -> None:
    with world.acting(who) as work:
        cases.object_to(work, case_id, reason="月底集中使用")


def say(world: World, case_id: UUID, decision: Decision, who: str = "approve.jyt", **more: Any) -> None:
    with world.acting(who) as work:
        cases.answer(work, case_id, Answer(decision, "经核实", **more))


def up_to(world: World, stage: str) -> UUID:
    """A case whose next act is the stage's."""
    if stage == "suspending":
        _, case_id, _ = noticed(world, cause=Cause.PERSON)
        pass_the_window(world, case_id)
    elif stage == "resuming":
        _, case_id, _ = suspended(world)
        with world.acting("approve.jyt") as work:
            cases.resume(work, case_id, reason="业务恢复")
    else:
        _, case_id, _ = proposed(world)
        confirm(world, case_id)
    return case_id


ENDS = {"suspending": "suspended", "resuming": "dropped", "releasing": "released"}


def refusal(world: World, who: str, act: Callable[..., object], *args: Any, **named: Any) -> str:
    """The code with which somebody is refused something."""
    with pytest.raises(BrokerError) as refused, world.acting(who) as work:
        act(work, *args, **named)
    return refused.value.problems[0].code if isinstance(refused.value, Invalid) else refused.value.code


def spans(world: World, resource_id: UUID) -> list[tuple[str, str, bool]]:
    """What is metered of a resource: (meter, state, still open)."""
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
    with world.app.sessions() as session:
        found = metering.spans(session, start=start, end=end, resource_ids=[resource_id])
    of_memory = sorted((s for s in found if s.meter == "memory_gib"), key=lambda s: (s.start_at, s.end_at))
    return [(s.meter, s.state, s.open) for s in of_memory]

"""Is everything in its place? The cloud against the rows, quotas, prefixes, periods, handovers and the audit chain.

Called by: the stories and the kill tests, after whatever they did. Must not: use the broker's own comparison
(``delivery.reconcile``), which is tested itself.
"""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from broker.audit import seal
from broker.embedded.spawn import wait_until
from broker.inventory import rules as scarce
from providers.contract import Kind
from quotas import service as quotas
from quotas.ipv6 import service as ipv6
from tests.stories.world import World

KINDS = (Kind.NETWORK, Kind.VOLUME, Kind.SERVER, Kind.SNAPSHOT)
SEALER_S = 120
"""How long another sealer may hold the lock on a busy machine."""
KIND = {"segment": Kind.NETWORK, "volume": Kind.VOLUME, "server": Kind.SERVER}


def check(world: World, *, waiting: bool = False) -> None:
    """Everything is in its place. ``waiting``: something is on an operator's desk, so that holds may still be held."""
    cloud_holds_what_the_rows_say(world)
    amounts_balance(world, waiting=waiting)
    prefixes_balance(world)
    periods_are_right(world)
    handed_over_once(world)
    if not world.shared:
        chain_is_whole(world)


def clouds(world: World) -> list[str]:
    """The sub-clouds that any resource was ever placed in."""
    return [
        row.code
        for row in world.rows(
            "SELECT DISTINCT c.code FROM broker.sub_cloud c JOIN broker.resource r ON r.sub_cloud_id = c.id"
        )
    ]


def in_the_clouds(world: World) -> Counter[tuple[Kind, UUID]]:
    """Every object in every cloud, duplicates counted."""
    found: Counter[tuple[Kind, UUID]] = Counter()
    for code in clouds(world):
        for kind in KINDS:
            for seen in world.app.providers(code).list(kind):
                found[kind, seen.key.id] += 1 + len(seen.extra_refs)
    return found


def cloud_holds_what_the_rows_say(world: World) -> None:
    """No object without a row, no row without its object, and disks attached where they belong."""
    rows = world.rows("SELECT id, kind FROM broker.resource WHERE state IN ('ready', 'active', 'stopped')")
    kept = world.rows("SELECT id FROM broker.server_snapshot WHERE taken_at IS NOT NULL AND removed_at IS NULL")
    there = [(KIND[row.kind], row.id) for row in rows] + [(Kind.SNAPSHOT, row.id) for row in kept]
    assert in_the_clouds(world) == Counter(there)
    wanted = {
        row.id: row.server_id
        for row in world.rows(
            "SELECT id, server_id FROM broker.resource WHERE state = 'active' AND server_id IS NOT NULL"
        )
    }
    attached = {
        seen.key.id: seen.server_id
        for code in clouds(world)
        for seen in world.app.providers(code).list(Kind.ATTACHMENT)
    }
    assert wanted.items() <= attached.items()


def amounts_balance(world: World, *, waiting: bool) -> None:
    """What is posted is what is there, what is held is what is still to come, and every counter agrees."""
    with world.app.sessions() as session:
        assert quotas.verify(session) == []
    lines = world.rows(
        "SELECT hold_id, resource_class, amount - posted - voided AS held, posted - released AS used"
        " FROM quotas.hold_line JOIN quotas.hold h ON h.id = hold_id WHERE h.state <> 'expired'"
    )
    used, held = _amounts(world, _USED), _amounts(world, _TO_COME)
    assert {(r.hold_id, r.resource_class): r.used for r in lines if r.used} == used
    assert {(r.hold_id, r.resource_class): r.held for r in lines if r.held} == held
    assert waiting or not held


_USED = ("active", "stopped", "releasing")
_TO_COME = ("planned", "building", "ready", "failed")


def _amounts(world: World, states: tuple[str, ...]) -> dict[tuple[UUID, str], int]:
    found: Counter[tuple[UUID, str]] = Counter()
    for row in world.rows("SELECT hold_id, kind, spec FROM broker.resource WHERE state = ANY(:s)", s=list(states)):
        for resource_class, amount in scarce.amounts(row.kind, row.spec).items():
            found[row.hold_id, resource_class.value] += amount
    return dict(found)


def prefixes_balance(world: World) -> None:
    """Each segment has just the prefix that its state allows, and nothing overlaps."""
    with world.app.sessions() as session:
        assert ipv6.verify(session) == []
    expected = {"planned": "held", "building": "held", "ready": "held", "failed": "held",
                "active": "active", "stopped": "active", "releasing": "active", "released": "quarantined"}  # fmt: skip
    segments = world.rows("SELECT id, state FROM broker.resource WHERE kind = 'segment' AND state <> 'undone'")
    live = world.rows(
        "SELECT owner, state FROM quotas.prefix_allocation WHERE state IN ('held', 'active', 'quarantined')"
    )
    found = {row.owner: row.state for row in live}
    rested = {row.id for row in segments if row.state == "released"} - found.keys()  # their quarantine has ended
    assert found == {row.id: expected[row.state] for row in segments if row.id not in rested}


def periods_are_right(world: World) -> None:
    """Metered exactly while handed over: no gap (but where a cloud had lost it), no overlap, no open end after all."""
    assert not world.rows(
        "SELECT FROM (SELECT resource_id, during, lag(during) OVER (PARTITION BY resource_id ORDER BY during) AS before"
        " FROM broker.resource_period) p WHERE before IS NOT NULL AND upper(before) <> lower(during)"
        " AND NOT EXISTS (SELECT FROM broker.audit_event e WHERE e.action = 'resource.turned_up'"
        "   AND e.subject_id = p.resource_id AND upper(before) < e.at AND lower(during) = e.at)"
    ), "a gap or an overlap"
    wrong = world.rows(
        "SELECT r.number, r.state, count(p.id) AS periods, count(p.id) FILTER (WHERE upper_inf(p.during)) AS open"
        " FROM broker.resource r LEFT JOIN broker.resource_period p ON p.resource_id = r.id GROUP BY r.id"
        " HAVING count(p.id) FILTER (WHERE upper_inf(p.during))"
        "   <> CASE WHEN r.state IN ('active', 'stopped') THEN 1 ELSE 0 END"
        " OR (count(p.id) > 0) <> (r.state IN ('active', 'stopped', 'releasing', 'released'))"
    )
    assert not wrong


def handed_over_once(world: World) -> None:
    """Every resource that is or was the unit's stands in exactly one handover record."""
    handed = [
        entry["number"] for row in world.rows("SELECT record FROM broker.handover") for entry in row.record["resources"]
    ]
    theirs = world.rows(
        "SELECT number FROM broker.resource WHERE state IN ('active', 'stopped', 'releasing', 'released')"
    )
    assert Counter(handed) == Counter(row.number for row in theirs)


def chain_is_whole(world: World) -> None:
    """Every event is sealed in one chain, and nothing in it was changed."""
    # a worker of this world may be the sealer just now: ours then does nothing, and its links are not committed yet
    assert wait_until(lambda: _sealed(world), timeout_s=SEALER_S), "events without a seal"
    with world.app.sessions() as session:
        assert list(seal.verify(session)) == []


def _sealed(world: World) -> bool:
    """Seal what waits; whether nothing waits any more."""
    with world.app.sessions.begin() as session:
        seal.seal(session)
    with world.app.sessions() as session:
        return seal.unsealed(session) == 0

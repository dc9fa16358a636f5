"""What is seen to be idle without being measured: by the inventory, and by what clouds show of themselves. Pure.

Called by: ``utilisation.detection``. Must not: read the database or ask a cloud.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from broker.utilisation.findings import Evidence, FindingKind
from broker.utilisation.values import Facts, Policy
from providers.contract import LooseAddress, Observed, Status


@dataclass(frozen=True, slots=True)
class Thing:
    """A resource in use. ``used``: a server uses it (a volume, a segment); ``left_at``: when the last one went.

    ``suspended``: we have stopped it ourselves, and charge nothing for its work.
    """

    id: UUID
    sub_cloud_id: UUID
    facts: Facts
    since: datetime
    used: bool = False
    left_at: datetime | None = None
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """What one cloud showed: servers, attachments (by the volume's id), snapshots, addresses that no server has."""

    servers: Mapping[UUID, Observed] = field(default_factory=dict)
    attachments: Mapping[UUID, Observed] = field(default_factory=dict)
    snapshots: Sequence[Observed] = ()
    addresses: Sequence[LooseAddress] = ()


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something idle on the day of a scan. ``first_day`` None: only known from being seen again and again.

    ``days`` None: every day from the first on. ``cut``: it begins where reading began, so that it may be longer.
    """

    resource_id: UUID
    kind: FindingKind
    policy: Policy
    evidence: tuple[Evidence, ...]
    last_day: date
    first_day: date | None = None
    days: int | None = None
    object_ref: str = ""
    cut: bool = False

    @property
    def key(self) -> tuple[UUID, str, str]:
        """What it is the same finding by."""
        return self.resource_id, self.policy.name, self.object_ref


@dataclass(frozen=True, slots=True)
class Sky:
    """All that can be seen on one day. ``shown``: by sub-cloud, those that answered. ``kept``: snapshots of our own."""

    things: Mapping[UUID, Thing]
    shown: Mapping[str, Shown]
    day: date
    zone: ZoneInfo
    kept: frozenset[UUID] = frozenset()


KINDS: Mapping[str, FindingKind] = {
    "stopped": FindingKind.OFF,
    "unattached": FindingKind.UNATTACHED_VOLUME,
    "empty": FindingKind.EMPTY_SEGMENT,
    "unbound": FindingKind.UNBOUND_ADDRESS,
    "unused": FindingKind.UNUSED_SNAPSHOT,
}
"""What a policy that looks for something finds."""


def seen(policy: Policy, sky: Sky) -> Iterator[Sighting]:
    """What one policy that looks without samples sees."""
    if policy.seen in {"unattached", "empty"}:
        return _unused_things(policy, sky)
    if policy.seen == "stopped":
        return _stopped(policy, sky)
    return _loose(policy, sky) if policy.seen == "unbound" else _snapshots(policy, sky)


def _unused_things(policy: Policy, sky: Sky) -> Iterator[Sighting]:
    """Volumes and segments that no server uses.

    Of a segment the inventory knows since when: since the last server was given back, or since it was handed over. A
    volume may have been attached by hand, which only its cloud shows: it counts from the first day that this was seen
    not to be so, and of a cloud that does not answer nothing is said.
    """
    kind = FindingKind.UNATTACHED_VOLUME if policy.seen == "unattached" else FindingKind.EMPTY_SEGMENT
    evidence = Evidence(f"seen.{policy.seen}", {})
    for thing in sky.things.values():
        if thing.facts.kind != policy.kind or thing.used:
            continue
        if kind is FindingKind.EMPTY_SEGMENT:
            first = max(thing.since, thing.left_at or thing.since).astimezone(sky.zone).date()
            yield Sighting(thing.id, kind, policy, (evidence,), sky.day, min(first, sky.day))
        elif (cloud := sky.shown.get(thing.facts.sub_cloud)) is not None and thing.id not in cloud.attachments:
            yield Sighting(thing.id, kind, policy, (evidence,), sky.day)


def _stopped(policy: Policy, sky: Sky) -> Iterator[Sighting]:
    """Servers that are off and charged; those that we have suspended ourselves are not."""
    for thing in sky.things.values():
        cloud = sky.shown.get(thing.facts.sub_cloud)
        if thing.facts.kind != "server" or thing.suspended or cloud is None:
            continue
        if _off(cloud.servers.get(thing.id)):
            yield Sighting(thing.id, FindingKind.OFF, policy, (Evidence("seen.stopped", {}),), sky.day)


def _loose(policy: Policy, sky: Sky) -> Iterator[Sighting]:
    """Addresses that no server has; those of segments that the inventory does not know are ``reconcile``'s."""
    for cloud in sky.shown.values():
        for each in cloud.addresses:
            if each.network_id in sky.things:
                evidence = Evidence("seen.unbound", {"address": str(each.address)})
                kind = FindingKind.UNBOUND_ADDRESS
                yield Sighting(each.network_id, kind, policy, (evidence,), sky.day, object_ref=each.ref)


def _snapshots(policy: Policy, sky: Sky) -> Iterator[Sighting]:
    """Snapshots of servers in use, but for those that a reclaim case keeps, which go when it ends.

    No verb of ours makes anything of the others: one that is there is unused.
    """
    for cloud in sky.shown.values():
        for each in cloud.snapshots:
            if each.server_id is not None and each.server_id in sky.things and each.key.id not in sky.kept:
                evidence = Evidence("seen.unused", {"name": each.name})
                kind = FindingKind.UNUSED_SNAPSHOT
                yield Sighting(each.server_id, kind, policy, (evidence,), sky.day, object_ref=each.ref)


def _off(seen_now: Observed | None) -> bool:
    return seen_now is not None and seen_now.status is Status.STOPPED

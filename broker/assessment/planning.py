"""Turns placed items into planned resources: one row for each server, disk and segment, with its home and its hold.

Called by: ``assessment.service`` (confirm). Must not: hold anything, or call a cloud.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from broker.assessment.values import Wish
from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.request.models import ServiceRequest
from broker.request.values import SegmentItem, ServerItem, VolumeItem, item_spec
from broker.tenancy.work import Work


@dataclass(frozen=True, slots=True)
class Placed:
    """A request whose items have a place each (by their ordinal), and the hold made in each sub-cloud."""

    request: ServiceRequest
    wishes: Sequence[Wish]
    chosen: Mapping[int, UUID | None]
    holds: Mapping[UUID, UUID]


def plan_resources(work: Work, placed: Placed, take_prefix: Callable[[Resource], None]) -> None:
    """Write every resource of the request, planned. ``take_prefix`` gives a segment its prefix before it is written."""
    unit_id = placed.request.unit_id
    projects = {cloud: inventory.project_for(work, unit_id, cloud) for cloud in sorted(placed.holds)}
    planner = _Planner(work, placed, projects)
    segments: list[Resource] = []
    with work.session.no_autoflush:
        for wish in placed.wishes:
            if isinstance(wish.item, SegmentItem):
                segments += planner.segments(wish, placed.chosen[wish.ordinal])
        for segment in segments:
            take_prefix(segment)
    for wish in placed.wishes:
        if isinstance(wish.item, ServerItem):
            planner.servers(wish, wish.item, placed.chosen[wish.ordinal], segments)
        elif isinstance(wish.item, VolumeItem):
            planner.volumes(wish, placed.chosen[wish.ordinal])


class _Planner:
    """Knows what all resources of one request have in common."""

    def __init__(self, work: Work, placed: Placed, projects: Mapping[UUID, UUID]) -> None:
        self.work, self.request, self.holds, self.projects = work, placed.request, placed.holds, projects
        self.networks: dict[tuple[UUID, str], UUID | None] = {}

    def _add(self, wish: Wish, cloud: UUID | None, kind: str, **columns: object) -> Resource:
        assert cloud is not None
        return inventory.plan(
            self.work,
            kind=kind,
            unit_id=self.request.unit_id,
            system_id=self.request.system_id,
            sub_cloud_id=cloud,
            project_id=self.projects[cloud],
            request_id=self.request.id,
            item_id=wish.item_id,
            hold_id=self.holds[cloud],
            **columns,
        )

    def segments(self, wish: Wish, cloud: UUID | None) -> list[Resource]:
        spec = {k: v for k, v in item_spec(wish.item).items() if k != "name"}
        return [self._add(wish, cloud, "segment", name=name, spec=spec) for name in _names(wish)]

    def volumes(self, wish: Wish, cloud: UUID | None) -> None:
        spec = {k: v for k, v in item_spec(wish.item).items() if k != "name"}
        for name in _names(wish):
            self._add(wish, cloud, "volume", name=name, spec=spec)

    def servers(self, wish: Wish, item: ServerItem, cloud: UUID | None, segments: Sequence[Resource]) -> None:
        """Servers stand on the request's own segment of their zone, else on one the unit already has there."""
        spec = {k: v for k, v in item_spec(item).items() if k not in {"name", "data_disks"}}
        network = next(
            (s.id for s in segments if s.sub_cloud_id == cloud and s.spec["zone"] == item.zone.value), None
        ) or self._existing_network(cloud, item.zone.value)
        for name in _names(wish):
            server = self._add(wish, cloud, "server", name=name, spec=spec, network_id=network)
            for n, disk in enumerate(item.data_disks, 1):
                self._add(
                    wish,
                    cloud,
                    "volume",
                    name=f"{name}-data{n}",
                    spec={"size_gib": disk.size_gib, "block_class": disk.block_class},
                    server_id=server.id,
                )

    def _existing_network(self, cloud: UUID | None, zone: str) -> UUID | None:
        assert cloud is not None
        if (cloud, zone) not in self.networks:
            self.networks[cloud, zone] = self.work.session.scalar(
                select(Resource.id)
                .where(
                    Resource.unit_id == self.request.unit_id,
                    Resource.project_id == self.projects[cloud],  # not one that came along from another unit's
                    Resource.kind == "segment",
                    Resource.state == "active",
                    Resource.spec["zone"].astext == zone,
                )
                .order_by(Resource.id)
                .limit(1)
            )
        return self.networks[cloud, zone]


def _names(wish: Wish) -> list[str]:
    """``web`` for one, ``web-01`` … for several."""
    if wish.item.count == 1:
        return [wish.item.name]
    return [f"{wish.item.name}-{n:02d}" for n in range(1, wish.item.count + 1)]

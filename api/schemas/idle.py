"""Findings of idleness as they go over HTTP.

Called by: the routes beside it. Must not: hold rules.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from api.schemas.base import View


class Evidence(View):
    """Why, as a code and its numbers."""

    code: str
    params: dict[str, Any]


class Finding(View):
    """A resource that a policy finds idle; ``monthly_fen``: what a month of it costs by the tariff, null without one.

    ``object_ref``: the cloud's own id of what is idle where that is not the resource itself. ``case_number``: the open
    reclaim case that the resource is in, for whoever may see it.
    """

    id: UUID
    resource_id: UUID
    number: str
    name: str
    resource_kind: str
    unit_name: str | None
    system_name: str | None
    sub_cloud: str
    sub_cloud_name: str
    kind: str
    policy: str
    policy_version: str
    object_ref: str
    first_day: date
    last_day: date
    days: int
    evidence: list[Evidence]
    reason: str
    monthly_fen: int | None
    scanned_on: date
    found_at: datetime
    cleared_at: datetime | None
    cleared_because: str | None
    case_number: str | None


class FindingPage(View):
    """A page of findings."""

    data: list[Finding]
    next: str | None


class Sizing(View):
    """A smaller size for a running server, by its p95s with head-room; ``saved_fen``: less in a month by the tariff.

    ``risks``: ``low``, ``peaks`` (the busiest moments need more), ``peaks_unknown``, ``memory_peaks`` (some hours take
    of the head-room), ``memory_unknown`` (it was not measured in enough hours and stays).
    """

    resource_id: UUID
    number: str
    name: str
    vcpu: int
    memory_gib: int
    to_vcpu: int
    to_memory_gib: int
    hours: int
    cpu_avg_p95: float | None
    cpu_max_p95: float | None
    cpu_peak: float | None
    memory_p95_gib: float | None
    memory_peak_gib: float | None
    risks: list[str]
    risk: str
    saved_fen: int | None


class FindingSum(View):
    """Open findings of one kind: how many, of how many resources, and what these cost a month."""

    kind: str
    findings: int
    resources: int
    monthly_fen: int

"""Quotas, competing requests, the IPv6 plan and what clouds report, as they go over HTTP.

Called by: the routes of ``scarcity``, the check of a form. Must not: hold rules. Amounts are whole: pieces, GiB, /64s.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from api.schemas.base import View


class AskedRow(View):
    """One class: old (``used``), asked, new, and what is left on the way to the root (null: no limit).

    ``sub_cloud`` null: over all clouds together. ``bound_by`` is the unit whose limit leaves least; null with a finite
    ``left``: the cloud's capacity does.
    """

    resource_class: str
    sub_cloud: str | None
    used: int
    asked: int
    new: int
    limit: int | None
    left: int | None
    fits: bool
    bound_by: str | None


class Refused(View):
    """A limit or a capacity that would refuse, in words."""

    code: str
    resource_class: str
    message: str


class AskedFor(View):
    """What is asked for beside what is there; ``refused`` is empty when it could be held now."""

    rows: list[AskedRow]
    refused: list[Refused]


class QuotaBar(View):
    """One class of a unit. ``limit`` is the unit's own (null: none); ``left`` is known over all clouds only."""

    resource_class: str
    sub_cloud: str | None
    limit: int | None
    in_use: int
    held: int
    left: int | None
    bound_by: str | None


class QuotaUnit(View):
    """A unit with its bars; use counts everything below it."""

    id: UUID
    code: str
    name: str
    kind: str
    bars: list[QuotaBar]


class QuotaPage(View):
    """Units right below one, by id."""

    data: list[QuotaUnit]
    next: str | None


class Contested(View):
    """A limit (of ``owner``) or a cloud's capacity (``owner`` null) that a request meets.

    ``waiting`` is what other open requests ask for and nothing counts yet.
    """

    resource_class: str
    owner: str | None
    sub_cloud: str | None
    limit: int
    used: int
    asked: int
    new: int
    waiting: int


class Competing(View):
    """Another open request. ``counted``: it is assessed, and what it holds stands in ``used``."""

    id: UUID
    number: str
    state: str
    unit_name: str
    sub_cloud_name: str | None
    due_at: datetime | None
    counted: bool
    amounts: dict[str, int]
    meets: list[int]
    """Places in ``contested``."""


class CompetingPage(View):
    """What is contested, and a page of who else waits for it, first due first."""

    contested: list[Contested]
    data: list[Competing]
    next: str | None

"""Quotas, competing requests, the IPv6 plan and what clouds report, as they go over HTTP.

Called by: the routes of ``scarcity``, the check of a form. Must not: hold rules. Amounts are whole: pieces, GiB, /64s.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from api.schemas.base import Integer, Reason, Schema, View
from broker.delivery.capacity import Choice


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


class PrefixBlock(View):
    """A block of the IPv6 plan. ``live_64`` of ``size_64`` whole /64s are taken, below it too.

    ``hands_out``: segments come from it; else it holds the blocks below.
    """

    id: UUID
    parent_id: UUID | None
    zone: str
    routing_domain: str
    level: str
    prefix: str
    unit_name: str
    hands_out: bool
    live: int
    live_64: int
    size_64: int


class PrefixBlockPage(View):
    """Blocks, parents before children."""

    data: list[PrefixBlock]
    next: str | None


class PrefixCell(View):
    """One cell of a map that is not empty: how many prefixes, and how many whole /64s by state."""

    index: int
    prefix: str
    live: int
    by_state: dict[str, int]


class PrefixLevel(View):
    """The blocks of one level below."""

    level: str
    blocks: int
    size_64: int
    live: int
    live_64: int


class PrefixSegment(View):
    """A prefix that is taken, with what a router and a name server need of it."""

    prefix: str
    state: str
    until: datetime | None
    resource_id: UUID | None
    unit_name: str
    gateway: str
    reverse_zones: list[str]


class PrefixMap(View):
    """A block, or the part ``within`` of one that hands out, in equal cells; at most 256 segments are named."""

    block: PrefixBlock
    within: str
    cell_length: int
    cells: list[PrefixCell]
    children: list[PrefixBlock]
    levels: list[PrefixLevel]
    segments: list[PrefixSegment]
    more_segments: bool


class CapacityLine(View):
    """One class of a sub-cloud, ours and the cloud's (``reported_...``); totals are physical.

    ``gaps``: ``total`` (totals differ), ``less`` (the cloud uses less than was handed over), ``more`` (it uses more
    than we count: shown only). ``left_reason``: an operator has left just this difference of totals as it is.
    """

    resource_class: str
    total: int | None
    reserved: int
    capacity: int | None
    in_use: int
    held: int
    reported_total: int | None
    reported_used: int | None
    reported_at: datetime | None
    gaps: list[str]
    wanting: bool
    left_reason: str | None


class NewCapacityDecision(Schema):
    """What to do about a total that differs. ``seen``: the cloud's total that was decided on (null: none reported)."""

    choice: Choice
    seen: Integer | None
    reason: Reason = ""


class CapacityDecision(View):
    """A decision on record."""

    id: UUID
    resource_class: str
    decision: str
    ours: int | None
    reported: int | None
    reason: str
    decided_by: UUID
    decided_at: datetime

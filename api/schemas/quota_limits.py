"""Limits as the Bureau sets them, and what that does, as they go over HTTP. Amounts are whole: pieces, GiB, /64s.

Called by: the routes of ``quota_limits``. Must not: hold rules.
"""

from __future__ import annotations

from uuid import UUID

from api.schemas.base import Integer, Reason, Schema, View


class LimitLine(Schema):
    """A limit as it is to be. ``sub_cloud`` (a code) empty: over all clouds. ``limit`` null: unlimited.

    ``borrowing``: how far beyond it while others leave room (null: as far as there is room); ``lending``: how much of
    it others may use meanwhile (null: all of it).
    """

    resource_class: str
    sub_cloud: str = ""
    limit: Integer | None
    borrowing: Integer | None = 0
    lending: Integer | None = None


class NewLimits(Schema):
    """Limits of one node, all or none. ``seen``: the mark they were decided on; another since is 412."""

    lines: list[LimitLine]
    reason: Reason = ""
    seen: str = ""


class CheckedLimits(Schema):
    """Limits to look at: nothing is set."""

    lines: list[LimitLine]


class LimitAmounts(View):
    """A finite limit, and what is measured against it (``load``: used, or guaranteed below)."""

    limit: int
    borrowing: int | None
    lending: int | None
    load: int


class LimitEffect(View):
    """Somebody who shares the limit and is over now (``over``), or has less room than before (null: without an end)."""

    node_id: UUID
    name: str
    load: int
    limit: int
    over: int
    borrowed: int
    room_before: int | None
    room_after: int | None


class LimitChange(View):
    """One limit before and after (null: unlimited), who is affected, the worst first, and how many more are.

    ``sub_cloud``: how the cloud is called (null: all together); its code is what a limit is set with.
    """

    resource_class: str
    sub_cloud: str | None
    sub_cloud_code: str | None
    before: LimitAmounts | None
    after: LimitAmounts | None
    effects: list[LimitEffect]
    more: int


class LimitChanges(View):
    """What was set, or would be; lines that change nothing are left out."""

    node_id: UUID
    changes: list[LimitChange]


class OwnLimit(View):
    """A limit that stands on the node itself; ``sub_cloud`` as in ``LimitChange``."""

    resource_class: str
    sub_cloud: str | None
    sub_cloud_code: str | None
    limit: int
    borrowing: int | None
    lending: int | None
    load: int


class OwnLimits(View):
    """A node's own limits, and the mark to name when they are set."""

    limits: list[OwnLimit]
    seen: str

"""Nodes of the quota tree that are given and moved, as they go over HTTP. Amounts are whole: pieces, GiB, /64s.

Called by: the routes of ``quota_nodes``. Must not: hold rules.
"""

from __future__ import annotations

from uuid import UUID

from api.schemas.base import Reason, Schema, View


class NewQuotaNode(Schema):
    """A node of its own for an information system (its code), below its unit's."""

    system: str
    reason: Reason = ""


class QuotaNode(View):
    """The node, and how many holds (with what is posted of them) have moved there."""

    node_id: UUID
    moved_holds: int


class CheckedMove(Schema):
    """Below which node it would go: a unit's code, or that of a system with a node of its own."""

    below: str


class QuotaMove(CheckedMove):
    """``over``: it goes also where a limit on the new way is passed; from then on that limit refuses growth only."""

    over: bool = False
    reason: Reason = ""


class LimitOver(View):
    """A limit on the new way that is passed: ``load`` is what is used and guaranteed there."""

    node_id: UUID
    name: str
    resource_class: str
    sub_cloud: str | None
    limit: int
    load: int


class QuotaMoved(View):
    """How many nodes went (0: it was there), or would; which limits are over."""

    nodes: int
    over: list[LimitOver]

"""Nodes that were given and moved, as they go over HTTP: values of ``scarcity.shaping``, names for ids.

Called by: the routes of ``quota_nodes``. Must not: count or decide.
"""

from __future__ import annotations

from api.schemas import quota_nodes as schemas
from broker.scarcity.shaping import Given, Moved


def given(found: Given) -> schemas.QuotaNode:
    """A system's node."""
    return schemas.QuotaNode(node_id=found.node, moved_holds=found.moved_holds)


def moved(done: Moved) -> schemas.QuotaMoved:
    """What went, or would."""
    over = [
        schemas.LimitOver(
            node_id=r.node,
            name=done.names.get(r.node, str(r.node)),
            resource_class=r.resource_class.value,
            sub_cloud=done.names.get(r.pool) if r.pool else None,
            limit=r.limit,
            load=r.used + r.asked,
        )
        for r in done.found.over
        if r.node is not None
    ]
    return schemas.QuotaMoved(nodes=done.found.nodes, over=over)

"""Which roles may use which kind of endpoint: the one table, and how a route declares its line of it.

Called by: every route (``openapi_extra=needs(...)``), the unit of work (``check``). Must not: look at units, duties or
states; those the services check. A route without a declared permission fails a test and is refused at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from broker.errors import Forbidden
from broker.lifecycle import Role
from broker.tenancy.values import Actor

KEY = "x-permission"


class Permission(StrEnum):
    """What an endpoint lets somebody do."""

    PUBLIC = "public"
    """Without signing in: sign-in itself, health, the description of the interface, static files."""
    SELF = "self"
    """One's own session, tokens and notices: everybody who has signed in."""
    REQUEST_READ = "request.read"
    REQUEST_WRITE = "request.write"
    REQUEST_APPROVE = "request.approve"
    NETWORK_EXCEPTION_GRANT = "network_exception.grant"
    ASSESSMENT_READ = "assessment.read"
    ASSESSMENT_DECIDE = "assessment.decide"
    DELIVERY_ORDER = "delivery.order"
    DELIVERY_READ = "delivery.read"
    DESK_READ = "desk.read"
    DESK_DECIDE = "desk.decide"
    HANDOVER_SECRET = "handover.secret"  # noqa: S105 - a permission's name, not a secret
    RELEASE_ASK = "release.ask"
    RELEASE_CONFIRM = "release.confirm"
    RECLAIM_READ = "reclaim.read"
    RECLAIM_OBJECT = "reclaim.object"
    RECLAIM_ANSWER = "reclaim.answer"
    RECLAIM_OPERATE = "reclaim.operate"
    RECLAIM_END = "reclaim.end"
    """Ending a case, starting its servers again, confirming a release: the offices that carry it out or decide."""
    RECLAIM_POLICY_READ = "reclaim_policy.read"
    RECLAIM_POLICY = "reclaim_policy.switch"
    RESOURCE_READ = "resource.read"
    CATALOG_READ = "catalog.read"
    QUOTA_READ = "quota.read"
    QUOTA_SET = "quota.set"
    COMPETING_READ = "competing.read"
    PREFIX_READ = "prefix.read"
    CAPACITY_READ = "capacity.read"
    CAPACITY_DECIDE = "capacity.decide"
    SYSTEM_READ = "system.read"
    SYSTEM_WRITE = "system.write"
    SYSTEM_APPROVE = "system.approve"
    NETWORK_READ = "network.read"
    NETWORK_WRITE = "network.write"
    NETWORK_DECIDE = "network.decide"
    """A new day for a step, permission to stay, the second word on a shutdown: the Bureau's."""
    FUNDS_STOP_READ = "funds_stop.read"
    ZOMBIE_READ = "zombie.read"
    ZOMBIE_SCAN = "zombie.scan"
    ZOMBIE_DECIDE = "zombie.decide"
    USAGE_READ = "usage.read"
    USAGE_WRITE = "usage.write"
    STATEMENT_READ = "statement.read"
    STATEMENT_DRAW = "statement.draw"
    SETTLEMENT_READ = "settlement.read"
    DISPUTE_RAISE = "dispute.raise"
    DISPUTE_ANSWER = "dispute.answer"
    ADJUSTMENT_DECIDE = "adjustment.decide"
    """Proposing to put a closed line right, and confirming what another proposed."""
    MONTH_CLOSE = "month.close"
    MONTH_READ = "month.read"
    """What a close would freeze, what stops it, and where the books begin."""
    BUDGET_SET = "budget.set"
    AUDIT_READ = "audit.read"
    PERSON_BLANK = "person.blank"
    SENDING_DECIDE = "sending.decide"


_R = Role
_EVERYBODY = frozenset(_R) - {_R.SYSTEM}
_UNIT = frozenset({_R.APPLICANT, _R.UNIT_LEADER})
_OFFICES = frozenset({_R.APPROVER, _R.ASSESSOR, _R.OPERATOR})
_READERS = frozenset({_R.AUDIT, _R.ADMINISTRATOR})
_ROAD = _UNIT | _OFFICES | _READERS | {_R.CLOUD_CHIEF}
"""Everybody who follows requests: the units with their chiefs, the offices, and who reads everything."""

ALLOWED: Mapping[Permission, frozenset[Role]] = {
    Permission.PUBLIC: _EVERYBODY,
    Permission.SELF: _EVERYBODY,
    Permission.REQUEST_READ: _ROAD,
    Permission.REQUEST_WRITE: _UNIT,
    Permission.REQUEST_APPROVE: frozenset({_R.APPROVER}),
    Permission.NETWORK_EXCEPTION_GRANT: frozenset({_R.APPROVER}),
    Permission.ASSESSMENT_READ: _ROAD,
    Permission.ASSESSMENT_DECIDE: frozenset({_R.ASSESSOR}),
    Permission.DELIVERY_ORDER: frozenset({_R.OPERATOR}),
    Permission.DELIVERY_READ: _ROAD,
    Permission.DESK_READ: frozenset({_R.OPERATOR}) | _READERS,
    Permission.DESK_DECIDE: frozenset({_R.OPERATOR}),
    Permission.HANDOVER_SECRET: _UNIT,
    Permission.RELEASE_ASK: _UNIT,
    Permission.RELEASE_CONFIRM: frozenset({_R.OPERATOR}),
    Permission.RECLAIM_READ: _ROAD,
    Permission.RECLAIM_OBJECT: _UNIT,
    Permission.RECLAIM_ANSWER: frozenset({_R.APPROVER}),
    Permission.RECLAIM_OPERATE: frozenset({_R.OPERATOR}),
    Permission.RECLAIM_END: frozenset({_R.OPERATOR, _R.APPROVER}),
    Permission.RECLAIM_POLICY_READ: _OFFICES | _READERS,
    Permission.RECLAIM_POLICY: frozenset({_R.OPERATOR, _R.APPROVER}),
    Permission.RESOURCE_READ: _ROAD | {_R.FINANCE, _R.CLOUD_OPERATOR},
    Permission.CATALOG_READ: _EVERYBODY,
    Permission.QUOTA_READ: _ROAD,
    Permission.QUOTA_SET: frozenset({_R.APPROVER}),
    Permission.COMPETING_READ: _OFFICES | _READERS,
    Permission.PREFIX_READ: _ROAD | {_R.CLOUD_OPERATOR},
    Permission.CAPACITY_READ: _OFFICES | _READERS | {_R.CLOUD_OPERATOR},
    Permission.CAPACITY_DECIDE: frozenset({_R.OPERATOR}),
    Permission.SYSTEM_READ: _ROAD | {_R.FINANCE},
    Permission.SYSTEM_WRITE: _UNIT | {_R.ADMINISTRATOR},
    Permission.SYSTEM_APPROVE: frozenset({_R.APPROVER}),
    Permission.NETWORK_READ: _ROAD | {_R.FINANCE},
    Permission.NETWORK_WRITE: _UNIT | {_R.ADMINISTRATOR},
    Permission.NETWORK_DECIDE: frozenset({_R.APPROVER}),
    Permission.FUNDS_STOP_READ: _READERS | {_R.FINANCE},
    Permission.ZOMBIE_READ: _ROAD,
    Permission.ZOMBIE_SCAN: frozenset({_R.ASSESSOR, _R.OPERATOR, _R.ADMINISTRATOR}),
    Permission.ZOMBIE_DECIDE: frozenset({_R.APPROVER}),
    Permission.USAGE_READ: frozenset({_R.OPERATOR}) | _READERS,
    Permission.USAGE_WRITE: frozenset({_R.OPERATOR, _R.ADMINISTRATOR}),
    Permission.STATEMENT_READ: _ROAD | {_R.FINANCE},
    Permission.SETTLEMENT_READ: frozenset({_R.FINANCE, _R.CLOUD_OPERATOR}) | _READERS,
    Permission.STATEMENT_DRAW: frozenset({_R.FINANCE, _R.ADMINISTRATOR}),
    Permission.DISPUTE_RAISE: frozenset({_R.FINANCE}),
    Permission.DISPUTE_ANSWER: frozenset({_R.FINANCE}),
    Permission.ADJUSTMENT_DECIDE: frozenset({_R.FINANCE, _R.ADMINISTRATOR}),
    Permission.MONTH_CLOSE: frozenset({_R.FINANCE, _R.ADMINISTRATOR}),
    Permission.MONTH_READ: frozenset({_R.FINANCE}) | _READERS,
    Permission.BUDGET_SET: frozenset({_R.FINANCE, _R.ADMINISTRATOR}),
    Permission.AUDIT_READ: _READERS,
    Permission.PERSON_BLANK: frozenset({_R.ADMINISTRATOR}),
    Permission.SENDING_DECIDE: frozenset({_R.ADMINISTRATOR}),
}


def needs(permission: Permission) -> dict[str, Any]:
    """What a route passes as ``openapi_extra``: its permission, which the interface's description shows as well."""
    return {KEY: permission.value}


def declared(route: object) -> Permission | None:
    """The permission a route declares."""
    extra = getattr(route, "openapi_extra", None) or {}
    return Permission(extra[KEY]) if KEY in extra else None


def allowed(actor: Actor, permission: Permission) -> bool:
    """Whether one of the actor's roles, own or as a deputy, is on the line."""
    return permission is Permission.SELF or bool((actor.roles | frozenset(actor.deputy_for)) & ALLOWED[permission])


def check(actor: Actor, permission: Permission) -> None:
    """Raises Forbidden ``role.missing`` unless one of the actor's roles, own or as a deputy, is on the line."""
    roles = actor.roles | frozenset(actor.deputy_for)
    if permission is not Permission.SELF and not roles & ALLOWED[permission]:
        raise Forbidden("role.missing", permission=permission.value)

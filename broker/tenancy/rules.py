"""Who may decide: pure decisions over an actor and the unit that has the duty. And where mail can go.

Called by: approval, assessment, delivery, reclamation; the region file, notices. Must not: read the database.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import UUID

from broker.errors import Forbidden
from broker.lifecycle import Role
from broker.tenancy.values import Actor, Mandate

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
EMAIL = rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})+"
"""An address of RFC 5321 without its rarities: letters of ASCII, no quotes, a domain with a dot."""
_EMAIL = re.compile(EMAIL)


def mailable(address: str) -> bool:
    """Whether a mail server can be told this address."""
    return len(address) <= 254 and len(address.partition("@")[0]) <= 64 and _EMAIL.fullmatch(address) is not None


def mandate(actor: Actor, role: Role, unit_id: UUID | None, *, except_for: frozenset[UUID] = frozenset()) -> Mandate:
    """The actor's right to act in ``role`` for ``unit_id``: its own, else as somebody's deputy.

    ``except_for`` are accounts whose people may not act here, by any account of theirs or through a deputy (the
    requester, the decider).
    Raises Forbidden ``duty.missing`` (no such role in that unit) or ``duty.separated`` (excepted).
    """
    if actor.account_id is None:
        raise Forbidden("duty.missing", role=role.value)
    own = role in actor.roles and actor.unit_id == unit_id
    principals = [p for p in actor.deputy_for.get(role, ()) if p.unit_id == unit_id]
    if not own and not principals:
        raise Forbidden("duty.missing", role=role.value)
    if actor.accounts & except_for:
        raise Forbidden("duty.separated", role=role.value)
    if own:
        return Mandate(actor.account_id, None)
    for principal in principals:
        if not principal.accounts & except_for:
            return Mandate(actor.account_id, principal.account_id)
    raise Forbidden("duty.separated", role=role.value)


def one_of(
    actor: Actor, duties: Sequence[tuple[Role, UUID | None]], *, except_for: frozenset[UUID] = frozenset()
) -> tuple[Mandate, Role]:
    """The first of these duties that the actor has, whatever else he is elsewhere. Raises as ``mandate``.

    Of several refusals the one is raised that says more: ``duty.separated``.
    """
    refused = Forbidden("duty.missing")
    for role, unit_id in duties:
        try:
            return mandate(actor, role, unit_id, except_for=except_for), role
        except Forbidden as error:
            refused = refused if refused.code == "duty.separated" else error
    raise refused

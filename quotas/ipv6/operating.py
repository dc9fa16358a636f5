"""What an operator does to prefixes that are there: give back, grow in place, reserve a range, lift a reservation.

Called by: ``broker.addresses`` and tests, with a session whose transaction is theirs. Must not: commit, know requests.

Unlike the verbs of ``quotas.ipv6.service``, which a workflow repeats without harm, giving back twice is an error here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv6Network
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from quotas import order
from quotas.errors import (
    BadPrefix,
    CannotGrow,
    InTheWay,
    NotYourPrefix,
    PrefixBusy,
    PrefixGone,
    PrefixOverlap,
    UnknownDomain,
)
from quotas.ipv6.service import allocation_of, network_of, patiently
from quotas.ipv6.values import Allocation

GIVE_BACK = text("SELECT quotas.give_back(:owner, CAST(:prefix AS cidr), :until)")
GROW = text("SELECT quotas.grow(:owner, :length)")
RESERVE = text("SELECT quotas.reserve(:id, :domain, CAST(:prefix AS cidr), :reason)")
LIFT = text("SELECT quotas.lift(:id)")


def give_back(
    session: Session, owner: UUID, *, quarantine_until: datetime, prefix: IPv6Network | str | None = None
) -> Allocation:
    """An active prefix rests until the date; one that was only held is free at once.

    With ``prefix`` only if it is that one. NotYourPrefix: another owner has it; PrefixGone: given back, or never had.
    """
    wanted = None if prefix is None else str(network_of(prefix))
    values = {"owner": owner, "prefix": wanted, "until": quarantine_until}
    order.prefixes(session)
    answer: Mapping[str, Any] = session.scalars(GIVE_BACK, values).one()
    match answer["outcome"]:
        case "not_yours":
            raise NotYourPrefix(wanted or str(owner))
        case "gone" | "unknown":
            raise PrefixGone(owner, answer.get("state", "unknown"))
    return allocation_of(answer)


def grow(session: Session, owner: UUID, new_length: int) -> Allocation:
    """The owner's prefix becomes that short, around the addresses it has. Of that length already: nothing happens.

    CannotGrow: what is in the way, and how short it could become. BadPrefix: too_long (it would shrink), too_short
    (larger than its pool). PrefixGone; PrefixBusy: what is in the way is not committed yet, after some tries.
    """
    order.prefixes(session)
    answer = patiently(lambda: session.scalars(GROW, {"owner": owner, "length": new_length}).one())
    match answer["outcome"]:
        case "blocked":
            raise CannotGrow(new_length, answer["fits"], in_the_way(answer))
        case "too_long" | "too_short" as reason:
            raise BadPrefix(reason, f"/{new_length}")
        case "gone":
            raise PrefixGone(owner, answer["state"])
        case "busy":
            raise PrefixBusy(str(owner))
    return allocation_of(answer)


def reserve(session: Session, *, routing_domain: str, prefix: IPv6Network | str, reason: str) -> Allocation:
    """Keep a range free: nothing is allocated there, and no pool is made there, until it is lifted.

    It lies in one pool, or covers pools of which nothing is in use. Its owner is its own id. PrefixOverlap: what is
    there; BadPrefix: no reason, outside every pool; UnknownDomain; PrefixBusy.
    """
    if not reason.strip() or len(reason) > 200:
        raise BadPrefix("no_reason")
    network = str(network_of(prefix))
    values = {"id": uuid7(), "domain": routing_domain, "prefix": network, "reason": reason.strip()}
    order.prefixes(session)
    answer: Mapping[str, Any] = session.scalars(RESERVE, values).one()
    match answer["outcome"]:
        case "no_domain":
            raise UnknownDomain(routing_domain)
        case "outside":
            raise BadPrefix("outside", network)
        case "overlaps":
            raise PrefixOverlap(network, in_the_way(answer))
        case "busy":
            raise PrefixBusy(network)
    return allocation_of(answer)


def lift(session: Session, reservation: UUID) -> Allocation:
    """The range may be handed out again, at once. PrefixGone: there is no such reservation."""
    order.prefixes(session)
    answer: Mapping[str, Any] = session.scalars(LIFT, {"id": reservation}).one()
    if answer["outcome"] != "ok":
        raise PrefixGone(reservation, answer["state"])
    return allocation_of(answer)


def in_the_way(answer: Mapping[str, Any]) -> tuple[InTheWay, ...]:
    """The live prefixes that an answer names."""
    return tuple(InTheWay(b["prefix"], b["state"], b["owner"], b["label"]) for b in answer["by"])

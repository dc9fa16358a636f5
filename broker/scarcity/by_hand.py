"""What is done to quotas without a request: hold, post, void, release, limits, systems' nodes. Each is an event.

Called by: the command line; ``scarcity.shaping``, for the Bureau. Must not: count (``quotas`` does), or be used by the
road: a request's stages write events of their own.

**When the event is written.** In the transaction of what it tells, but for the fast hold, whose transaction is shared
with other callers (``quotas.together``). There ``quota.hold_asked`` is committed *before* the hold is counted, in the
same round trip (``broker.hold_together``) and without a flush of its own: the log of PostgreSQL is one, so that once a
hold is on disk the event before it is. A hold that counts is therefore never without its event; that it was not
granted, and why, is a second one in the same round trip, ``quota.hold_refused``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.orm import Session

from broker.db.base import new_id
from broker.errors import BrokerError, NotFound
from broker.inventory.models import InformationSystem, Resource
from broker.request.models import ServiceRequest
from broker.tenancy import repository as tenancy
from broker.tenancy.models import Account
from broker.tenancy.values import Mandate
from broker.tenancy.work import Work
from quotas import availability, models, moving, service, together
from quotas.errors import DoneBefore, NotThatMuch, NotYours, QuotaError
from quotas.values import Line, ResourceClass

_TOLD = text("""
INSERT INTO broker.audit_event (id, at, actor_id, action, subject_type, subject_id, article, data, trace_id)
VALUES (:id, :at, :actor, :action, 'hold', :hold, '', CAST(:data AS jsonb), '') ON CONFLICT (id) DO NOTHING
""")
_DONE = {"post": "quota.posted", "release": "quota.released"}
_TELL_AND_HOLD = b"CALL broker.hold_together($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, NULL)"


@dataclass(frozen=True, slots=True)
class Hand:
    """Who decides, and why. Without an account only the machine's own number of whoever types is known."""

    account_id: UUID | None = None
    os_uid: int | None = None
    reason: str = ""
    on_behalf_of: UUID | None = None

    @property
    def mandate(self) -> Mandate | None:
        """That the named account acts."""
        return None if self.account_id is None else Mandate(self.account_id, self.on_behalf_of)

    @property
    def why(self) -> dict[str, Any]:
        """What of it an event keeps beside the account."""
        return {"reason": self.reason} | ({} if self.os_uid is None else {"os_uid": self.os_uid})


def account_of(session: Session, login: str) -> UUID:
    """The account that is open under a login. Raises NotFound ``account.unknown``."""
    found = session.scalar(select(Account.id).where(Account.login == login, Account.disabled_at.is_(None)))
    if found is None:
        raise NotFound("account.unknown", login=login)
    return found


def hold(
    engine: Engine,
    clock: Callable[[], datetime],
    hand: Hand,
    *,
    owner: UUID,
    node: UUID,
    lines: Sequence[Line],
    expires_at: datetime,
    hold_id: UUID,
) -> datetime:
    """As ``quotas.together.hold``, with its events; the same errors. Until when it counts."""
    service.columns(lines)  # what is no amount is refused before anything is written
    data = {"owner": str(owner), "node": str(node), "lines": _told(lines), "expires_at": expires_at.isoformat()}

    def told(action: str, more: dict[str, Any]) -> dict[str, Any]:
        row = {"id": new_id(), "at": clock(), "actor": hand.account_id, "action": action, "hold": hold_id}
        return row | {"data": json.dumps(more | hand.why)}

    asked = told("quota.hold_asked", data)
    alone = False

    def write(connection: Connection) -> None:
        nonlocal alone
        alone = True
        connection.execute(_TOLD, asked)

    values = (str(asked["id"]), asked["at"].isoformat(), asked["actor"] and str(asked["actor"]), asked["data"])
    before = together.Before(b"broker_hold_together", _TELL_AND_HOLD, (*values, str(new_id())), write)
    try:
        return together.hold(
            engine, owner=owner, node=node, lines=lines, expires_at=expires_at, hold_id=hold_id, before=before
        ).until
    except QuotaError as error:
        if alone:  # what the group could not answer: the procedure has told nothing of it
            with engine.begin() as connection:
                connection.execute(_TOLD, told("quota.hold_refused", {"code": error.code, "refused": []}))
        raise


def resize(
    work: Work,
    hand: Hand,
    *,
    owner: UUID,
    node: UUID,
    lines: Sequence[Line],
    expires_at: datetime,
    hold_id: UUID,
    replaces: UUID,
) -> datetime:
    """Hold instead of another hold of the same owner: only the difference is asked for. As ``hold``."""
    there = availability.holds(work.session, hold_ids=[hold_id])
    service.hold(
        work.session,
        owner=owner,
        node=node,
        lines=lines,
        expires_at=expires_at,
        hold_id=hold_id,
        replaces=replaces,
    )
    if there:
        return there[0].expires_at
    data = {"owner": str(owner), "node": str(node), "lines": _told(lines), "replaces": str(replaces)}
    _record(work, hand, "quota.held", hold_id, data | {"expires_at": expires_at.isoformat()})
    return expires_at


def post(
    work: Work,
    hand: Hand,
    hold_id: UUID,
    lines: Sequence[Line] | None,
    *,
    key: UUID | None = None,
    owner: UUID | None = None,
) -> UUID:
    """As ``quotas.service.post``; the key it was done with. Without one a part has the key of ``key_of``.

    Raises NotYours (an owner is named, another's it is), NotThatMuch (nothing left), DoneBefore (a part without a key,
    the second time).
    """
    used = key or key_of("post", hold_id, lines)
    _require_owner(work, hold_id, owner)
    moved = service.post(work.session, hold_id, lines, key=used)
    _settled(work, hand, "post", hold_id, moved, key=used, named=key is not None)
    return used


def release(
    work: Work,
    hand: Hand,
    hold_id: UUID,
    lines: Sequence[Line] | None,
    *,
    key: UUID | None = None,
    owner: UUID | None = None,
) -> UUID:
    """As ``quotas.service.release``; else as ``post``."""
    used = key or key_of("release", hold_id, lines)
    _require_owner(work, hold_id, owner)
    moved = service.release(work.session, hold_id=hold_id, lines=lines, key=used)
    _settled(work, hand, "release", hold_id, moved, key=used, named=key is not None)
    return used


def key_of(verb: str, hold_id: UUID, lines: Sequence[Line] | None) -> UUID:
    """The key of who names none: the same verb on the same hold with the same amounts has the same.

    So the same words again count nothing, and are refused (DoneBefore): whether they are the first ones, said again
    because no answer came, or a second part of the same size, is only known to who says them, and he says it by a key.
    No key can be made that tells the two apart: what a hold has posted is other after the first in both cases. All that
    is left has a new key every time, for it cannot be counted twice.
    """
    if lines is None:
        return new_id()
    amounts = service.columns(lines)
    told = sorted(zip(*(map(str, amounts[name] or ()) for name in ("classes", "pools", "amounts")), strict=True))
    return uuid5(hold_id, f"{verb} {told}")


def void(work: Work, hand: Hand, hold_id: UUID, *, owner: UUID | None = None) -> None:
    """As ``quotas.service.void``; an event only where something was given back. Raises NotYours."""
    _require_owner(work, hold_id, owner)
    given = service.void(work.session, hold_id)
    if given:
        _record(work, hand, "quota.voided", hold_id, {"lines": _told(given)})


def set_limit(
    work: Work,
    hand: Hand,
    node: UUID,
    resource_class: ResourceClass,
    *,
    pool: UUID | None,
    limit: int | None,
    borrowing: int | None,
    lending: int | None,
) -> None:
    """As ``quotas.service.set_limit``."""
    service.set_limit(work.session, node, resource_class, pool, limit, borrowing=borrowing, lending=lending)
    data = {"class": resource_class.value, "pool": str(pool or ""), "limit": limit}
    data |= {"borrowing": borrowing, "lending": lending} | hand.why
    work.record("quota.limit_set", "node", node, mandate=hand.mandate, data=data)


def give_node(work: Work, hand: Hand, system_id: UUID) -> int:
    """Give an information system a node of its own below its unit's; how many holds have moved there.

    From now on what is held for it is counted there, and so at every node above; what it has already moves there in the
    same transaction, exactly. Again: nothing more happens. UnknownNode (its unit has none), QuotaExceeded (a limit
    between the unit that asked and the system's own would not bear it), HoldBusy; NotFound ``system.unknown``.
    """
    # Locked first (quotas/order.py): the register moves and merges systems, and would not see a node made meanwhile.
    system = work.session.get(InformationSystem, system_id, with_for_update={"key_share": True}, populate_existing=True)
    if system is None:
        raise NotFound("system.unknown")
    moving.alone(work.session)  # from here on nobody holds for the system at its unit any more
    fresh = availability.lowest(work.session, [system_id]) is None
    service.add_node(work.session, id=system_id, parent_id=_parent(work, system))
    asked = select(models.hold.c.id).join(ServiceRequest, ServiceRequest.id == models.hold.c.owner)
    has = select(Resource.hold_id).where(Resource.system_id == system_id, Resource.hold_id.is_not(None))
    of_system = work.session.scalars(asked.where(ServiceRequest.system_id == system_id).union(has)).all()
    moved = moving.holds(work.session, of_system, system_id)
    if fresh or moved:
        data = {"unit": str(system.unit_id), "moved": moved} | hand.why
        work.record("quota.node_given", "system", system_id, mandate=hand.mandate, data=data)
    return moved


def _parent(work: Work, system: InformationSystem) -> UUID:
    """Its unit; for a system that was merged, where a node of its own would have gone with the merger."""
    if system.merged_into_id is None:
        return system.unit_id
    head = work.session.get_one(InformationSystem, system.merged_into_id)
    return availability.lowest(work.session, [head.id, head.unit_id]) or head.unit_id


def move_node(work: Work, hand: Hand, node: UUID, parent: UUID, *, how: moving.How) -> moving.MovedNode:
    """As ``quotas.moving.node``; an event where something moved."""
    moved = moving.node(work.session, node, parent, how=how)
    if moved.nodes:
        over = [{"node": str(r.node), "class": r.resource_class.value} for r in moved.over]
        data = {"below": str(parent), "nodes": moved.nodes, "over": over} | hand.why
        work.record("quota.node_moved", "node", node, mandate=hand.mandate, data=data)
    return moved


def node_of(session: Session, code: str, *, now: datetime) -> UUID:
    """The node of a unit, or of an information system that has one, by its code.

    Raises NotFound ``quota.no_node_of_its_own`` (a system counted at its unit), Invalid ``unit.unknown``.
    """
    try:
        return tenancy.unit_id_of(session, code, now=now)
    except BrokerError:
        system = session.scalar(select(InformationSystem.id).where(InformationSystem.code == code))
        if system is None:
            raise
    if availability.lowest(session, [system]) is None:
        raise NotFound("quota.no_node_of_its_own", system=code)
    return system


def _require_owner(work: Work, hold_id: UUID, owner: UUID | None) -> None:
    """Raises NotYours where an owner is named and another's it is. A hold's owner never changes."""
    for found in availability.holds(work.session, hold_ids=[hold_id]) if owner else ():
        if found.owner != owner:
            raise NotYours(str(hold_id))


def _settled(work: Work, hand: Hand, verb: str, hold_id: UUID, moved: int | None, *, key: UUID, named: bool) -> None:
    """The event of a post or release that moved something, with what it moved; ``named``: the caller's own key.

    It is read after it was done: what was there before the call may be another's by the time that it counts.
    """
    if moved is None:
        if not named:
            raise DoneBefore(key)
        return
    if not moved:
        raise NotThatMuch([])  # all of nothing: it was done before, with another key
    m = models.movement
    done = select(m.c.resource_class, m.c.amount, m.c.pool_id).where(
        m.c.kind == verb, m.c.key == key, m.c.hold_id == hold_id
    )
    rows = work.session.execute(done.order_by(m.c.resource_class, m.c.pool_id))
    lines = [Line(ResourceClass(row.resource_class), row.amount, row.pool_id) for row in rows]
    _record(work, hand, _DONE[verb], hold_id, {"key": str(key), "lines": _told(lines)})


def _record(work: Work, hand: Hand, action: str, hold_id: UUID, data: dict[str, Any]) -> None:
    work.record(action, "hold", hold_id, mandate=hand.mandate, data=data | hand.why)


def _told(lines: Iterable[Line]) -> list[dict[str, Any]]:
    return [{"class": line.resource_class.value, "pool": str(line.pool), "amount": int(line.amount)} for line in lines]

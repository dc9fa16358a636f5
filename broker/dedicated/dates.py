"""What the Bureau changes about a network's days (Art. 12): a new day for a step, or permission to stay for a while.

Called by: the API, the console. Must not: change a day that is past its step, or forget the one before.
"""

from __future__ import annotations

from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import select

from broker.catalog import repository as catalog
from broker.db.base import new_id
from broker.dedicated import progress, rules, stops
from broker.dedicated.models import DedicatedNetwork, NetworkDate, NetworkStay
from broker.dedicated.register import locked
from broker.dedicated.values import Step
from broker.errors import Conflict, Invalid, Problem
from broker.inventory.register import today
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.tenancy.models import Account, UnitPeriod
from broker.tenancy.repository import holds
from broker.tenancy.rules import mandate
from broker.tenancy.values import Mandate
from broker.tenancy.work import Work

LONGEST_STAY = timedelta(days=3 * 366)
"""A network stays for a time, then it is looked at again (ours)."""


def redate(work: Work, network_id: UUID, step: Step, *, due_on: date, reason: str, owner: str = "") -> DedicatedNetwork:
    """Give a step another day, another owner (a login of the network's tree), or both; what held stays on record.

    With another owner the day may stay what it is. A stop of funds that rested on the day is lifted.

    Raises NotFound ``network.not_found``, Forbidden (``tenancy.rules.mandate``), Conflict ``network.step_done``,
    ``network.not_planned``; Invalid ``reason.missing``, ``network.date_range``, ``network.date_order``,
    ``network.person_unknown``.
    """
    network = locked(work, network_id)
    by = _bureau(work)
    found = progress.of(work.session, network.id)
    if step in found.done:
        raise Conflict("network.step_done", article=step.article, network_step=step.value)
    if step not in found.due:
        raise Conflict("network.not_planned", article=Step.PLAN.article)
    old = next(d for d in progress.dates(work.session, [network.id]) if d.position == step.position)
    owner_id = _owner(work, network, owner) if owner else old.owner_id
    problems = [] if reason.strip() else [Problem("reason.missing", "reason")]
    if owner_id is None:
        problems.append(Problem("network.person_unknown", "owner", step.article, {"login": owner}))
    moved = [step] if due_on != old.due_on or owner_id in (None, old.owner_id) else []
    changed = rules.order_problems({**found.due, step: due_on}, moved, today(work.now))
    problems += [Problem(p.code, "due_on", p.article) for p in changed]
    if problems or owner_id is None:
        raise Invalid(problems)
    work.session.add(
        NetworkDate(
            network_id=network.id,
            position=step.position,
            version=old.version + 1,
            due_on=due_on,
            owner_id=owner_id,
            reason=reason.strip(),
            set_by=by.account_id,
            set_at=work.now,
        )
    )
    data = {"step": step.value, "from": old.due_on.isoformat(), "to": due_on.isoformat()}
    data |= {} if owner_id == old.owner_id else {"owner_from": str(old.owner_id), "owner_to": str(owner_id)}
    work.record("network.redated", "dedicated_network", network.id, mandate=by, article="Art. 12", data=data)
    subject = ("dedicated_network", network.id)
    params = {"network": network.name, "network_step": step.value, "day": due_on.isoformat()}
    if owner_id == old.owner_id:
        notify.tell_account(work, owner_id, "network.redated", subject, **params)
    else:
        notify.tell_account(work, owner_id, "network.handed_on", subject, **params)
        notify.tell_account(work, old.owner_id, "network.handed_over", subject, **params)
    stops.settle(work, network)
    return network


def _owner(work: Work, network: DedicatedNetwork, login: str) -> UUID | None:
    """The account with this login in the tree of the network's unit, if there is one that can sign in."""
    statement = (
        select(Account.id)
        .join(UnitPeriod, UnitPeriod.unit_id == Account.unit_id)
        .where(
            Account.login == login,
            Account.person_id.is_not(None),
            Account.disabled_at.is_(None),
            holds(UnitPeriod.during, work.now),
            UnitPeriod.ancestors.contains([network.unit_id]),
        )
    )
    return work.session.scalar(statement)


def let_stay(work: Work, network_id: UUID, *, until: date, document_number: str, reason: str) -> NetworkStay:
    """Put on record that a network may stay until the end of a day: an isolated network is the exception (Art. 6).

    While it may, none of its steps is late. Raises NotFound ``network.not_found``, Forbidden
    (``tenancy.rules.mandate``), Conflict ``network.closed``; Invalid ``field.missing``, ``reason.missing``,
    ``network.stay_until``.
    """
    network = locked(work, network_id)
    by = _bureau(work)
    if Step.SHUT_DOWN in progress.of(work.session, network.id).done:
        raise Conflict("network.closed")
    problems = [] if reason.strip() else [Problem("reason.missing", "reason")]
    if not document_number.strip():
        problems.append(Problem("field.missing", "document_number"))
    day = today(work.now)
    if not day < until <= day + LONGEST_STAY:
        problems.append(Problem("network.stay_until", "until", "Art. 6"))
    if problems:
        raise Invalid(problems)
    stay = NetworkStay(
        id=new_id(),
        network_id=network.id,
        until=until,
        document_number=document_number.strip(),
        reason=reason.strip(),
        granted_by=by.account_id,
        granted_at=work.now,
    )
    work.session.add(stay)
    data = {"until": until.isoformat()}
    work.record("network.stays", "dedicated_network", network.id, mandate=by, article="Art. 6", data=data)
    notify.tell_account(
        work,
        network.responsible_id,
        "network.stays",
        ("dedicated_network", network.id),
        network=network.name,
        day=until.isoformat(),
    )
    stops.settle(work, network)
    return stay


def _bureau(work: Work) -> Mandate:
    bureau = catalog.main_authority(work.session, "decide", work.now)
    return mandate(work.actor, Role.APPROVER, bureau)

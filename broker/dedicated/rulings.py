"""What the Bureau decides about the systems of a dedicated network once its plan stands (Art. 11(3), 12).

Called by: the API, the console. Must not: let a unit shorten its own list. What it names in the plan has to move or to
end; that a system was listed by mistake, or that a network carries none, is the Bureau's word, with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, update

from broker.catalog import repository as catalog
from broker.db.base import new_id
from broker.dedicated import progress
from broker.dedicated.models import DedicatedNetwork, NetworkRuling, NetworkSystem
from broker.dedicated.register import locked
from broker.dedicated.values import Step
from broker.errors import Conflict, Invalid, Problem
from broker.inventory.models import InformationSystem
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.tenancy.rules import mandate
from broker.tenancy.work import Work


def rule(work: Work, network_id: UUID, *, drop: Sequence[str], reason: str) -> DedicatedNetwork:
    """Take systems (codes) off a network's list; with none named, confirm that it carries no system.

    Raises NotFound ``network.not_found``, Forbidden (``tenancy.rules.mandate``), Conflict ``network.not_planned``,
    ``network.step_done`` once its systems have moved; Invalid ``reason.missing``, ``network.system_not_listed``,
    ``network.carries_systems``.
    """
    network = locked(work, network_id)
    by = mandate(work.actor, Role.APPROVER, catalog.main_authority(work.session, "decide", work.now))
    done = progress.of(work.session, network.id).done
    if Step.PLAN not in done:
        raise Conflict("network.not_planned", article=Step.PLAN.article)
    if Step.MIGRATE in done:
        raise Conflict("network.step_done", article=Step.MIGRATE.article, network_step=Step.MIGRATE.value)
    statement = (
        select(InformationSystem.code, NetworkSystem.id)
        .join(NetworkSystem, NetworkSystem.system_id == InformationSystem.id)
        .where(NetworkSystem.network_id == network.id, NetworkSystem.dropped_at.is_(None))
    )
    listed = {row.code: row.id for row in work.session.execute(statement)}
    problems = [] if reason.strip() else [Problem("reason.missing", "reason")]
    wrong = sorted(set(drop) - set(listed))
    problems += [Problem("network.system_not_listed", "drop", Step.MIGRATE.article, {"code": code}) for code in wrong]
    if not drop and listed:
        problems.append(Problem("network.carries_systems", "drop", Step.MIGRATE.article, {"count": len(listed)}))
    if problems:
        raise Invalid(problems)
    work.session.execute(
        update(NetworkSystem).where(NetworkSystem.id.in_([listed[c] for c in drop])).values(dropped_at=work.now)
    )
    codes = sorted(set(drop))
    work.session.add(
        NetworkRuling(
            id=new_id(),
            network_id=network.id,
            dropped=codes,
            reason=reason.strip(),
            ruled_by=by.account_id,
            ruled_at=work.now,
        )
    )
    data = {"dropped": codes}
    work.record("network.ruled", "dedicated_network", network.id, mandate=by, article="Art. 12", data=data)
    subject = ("dedicated_network", network.id)
    said = {"network": network.name, "systems": "、".join(codes)}
    notify.tell_account(
        work, network.responsible_id, "network.ruled" if codes else "network.ruled_none", subject, **said
    )
    return network

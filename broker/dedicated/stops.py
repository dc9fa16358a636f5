"""What is late, and whose funds stop for it (Art. 10): the owner is told first, then finance, until it is put right.

Called by: dispatch (``come``), the services that put something right (``settle``), the API and the console
(``standing``). Must not: stop a payment; finance does, and sees the flag here. A pass that runs again writes nothing
twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text

from broker.chargeback import access
from broker.chargeback.repository import finance_scope
from broker.db.base import AnyRow, new_id
from broker.dedicated import progress, rules
from broker.dedicated.models import DedicatedNetwork, FundsStop
from broker.dedicated.values import STEPS, Step
from broker.inventory.register import today
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.tenancy.work import Work

ARTICLE = "Art. 10"

# Networks whose next step's day has come, and that may not stay. Who is being acted on is looked at the next time.
_DAY_HAS_COME = text("""
SELECT n.id FROM broker.dedicated_network n
CROSS JOIN LATERAL (SELECT coalesce(max(position), 0) + 1 AS next FROM broker.network_step s
                    WHERE s.network_id = n.id) AS s
JOIN LATERAL (SELECT due_on FROM broker.network_date d WHERE d.network_id = n.id AND d.position = s.next
              ORDER BY version DESC LIMIT 1) AS d ON true
WHERE d.due_on <= :today
  AND NOT EXISTS (SELECT FROM broker.network_stay y WHERE y.network_id = n.id AND y.until >= :today)
  AND NOT EXISTS (SELECT FROM broker.funds_stop f WHERE f.network_id = n.id AND f.lifted_at IS NULL)
ORDER BY n.id FOR UPDATE OF n SKIP LOCKED
""")

_FINANCE = text("""
SELECT DISTINCT a.unit_id FROM broker.role_grant g JOIN broker.account a ON a.id = g.account_id
WHERE g.role = 'finance' AND g.during @> CAST(:now AS timestamptz) AND a.disabled_at IS NULL
""")

_LINE = text("""
SELECT ancestors FROM broker.unit_period WHERE unit_id = :unit AND during @> CAST(:now AS timestamptz)
""")


@dataclass(frozen=True, slots=True)
class Passed:
    """What one pass did."""

    noticed: int
    stopped: int
    lifted: int


def come(work: Work, *, report_workdays: int) -> Passed:
    """The daily pass: tell owners of what is late, finance of what stayed late, and lift what was put right."""
    ids = list(work.session.scalars(_DAY_HAS_COME, {"today": today(work.now)}))
    noticed = sum(_notice(work, network_id, report_workdays) for network_id in ids)
    opened = work.session.scalars(
        select(FundsStop)
        .join(DedicatedNetwork, DedicatedNetwork.id == FundsStop.network_id)
        .where(FundsStop.lifted_at.is_(None))
        .order_by(FundsStop.id)
        .with_for_update(of=DedicatedNetwork, skip_locked=True)
    ).all()
    stopped = lifted = 0
    for stop in opened:
        if _lift(work, stop):
            lifted += 1
        elif stop.stopped_at is None and stop.report_at <= work.now:
            _stop(work, stop)
            stopped += 1
    return Passed(noticed, stopped, lifted)


def settle(work: Work, network: DedicatedNetwork) -> None:
    """Lift what no longer stands, in the transaction that put it right. The network is locked."""
    work.session.flush()
    stop = work.session.scalar(
        select(FundsStop).where(FundsStop.network_id == network.id, FundsStop.lifted_at.is_(None))
    )
    if stop is not None:
        _lift(work, stop)


def _notice(work: Work, network_id: UUID, report_workdays: int) -> bool:
    return _open(work, network_id, work.calendar.deadline(work.now, report_workdays).at) is not None


def _open(work: Work, network_id: UUID, report_at: datetime) -> FundsStop | None:
    """The row of the step that is late now, whose owner and cloud chief are told. None: none is."""
    found = progress.of(work.session, network_id)
    step = rules.late(work.calendar, found, work.now)
    if step is None:
        return None
    network = work.session.get_one(DedicatedNetwork, network_id)
    stop = FundsStop(
        id=new_id(),
        network_id=network_id,
        position=step.position,
        due_on=found.due[step],
        noticed_at=work.now,
        report_at=report_at,
    )
    work.session.add(stop)
    work.record("network.late", "dedicated_network", network_id, article=ARTICLE, data={"step": step.value})
    _tell_unit(work, network, stop, "network.late")
    return stop


def _stop(work: Work, stop: FundsStop) -> None:
    network = work.session.get_one(DedicatedNetwork, stop.network_id)
    stop.stopped_at = work.now
    data = {"step": STEPS[stop.position - 1].value, "yearly_cost_fen": network.yearly_cost_fen}
    work.record("network.funds_stopped", "dedicated_network", network.id, article=ARTICLE, data=data)
    _tell_unit(work, network, stop, "network.funds_stopped")
    _tell_finance(work, network, stop, "network.funds_stop")


def _lift(work: Work, stop: FundsStop) -> bool:
    found = progress.of(work.session, stop.network_id)
    stays = progress.stays(work.session, [stop.network_id], today(work.now))
    step = STEPS[stop.position - 1]
    late = None if stays else rules.late(work.calendar, found, work.now)
    if late is step:
        return False
    stop.lifted_why = "stays" if stays else "done" if step in found.done else "dated"
    stop.lifted_at = work.now
    network = work.session.get_one(DedicatedNetwork, stop.network_id)
    data = {"why": stop.lifted_why, "stopped": stop.stopped_at is not None}
    work.record("network.funds_lifted", "dedicated_network", network.id, article=ARTICLE, data=data)
    if late is not None:
        _follow(work, network, stop)
    elif stop.stopped_at is not None:
        _tell_unit(work, network, stop, "network.funds_lifted")
        _tell_finance(work, network, stop, "network.funds_lift")
    return True


def _follow(work: Work, network: DedicatedNetwork, before: FundsStop) -> None:
    """A network that is behind with its next step as well: its owner hears of it, and funds that stood still do so.

    When finance is told is what it was: who is behind with two steps is not given the days of one more.
    """
    work.session.flush()
    stop = _open(work, network.id, max(work.now, before.report_at))
    if stop is not None and before.stopped_at is not None:
        _stop(work, stop)


def _tell_unit(work: Work, network: DedicatedNetwork, stop: FundsStop, code: str) -> None:
    """The owner of the step, and the unit's cloud chief, who answers for it (Art. 5)."""
    owner = next(d.owner_id for d in progress.dates(work.session, [network.id]) if d.position == stop.position)
    subject = ("dedicated_network", network.id)
    params = _params(network, stop)
    notify.tell_account(work, owner, code, subject, **params)
    notify.tell_role(work, (network.unit_id, Role.CLOUD_CHIEF), code, subject, **params)


def _tell_finance(work: Work, network: DedicatedNetwork, stop: FundsStop, code: str) -> None:
    for unit_id in finance_of(work, network.unit_id):
        notify.tell_role(
            work, (unit_id, Role.FINANCE), code, ("dedicated_network", network.id), **_params(network, stop)
        )


def _params(network: DedicatedNetwork, stop: FundsStop) -> dict[str, str]:
    step: Step = STEPS[stop.position - 1]
    return {
        "network": network.name,
        "network_step": step.value,
        "day": stop.due_on.isoformat(),
        "report_at": stop.report_at.isoformat(),
    }


def finance_of(work: Work, unit_id: UUID) -> list[UUID]:
    """The units whose finance people act for a payer at or above this unit, or see the part of it that it is in."""
    line = set(work.session.scalar(_LINE, {"unit": unit_id, "now": work.now}) or ())
    found = work.session.scalars(_FINANCE, {"now": work.now}).all()
    scopes = {each: finance_scope(work.session, each, work.now) for each in found}
    return sorted(each for each, (payer, _, part) in scopes.items() if (part or payer) in line)


@dataclass(frozen=True, slots=True)
class Stopped:
    """A network for which no funds may be paid now, as finance sees it."""

    stop: FundsStop
    network: DedicatedNetwork
    unit_name: str

    @property
    def step(self) -> Step:
        return STEPS[self.stop.position - 1]


_STANDING = text("""
SELECT f.id AS stop_id, n.id AS network_id, coalesce(p.name, '') AS unit_name
FROM broker.funds_stop f JOIN broker.dedicated_network n ON n.id = f.network_id
LEFT JOIN broker.unit_period p ON p.unit_id = n.unit_id AND p.during @> CAST(:now AS timestamptz)
WHERE f.stopped_at IS NOT NULL AND f.lifted_at IS NULL
  AND (CAST(:root AS uuid) IS NULL OR p.ancestors @> ARRAY[CAST(:root AS uuid)])
  AND (CAST(:payer AS uuid) IS NULL OR (
    SELECT y.payer_unit_id FROM unnest(p.ancestors) WITH ORDINALITY AS a(unit_id, depth)
    JOIN broker.payer y ON y.payer_unit_id = a.unit_id AND y.during @> CAST(:now AS timestamptz)
    ORDER BY a.depth DESC LIMIT 1) = :payer)
ORDER BY f.stopped_at, n.code
""")


def standing(work: Work, *, payer: UUID | None = None) -> list[Stopped]:
    """Networks whose funds are stopped now, the longest first, for finance: the region's sees all, a city's its own.

    Audit and the administrator see all, everybody else none here (a unit sees its own on the list of networks).
    ``payer``: only those of units for which this one pays.
    """
    scope = access.scope(work.session, work.actor, work.now)
    if not scope.sees_region and scope.root_unit_id is None:
        return []
    root = None if scope.sees_region else scope.part_unit_id or scope.root_unit_id
    rows: list[AnyRow] = list(work.session.execute(_STANDING, {"now": work.now, "root": root, "payer": payer}))
    return [
        Stopped(
            work.session.get_one(FundsStop, row.stop_id),
            work.session.get_one(DedicatedNetwork, row.network_id),
            row.unit_name,
        )
        for row in rows
    ]

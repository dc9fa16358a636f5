"""A reported connection is looked at on the day: the probes of the extranet decide whether its segments answer.

Called by: ``steps`` (ask), the worker every few seconds (carry), ``board``. Must not: keep a transaction open while
probes look. A worker takes a probe for as long as a look may last; those of several workers are counted as one's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from broker.catalog import repository as catalog
from broker.db.base import new_id
from broker.dedicated import done, evidence, progress, rules
from broker.dedicated.models import DedicatedNetwork, NetworkPlan, NetworkProbe
from broker.dedicated.register import locked
from broker.dedicated.values import Done, Step
from broker.extranet import service as extranet
from broker.extranet.networks import Network
from broker.inventory.models import Resource
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.tenancy.work import Work, WorkFactory
from providers.errors import ActionRequired, Permanent, ProviderError, Temporary
from providers.networking import SegmentSpec

MOST_TRIES = 5
"""After so many looks that said nothing clear (a router that is down) the report is refused; it can be made again."""
LOOK_AGAIN = timedelta(seconds=30)
"""Between the first two looks, and twice as long each time: a router that restarts is back before the last one."""
LONGEST = LOOK_AGAIN * 2 ** (MOST_TRIES - 2)
_A_LOOK = timedelta(minutes=3)
"""No look takes longer. One that was lost with its worker is made again after that."""

_BLIND = Temporary("extranet.no_probe")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A probe that is to be sent, and where to."""

    id: UUID
    network_id: UUID
    specs: Sequence[SegmentSpec]


def ask(work: Work, network: DedicatedNetwork, given: Done, segments: Sequence[UUID]) -> NetworkProbe:
    """Have the probes look at the segments of a reported connection. The network is locked, none is on its way."""
    assert work.actor.account_id is not None
    probe = NetworkProbe(
        id=new_id(),
        network_id=network.id,
        segments=list(segments),
        done_on=given.done_on,
        evidence=given.evidence.strip(),
        asked_by=work.actor.account_id,
        asked_at=work.now,
        next_at=work.now,
        tries=0,
    )
    work.session.add(probe)
    data = {"step": Step.CONNECT.value, "segments": list(given.segments)}
    work.record("network.reported", "dedicated_network", network.id, article=Step.CONNECT.article, data=data)
    return probe


def open_one(session: Session, network_id: UUID) -> NetworkProbe | None:
    """The probe that is on its way for a network."""
    statement = select(NetworkProbe).where(NetworkProbe.network_id == network_id, NetworkProbe.answered_at.is_(None))
    return session.scalar(statement)


def carry(networks: Callable[[], Network | None], works: WorkFactory) -> int:
    """Send what waits to be sent, and write down what the probes saw. Returns how many were answered."""
    with works.begin() as work:
        waiting = _taken(work)
    answered = 0
    for each in waiting:
        verdicts = _seen(networks, each.specs) if each.specs else {}
        with works.begin() as work:
            answered += _answer(work, each, verdicts)
    return answered


def _taken(work: Work) -> list[Waiting]:
    """What waits to be looked at now; nobody else takes it meanwhile."""
    session = work.session
    due = select(NetworkProbe).where(NetworkProbe.answered_at.is_(None), NetworkProbe.next_at <= work.now)
    probes = session.scalars(due.order_by(NetworkProbe.id).with_for_update(skip_locked=True)).all()
    for probe in probes:
        probe.next_at = work.now + _A_LOOK
    return [
        Waiting(p.id, p.network_id, extranet.specs(session, extranet.attachments(session, p.segments))) for p in probes
    ]


def _seen(networks: Callable[[], Network | None], specs: Sequence[SegmentSpec]) -> Mapping[UUID, ProviderError | None]:
    """What the probes say. A worker that cannot speak to them has seen nothing: another one may."""
    try:
        network = networks()
        return {} if network is None else network.provider.verify(specs).verdicts
    except ActionRequired as error:
        return dict.fromkeys((s.id for s in specs), Temporary(error.code))


def _answer(work: Work, waiting: Waiting, verdicts: Mapping[UUID, ProviderError | None]) -> bool:
    """Write down what came of it, once; False: it is to be looked at again, or somebody else has written it."""
    network = locked(work, waiting.network_id)
    probe = work.session.get_one(NetworkProbe, waiting.id, populate_existing=True)
    if probe.answered_at is not None:
        return False
    wrong = [error for i in probe.segments if (error := verdicts.get(i, _BLIND)) is not None]
    clear = [error for error in wrong if isinstance(error, Permanent | ActionRequired)]
    if wrong and not clear and probe.tries + 1 < MOST_TRIES:
        probe.tries += 1
        probe.next_at = work.now + LOOK_AGAIN * 2 ** (probe.tries - 1)
        return False
    code = (clear or wrong)[0].code if wrong else _still_as_reported(work, network, probe)
    probe.answered_at, probe.code = work.now, code
    if code:
        _refused(work, network, probe)
    else:
        extranet.verified(work, probe.segments)
        given = Done(probe.done_on, probe.evidence, tuple(_numbers(work.session, probe.segments)))
        done.write(work, network, Step.CONNECT, given, probe.segments, by=probe.asked_by)
        notify.tell_account(work, probe.asked_by, "network.connected", _subject(network), network=network.name)
    return True


def _still_as_reported(work: Work, network: DedicatedNetwork, probe: NetworkProbe) -> str:
    """The code of what has changed since the report was made, if anything has."""
    if (problem := rules.refused(progress.of(work.session, network.id), Step.CONNECT)) is not None:
        return problem.code
    numbers = _numbers(work.session, probe.segments)
    plan = work.session.get_one(NetworkPlan, network.id)
    problems = rules.segment_problems(numbers, evidence.segments(work, network, numbers), plan.zone)
    return problems[0].code if problems else ""


def _refused(work: Work, network: DedicatedNetwork, probe: NetworkProbe) -> None:
    """Told to who reported it, and to those who deliver there: a delivered segment should answer."""
    data = {"code": probe.code}
    work.record("network.not_connected", "dedicated_network", network.id, article=Step.CONNECT.article, data=data)
    about = {"network": network.name, "trouble": probe.code}
    notify.tell_account(work, probe.asked_by, "network.not_connected", _subject(network), **about)
    clouds = set(work.session.scalars(select(Resource.sub_cloud_id).where(Resource.id.in_(probe.segments))))
    units = {catalog.delivering_unit(work.session, cloud, work.now) for cloud in clouds} - {None}
    for unit in sorted(units, key=str):
        notify.tell_role(work, (unit, Role.OPERATOR), "network.segments_silent", _subject(network), **about)


def _numbers(session: Session, segments: Sequence[UUID]) -> list[str]:
    return list(session.scalars(select(Resource.number).where(Resource.id.in_(segments)).order_by(Resource.number)))


def _subject(network: DedicatedNetwork) -> tuple[str, UUID]:
    return ("dedicated_network", network.id)

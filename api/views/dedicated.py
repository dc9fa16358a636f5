"""Puts dedicated networks into the shape that the API shows; the console and the command line show the same.

Called by: ``api.routes.dedicated``, ``api.console.dedicated``. Must not: decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from api.schemas import dedicated as schemas
from api.texts.names import BY_PARAM
from broker.dedicated import board
from broker.dedicated.board import Listed, Probed, Shown
from broker.dedicated.models import FundsStop
from broker.dedicated.stops import ARTICLE, Stopped
from broker.dedicated.values import STEPS
from broker.tenancy import people
from broker.tenancy.work import Work


def network(listed: Listed) -> schemas.Network:
    """A network of the list."""
    entry, row = listed.entry, listed.network
    named = (
        "code", "name", "unit", "purpose", "level", "coverage", "built_on", "grounds", "links", "carrier",
        "funding_source", "yearly_cost_fen", "responsible",
    )  # fmt: skip
    return schemas.Network(
        **{name: getattr(entry, name) for name in named},
        id=row.id,
        unit_name=listed.unit_name,
        systems=list(listed.systems),
        exception_id=row.exception_id,
        registered_at=row.registered_at,
        version=row.version,
        next=listed.next,
        due_on=listed.progress.due.get(listed.next) if listed.next is not None else None,
        late=listed.late is not None,
        stays_until=listed.stays_until,
        stop=None if listed.stop is None else stop(listed.stop),
    )


def stop(row: FundsStop) -> schemas.FundsStop:
    """What is late, and since when."""
    names = ("id", "due_on", "noticed_at", "report_at", "stopped_at", "lifted_at", "lifted_why")
    return schemas.FundsStop(step=STEPS[row.position - 1], **{name: getattr(row, name) for name in names})


def one(work: Work, which: str) -> schemas.NetworkShown:
    """One network with everything. Raises NotFound ``network.not_found``."""
    return with_people(work, which)[0]


def with_people(work: Work, which: str) -> tuple[schemas.NetworkShown, dict[str, people.Named]]:
    """The same, and by login who the people in it are: for a page."""
    shown = board.one(work, which)
    who = _who(work, shown)
    return _shown(shown, who), {each.login: each for each in who.values()}


def _shown(shown: Shown, who: Mapping[UUID, people.Named]) -> schemas.NetworkShown:

    def login(account_id: UUID | None) -> str:
        return who[account_id].login if account_id is not None and account_id in who else ""

    plan = shown.plan
    return schemas.NetworkShown(
        **network(shown.listed).model_dump(),
        plan=None if plan is None else schemas.Plan(
            **{n: getattr(plan, n) for n in ("scope", "content", "zone", "office", "document_number")},
            leader=login(plan.leader_id), liaison=login(plan.liaison_id),
        ),
        steps=_steps(shown, login),
        segments=[
            schemas.TiedSegment(
                step=STEPS[s.position - 1],
                **{n: getattr(s, n) for n in (
                    "number", "resource_id", "name", "prefix", "zone", "verified", "router", "vrf")},
            )
            for s in shown.segments
        ],
        carried=[schemas.CarriedSystem.model_validate(s) for s in shown.systems],
        probes=[_probe(p, login) for p in shown.probes],
        closings=[
            schemas.Closing(
                **{n: getattr(c, n) for n in (
                    "outcome", "done_on", "evidence", "proposed_at", "decision", "answer", "decided_at")},
                proposed_by=login(c.proposed_by), decided_by=login(c.decided_by) or None,
            )
            for c in shown.closings
        ],
        stays=[
            schemas.Stay(
                **{n: getattr(s, n) for n in ("until", "document_number", "reason", "granted_at")},
                granted_by=login(s.granted_by),
            )
            for s in shown.stays
        ],
        rulings=[
            schemas.Ruling(
                **{n: getattr(r, n) for n in ("dropped", "reason", "ruled_at")}, ruled_by=login(r.ruled_by)
            )
            for r in shown.rulings
        ],
        stops=[stop(s) for s in shown.stops],
        revisions=[schemas.NetworkRevision.model_validate(r) for r in shown.revisions],
    )  # fmt: skip


def _probe(found: Probed, login: Callable[[UUID | None], str]) -> schemas.Probe:
    row = found.probe
    names = ("done_on", "evidence", "asked_at", "answered_at", "code")
    return schemas.Probe(
        **{name: getattr(row, name) for name in names},
        segments=list(found.segments),
        asked_by=login(row.asked_by),
        message=BY_PARAM["trouble"].get(row.code, row.code) if row.code else "",
    )


def _steps(shown: Shown, login: Callable[[UUID | None], str]) -> list[schemas.StepShown]:
    out = []
    for step in STEPS:
        row = shown.steps.get(step)
        out.append(
            schemas.StepShown(
                step=step,
                dates=[
                    schemas.GivenDate(
                        due_on=d.due_on,
                        owner=login(d.owner_id),
                        reason=d.reason,
                        set_by=login(d.set_by),
                        set_at=d.set_at,
                    )
                    for d in reversed(shown.dates.get(step, ()))
                ],
                done_on=row.done_on if row else None,
                evidence=row.evidence if row else None,
                outcome=row.outcome if row else None,
                done_by=login(row.done_by) if row else None,
                confirmed_by=login(row.confirmed_by) or None if row else None,
            )
        )
    return out


def _who(work: Work, shown: Shown) -> dict[UUID, people.Named]:
    ids: set[UUID | None] = {d.owner_id for days in shown.dates.values() for d in days}
    ids |= {d.set_by for days in shown.dates.values() for d in days}
    ids |= {s.done_by for s in shown.steps.values()} | {s.confirmed_by for s in shown.steps.values()}
    ids |= {c.proposed_by for c in shown.closings} | {c.decided_by for c in shown.closings}
    ids |= {p.probe.asked_by for p in shown.probes}
    ids |= {s.granted_by for s in shown.stays} | {r.ruled_by for r in shown.rulings}
    ids.add(shown.listed.network.responsible_id)
    if shown.plan is not None:
        ids |= {shown.plan.leader_id, shown.plan.liaison_id}
    return people.named(work.session, ids)


def stopped(found: Stopped) -> schemas.StoppedNetwork:
    """A network that finance pays nothing for."""
    assert found.stop.stopped_at is not None
    return schemas.StoppedNetwork(
        network=found.network.id,
        code=found.network.code,
        name=found.network.name,
        unit_name=found.unit_name,
        funding_source=found.network.funding_source,
        yearly_cost_fen=found.network.yearly_cost_fen,
        step=found.step,
        due_on=found.stop.due_on,
        stopped_at=found.stop.stopped_at,
        article=ARTICLE,
    )

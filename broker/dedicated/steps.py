"""The four steps (Art. 11): the unit reports a plan, that it is connected, that its systems have moved; two shut down.

Called by: the API, the console. Must not: take a step out of its order or twice (the database would not either), or
believe what the extranet and the inventory do not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import select

from broker.catalog import repository as catalog
from broker.db.base import new_id
from broker.dedicated import done, evidence, probing, progress, rules, stops
from broker.dedicated.models import (
    DedicatedNetwork,
    NetworkClosing,
    NetworkDate,
    NetworkPlan,
    NetworkStep,
)
from broker.dedicated.register import locked, people, require_writer, writable
from broker.dedicated.values import Closing, Done, Plan, Progress, Step
from broker.errors import Conflict, Invalid, Problem
from broker.inventory.register import today
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.tenancy.repository import accounts_of_one
from broker.tenancy.rules import mandate
from broker.tenancy.work import Work

DECISIONS = ("confirmed", "declined")


def report_plan(work: Work, network_id: UUID, plan: Plan) -> DedicatedNetwork:
    """Report the plan of Art. 11(1) to the Bureau, with the days and owners of the steps that follow.

    Raises NotFound ``network.not_found``, Forbidden ``network.not_yours``, Conflict (``rules.refused``), Invalid with
    everything that ``rules.plan_problems`` finds.
    """
    network, _ = _step(work, network_id, Step.PLAN)
    logins = {plan.leader, plan.liaison, *(each.owner for each in plan.dates.values())}
    known = people(work, logins)
    if problems := rules.plan_problems(plan, today(work.now), known):
        raise Invalid(problems)
    work.session.add(
        NetworkPlan(
            network_id=network.id,
            scope=plan.scope.strip(),
            content=plan.content.strip(),
            zone=plan.zone,
            leader_id=known[plan.leader],
            office=plan.office.strip(),
            liaison_id=known[plan.liaison],
            document_number=plan.document_number.strip(),
        )
    )
    for step, each in plan.dates.items():
        work.session.add(
            NetworkDate(
                network_id=network.id,
                position=step.position,
                version=1,
                due_on=each.due_on,
                owner_id=known[each.owner],
                set_by=work.actor.account_id,
                set_at=work.now,
            )
        )
    done.write(work, network, Step.PLAN, Done(today(work.now), plan.document_number))
    _tell_bureau(work, network, "network.planned")
    return network


def report_done(work: Work, network_id: UUID, step: Step, given: Done) -> DedicatedNetwork:
    """Report that a network is connected, or that its systems have moved. ``step``: connect or migrate.

    Connected: at least one delivered segment in the plan's zone that the probes saw last at home and nowhere else; it
    counts when they have looked once more, on the day (``probing``). Conflict ``network.probing`` while they do.
    Migrated: every system on the list has ended, or has a server on one of the network's segments. Raises as
    ``report_plan``; Invalid with everything that is missing.
    """
    assert step in {Step.CONNECT, Step.MIGRATE}
    network, found = _step(work, network_id, step)
    if probing.open_one(work.session, network.id) is not None:
        raise Conflict("network.probing", article=Step.CONNECT.article)
    plan = work.session.get_one(NetworkPlan, network.id)
    problems = rules.done_problems(given, found, today(work.now))
    numbers = tuple(dict.fromkeys(number.strip().upper() for number in given.segments if number.strip()))
    facts = evidence.segments(work, network, numbers)
    problems += rules.segment_problems(numbers, facts, plan.zone)
    if step is Step.CONNECT and not numbers:
        problems.append(Problem("network.no_segment", "segments", Step.CONNECT.article, {"zone": plan.zone}))
    if step is Step.MIGRATE:
        named = [facts[number].id for number in numbers if number in facts]
        problems += _waiting(work, network, named)
    if problems:
        raise Invalid(problems)
    given, ids = replace(given, segments=numbers), [facts[number].id for number in numbers]
    if step is Step.CONNECT:
        probing.ask(work, network, given, ids)
    else:
        done.write(work, network, step, given, ids)
    return network


def propose_closing(work: Work, network_id: UUID, given: Closing) -> NetworkClosing:
    """Say that a network is removed, merged or converted; it counts when a second person of the Bureau confirms it.

    Raises as ``report_plan``; Conflict ``network.closing_proposed``; Invalid also ``network.system_waiting``.
    """
    network, found = _step(work, network_id, Step.SHUT_DOWN)
    if _open_closing(work, network) is not None:
        raise Conflict("network.closing_proposed")
    problems = rules.done_problems(given, found, today(work.now))
    problems += _waiting(work, network)
    if problems:
        raise Invalid(problems)
    assert work.actor.account_id is not None
    closing = NetworkClosing(
        id=new_id(),
        network_id=network.id,
        outcome=given.outcome,
        done_on=given.done_on,
        evidence=given.evidence.strip(),
        proposed_by=work.actor.account_id,
        proposed_at=work.now,
    )
    work.session.add(closing)
    data = {"outcome": given.outcome}
    work.record("network.closing_proposed", "dedicated_network", network.id, article=Step.SHUT_DOWN.article, data=data)
    _tell_bureau(work, network, "network.closing_proposed")
    return closing


def decide_closing(work: Work, network_id: UUID, *, decision: str, answer: str) -> DedicatedNetwork:
    """The Bureau confirms that a network is shut down, or declines (Art. 12). Who proposed it may not; no way back.

    Raises NotFound ``network.not_found``, Forbidden (``tenancy.rules.mandate``), Conflict ``network.no_closing``,
    Invalid ``reason.missing``, ``network.decision``, and ``network.system_waiting`` when a system has left its segment.
    """
    network = locked(work, network_id)
    closing = _open_closing(work, network)
    proposer = accounts_of_one(work.session, closing.proposed_by) if closing is not None else frozenset()
    bureau = catalog.main_authority(work.session, "decide", work.now)
    by = mandate(work.actor, Role.APPROVER, bureau, except_for=proposer)
    if closing is None:
        raise Conflict("network.no_closing")
    problems = [] if answer.strip() else [Problem("reason.missing", "answer")]
    if decision not in DECISIONS:
        problems.append(Problem("network.decision", "decision"))
    if decision == "confirmed":
        problems += _waiting(work, network)
    if problems:
        raise Invalid(problems)
    closing.decision, closing.answer = decision, answer.strip()
    closing.decided_by, closing.decided_at = by.account_id, work.now
    if decision == "confirmed":
        work.session.add(
            NetworkStep(
                network_id=network.id,
                position=Step.SHUT_DOWN.position,
                done_on=closing.done_on,
                evidence=closing.evidence,
                outcome=closing.outcome,
                done_by=closing.proposed_by,
                confirmed_by=by.account_id,
                at=work.now,
            )
        )
    action = f"network.closing_{decision}"
    data = {"outcome": closing.outcome}
    work.record(action, "dedicated_network", network.id, mandate=by, article="Art. 12", data=data)
    subject = ("dedicated_network", network.id)
    notify.tell_account(work, closing.proposed_by, action, subject, network=network.name)
    stops.settle(work, network)
    return network


def _step(work: Work, network_id: UUID, step: Step) -> tuple[DedicatedNetwork, Progress]:
    """The network, locked, when this step is the next one. Raises as the use-cases say."""
    require_writer(work)
    network = writable(work, network_id)
    found = progress.of(work.session, network.id)
    problem = rules.refused(found, step)
    if problem is not None:
        raise Conflict(problem.code, article=problem.article, network_step=problem.params["network_step"])
    return network, found


def _waiting(work: Work, network: DedicatedNetwork, more: Sequence[UUID] = ()) -> list[Problem]:
    """Systems that are still on it; ``more``: segments that are about to be tied to it."""
    carried = evidence.systems(work.session, network.id, more)
    return rules.system_problems(carried, none=evidence.ruled(work.session, network.id))


def _open_closing(work: Work, network: DedicatedNetwork) -> NetworkClosing | None:
    statement = select(NetworkClosing).where(NetworkClosing.network_id == network.id, NetworkClosing.decision.is_(None))
    return work.session.scalar(statement)


def _tell_bureau(work: Work, network: DedicatedNetwork, code: str) -> None:
    bureau = catalog.main_authority(work.session, "decide", work.now)
    if bureau is not None:
        subject = ("dedicated_network", network.id)
        notify.tell_role(work, (bureau, Role.APPROVER), code, subject, network=network.name)

"""A few dedicated networks for a newcomer's list: behind a plan, without one, with stopped funds, allowed to stay.

Called by: the loading of the demonstration region. Must not: be called for a real one; it writes what people would have
written in the months before.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from importlib.resources import files

from sqlalchemy import select
from sqlalchemy.orm import Session

from broker.dedicated import bringing, dates, register, steps, stops
from broker.dedicated.entry import READ
from broker.dedicated.models import DedicatedNetwork
from broker.dedicated.values import Date, Plan, Step
from broker.lifecycle import Role
from broker.tenancy.models import Account
from broker.tenancy.values import Actor
from broker.tenancy.work import Work
from broker.workdays import WorkCalendar

_PLAN_WORKDAYS, _REPORT_WORKDAYS = 20, 5


def load(session: Session, calendar: WorkCalendar, now: datetime) -> int:
    """Write the packaged networks as if they had been registered four months ago; returns how many."""
    began = now - timedelta(days=120)
    work = Work(session, _actor(session, "admin", Role.ADMINISTRATOR), began, calendar)
    content = files("broker.dedicated").joinpath("data/demonstration.csv").read_bytes()
    looked = bringing.look(work, content, {name: name for name in READ})
    assert not looked.problems, looked.problems
    for entry in looked.entries:
        assert entry is not None
        register.write(work, entry, looked.known, source="import", plan_workdays=_PLAN_WORKDAYS)
    session.flush()
    _plan(replace(work, now=began + timedelta(days=7)), "jyt-kszw", "apply.jyt", (150, 240, 300))
    _plan(replace(work, now=began + timedelta(days=12)), "slt-swzw", "apply.slt", (60, 200, 280))
    _plan(replace(work, now=began + timedelta(days=15)), "lz-spzw", "apply.liuzhou", (103, 200, 260))
    bureau = replace(work, actor=_actor(session, "approve.1", Role.APPROVER), now=began + timedelta(days=25))
    _stay(bureau, "rst-jcal")
    for days in range(20, 120, 10):
        stops.come(replace(work, now=began + timedelta(days=days)), report_workdays=_REPORT_WORKDAYS)
    return len(looked.entries)


def _actor(session: Session, login: str, role: Role) -> Actor:
    account = session.scalars(select(Account).where(Account.login == login)).one()
    return Actor(account.id, account.unit_id, frozenset({role}), login)


def _network(work: Work, code: str) -> DedicatedNetwork:
    return work.session.scalars(select(DedicatedNetwork).where(DedicatedNetwork.code == code)).one()


def _plan(work: Work, code: str, owner: str, days: tuple[int, int, int]) -> None:
    """``days``: when each later step is due, counted from this plan."""
    first = work.now.astimezone(work.calendar.zone).date()
    later = (Step.CONNECT, Step.MIGRATE, Step.SHUT_DOWN)
    given = {step: Date(first + timedelta(days=n), owner) for step, n in zip(later, days, strict=True)}
    plan = Plan(
        scope="全部专线与所承载的业务",
        content="业务系统迁移上云，专线改接电子政务外网公用网络区后退订",
        zone="shared",
        leader=owner,
        office="信息化处",
        liaison=owner,
        document_number=f"〔{first.year}〕{first.month}号",
        dates=given,
    )
    steps.report_plan(work, _network(work, code).id, plan)
    work.session.flush()


def _stay(work: Work, code: str) -> None:
    until = work.now.astimezone(work.calendar.zone).date() + timedelta(days=365)
    document = f"数字桂办〔{work.now.year}〕6号"
    reason = "国家部委统一部署的监测专线，替代方案一年内完成"
    dates.let_stay(work, _network(work, code).id, until=until, document_number=document, reason=reason)

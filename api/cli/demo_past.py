"""``guiyun demo-past``: gives a fresh demonstration region four months of past, on the same road as everything else.

Called by: ``guiyun up --past`` before the web server and the worker start. Must not: write a row that no use-case
wrote, or run on a region that is used already: people act through the services, machine steps run in the engine,
only the clock is an earlier one. What servers did is made up, by the simulated clouds' own rule.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import select

from api.cli.refusal import Refusal
from api.cli.verb import DatabaseCall, database_verb
from broker import bootstrap
from broker.approval import service as approval
from broker.approval.service import Decision
from broker.assessment import service as assessment
from broker.bootstrap import App
from broker.catalog import repository as catalog
from broker.chargeback import budgets, closing
from broker.delivery import service as delivery
from broker.inventory import repository as inventory
from broker.notify import service as notify
from broker.pricing.months import Month
from broker.reclamation import opening
from broker.region.loader import DEMONSTRATION_PASSWORD
from broker.request import service as requests
from broker.request.models import ServiceRequest
from broker.tenancy import service as accounts
from broker.tenancy.models import Unit
from broker.tenancy.service import NewToken
from broker.tenancy.values import Actor
from broker.tenancy.work import Work
from broker.utilisation import board, counters, detection
from broker.utilisation import service as utilisation
from broker.utilisation.collectors import Bench
from broker.utilisation.findings import FindingKind
from broker.utilisation.sources import Named, row_of
from broker.utilisation.values import COLUMNS
from broker.workflows import health
from broker.workflows.carrying import carrying
from providers.simulated import pulse

app = typer.Typer()
ZONE = ZoneInfo("Asia/Shanghai")


_MORNING = time(9, 20)
_HOLD_DAYS = 10
_PATIENCE_S = 90.0
_AT_HOME = "本机"


@dataclass(frozen=True, slots=True)
class Office:
    """Who decides, assesses and delivers for a cloud."""

    cloud: str
    approver: str
    assessor: str
    operator: str


MAIN = Office("main", "approve.1", "assess.1", "deliver.1")
EDUCATION = Office("jyt", "approve.jyt", "assess.jyt", "deliver.jyt")
LABOUR = Office("rst", "approve.rst", "assess.rst", "deliver.rst")
LIUZHOU = Office("city-450200", "approve.liuzhou", "assess.liuzhou", "deliver.liuzhou")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of the past: ``servers`` as (name, count, vCPU, memory GiB, data disk GiB); ``stay`` days of use."""

    ago: int
    by: str
    unit: str
    system: str
    office: Office
    purpose: str
    servers: tuple[tuple[str, int, int, int, int], ...]
    archive_gib: int = 0
    stay: int = 365


PAST = (
    Asked(
        116, "apply.jyt", "jyt", "jyt-xjgl", EDUCATION, "学籍管理系统迁入教育云",
        (("web", 3, 4, 8, 100), ("db", 2, 8, 32, 500)),
    ),
    Asked(116, "apply.chongzuo", "451400", "cz-kajy", MAIN, "口岸边民互市系统上云", (("app", 2, 8, 16, 200),), 2048),
    Asked(116, "apply.liuzhou", "450200", "lz-12345", LIUZHOU, "便民热线平台扩容", (("call", 4, 4, 16, 200),)),
    Asked(95, "apply.slt", "slt", "slt-fxyj", MAIN, "汛期预警发布", (("warn", 3, 8, 32, 300),), 4096),
    Asked(95, "apply.rst", "rst", "rst-sbk", LABOUR, "社保卡应用扩容", (("card", 3, 8, 16, 200),)),
    Asked(
        70, "apply.zsksy", "jyt-zsksy", "zsksy-wsbm", EDUCATION, "考试季网上报名", (("apply", 4, 4, 8, 100),), stay=84
    ),
    Asked(70, "apply.pingxiang", "451481", "px-wlgl", MAIN, "货车预约与通关排队", (("gate", 2, 4, 8, 100),)),
    Asked(40, "apply.yufeng", "450203", "yf-zwgk", LIUZHOU, "政务信息发布", (("portal", 2, 2, 4, 100),)),
    Asked(40, "apply.jyt", "jyt", "jyt-dzjg", EDUCATION, "学历注册备案系统迁入教育云", (("reg", 2, 4, 8, 200),)),
)  # fmt: skip
"""Small enough that no leader's signature is wanted; all of it still in use today."""


BUDGETS_FEN = {"450000": 20_000_00, "dsjfzj": 40_000_00, "450200": 12_000_00, "451400": 9_000_00}
"""By payer, for the year. One comes near its end."""


@dataclass(slots=True)
class Past:
    """The broker as it was: its clock stands where the story is."""

    app: App
    settle: Callable[[float], None]
    tokens: dict[str, NewToken] = field(default_factory=dict)
    """By login."""

    @contextmanager
    def acting(self, login: str) -> Iterator[Work]:
        """A use-case of somebody's, at the story's instant."""
        with self.app.works.begin(self._actor(login), trace_id="demo-past") as work:
            yield work

    def _actor(self, login: str) -> Actor:
        now, settings = self.app.clock(), self.app.settings
        if login not in self.tokens:  # once each: a password is slow to check on purpose
            with self.app.sessions() as session:
                entry = accounts.sign_in(
                    session, login=login, password=DEMONSTRATION_PASSWORD, source=_AT_HOME, now=now, settings=settings
                )
                session.commit()
                actor = accounts.actor_of_session(session, entry.token, now)[0]
            with self.app.works.begin(actor) as work:
                self.tokens[login] = accounts.create_token(work, name="demo-past")
        with self.app.sessions() as session:
            return accounts.actor_of_token(session, self.tokens[login].token, now)

    def take_leave(self) -> None:
        """Nobody's token outlives the story; what the past told everybody has been read."""
        for login, token in self.tokens.items():
            with self.acting(login) as work:
                notify.mark_all_read(work)
                accounts.revoke_token(work, token.id)


@dataclass(slots=True)
class Clock:
    """Stands still until the story goes on."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


@app.command("demo-past", hidden=True)
@database_verb
def demo_past(call: DatabaseCall) -> None:
    """为刚载入的示范区域补上四个月的往事（申请、交付、用量、账单、闲置）；只在示范环境首次启动时使用。"""
    today = datetime.now(UTC)
    clock = Clock(today - timedelta(days=PAST[0].ago))
    core = bootstrap.build(call.settings, clock=clock, application_name="guiyun-past")
    try:
        if not call.settings.demonstration or _is_used(core):
            raise Refusal("demo.region_used", "只有刚载入的示范区域可以补上往事。")
        with carrying(core, {asked.office.cloud for asked in PAST}) as settle:
            past = Past(core, settle)
            delivered = live_through(past, clock, today)
            clock.now = today
            past.take_leave()
        samples = _measure(core, clock)
        _detect_and_open(core)
    finally:
        core.close()
    call.done(
        {"requests": delivered, "samples": samples},
        f"往事已补上：{delivered} 份申请已交付，{samples} 条监测记录",
    )


def live_through(past: Past, clock: Clock, today: datetime) -> int:
    """Every request on its day, and finance closing each month but the last when it is over; how many requests."""
    story: list[tuple[datetime, Callable[[], None]]] = []
    for ago in sorted({asked.ago for asked in PAST}):
        wave = [asked for asked in PAST if asked.ago == ago]
        morning = _working_morning(past.app, today - timedelta(days=ago))
        story.append((morning, lambda wave=wave: _wave(past, clock, wave)))  # type: ignore[misc]
    month = Month.of(today - timedelta(days=PAST[0].ago))
    while month.next != Month.of(today):
        at = _working_morning(past.app, month.end + timedelta(days=2))
        story.append((at, lambda month=month: _close(past, month)))  # type: ignore[misc]
        month = month.next
    story.append((_working_morning(past.app, today - timedelta(days=PAST[0].ago + 7)), lambda: _budgets(past)))
    for at, act in sorted(story, key=lambda entry: entry[0]):
        clock.now = at
        act()
    return len(PAST)


def _wave(past: Past, clock: Clock, wave: Sequence[Asked]) -> None:
    """The requests of one day: all steps of people a working hour or day apart, the machine's at once."""
    ids = {asked: _submit(past, asked) for asked in wave}
    clock.now += timedelta(hours=2)
    for asked, request_id in ids.items():
        with past.acting(asked.office.approver) as work:
            approval.decide(work, request_id, Decision.APPROVE, revision_id=_revision(work, request_id))
    clock.now = _working_morning(past.app, clock.now + timedelta(days=1))
    _ask_health(past.app, {asked.office.cloud for asked in wave})  # what a cloud said weeks ago places nothing
    for asked, request_id in ids.items():
        with past.acting(asked.office.assessor) as work:
            revision = _revision(work, request_id)
            assessment.confirm(work, request_id, revision_id=revision, hold_days=_HOLD_DAYS)
    clock.now += timedelta(hours=5)
    for asked, request_id in ids.items():
        with past.acting(asked.office.operator) as work:
            delivery.order(work, request_id)
    past.settle(_PATIENCE_S)


def _submit(past: Past, asked: Asked) -> UUID:
    with past.acting(asked.by) as work:
        return requests.submit(work, _form(asked, work.now.astimezone(ZONE).date())).id


def _form(asked: Asked, day: date) -> dict[str, Any]:
    items: list[dict[str, Any]] = [{"kind": "segment", "name": "net", "zone": "shared"}]
    items += [
        {
            "kind": "server", "name": name, "count": count, "vcpu": vcpu, "memory_gib": memory,
            "image": "openeuler-22.03-x86_64", "zone": "shared", "data_disks": [{"size_gib": disk}],
        }
        for name, count, vcpu, memory, disk in asked.servers
    ]  # fmt: skip
    if asked.archive_gib:
        items.append({"kind": "volume", "name": "archive", "size_gib": asked.archive_gib, "block_class": "hdd"})
    return {
        "unit": asked.unit,
        "system": asked.system,
        "purpose": asked.purpose,
        "contact": {"name": "值班联系人", "phone": "0771-5815000", "email": "contact@example.gov.cn"},
        "expected_users": 20000,
        "start_date": (day + timedelta(days=3)).isoformat(),
        "end_date": (day + timedelta(days=3 + asked.stay)).isoformat(),
        "funding_source": "本级财政",
        "nature": "new",
        "classified": False,
        "document_number": f"桂数函〔{day.year}〕{asked.ago}号",
        "items": items,
    }


def _revision(work: Work, request_id: UUID) -> UUID:
    revision = work.session.get_one(ServiceRequest, request_id).revision_id
    assert revision is not None
    return revision


def _budgets(past: Past) -> None:
    year = past.app.clock().astimezone(ZONE).year
    with past.acting("finance") as work:
        for code, amount_fen in BUDGETS_FEN.items():
            payer = work.session.scalars(select(Unit.id).where(Unit.code == code)).one()
            budgets.set_budget(work, payer, year, amount_fen)


def _close(past: Past, month: Month) -> None:
    """The last month that is over stays for whoever tries the demonstration to close."""
    with past.acting("finance") as work:
        closing.close(work, month)


def _working_morning(app: App, at: datetime) -> datetime:
    """The morning of the working day at or after an instant, in UTC."""
    day = at.astimezone(ZONE).date()
    while not app.calendar.is_workday(day):
        day += timedelta(days=1)
    return datetime.combine(day, _MORNING, ZONE).astimezone(UTC)


def _is_used(core: App) -> bool:
    with core.sessions() as session:
        return session.scalar(select(ServiceRequest.id).limit(1)) is not None


def _ask_health(core: App, codes: Collection[str]) -> None:
    with core.sessions() as session:
        clouds = [cloud for cloud in catalog.in_service(session) if cloud.code in codes]
    for cloud in clouds:
        health.ask(core, cloud)


def _measure(core: App, clock: Clock) -> int:
    """What every server did since it was handed over, taken in like any file of samples; how many hours."""
    with core.works.begin() as work:
        servers = [row for row in inventory.in_use(work.session, now=work.now) if row.Resource.kind == "server"]
        named = Named(utilisation.facts_of(work))
    end = clock.now.replace(minute=0, second=0, microsecond=0)
    lives = [
        (pulse.Life(row.Resource.id, ((row.since, end, known.vcpu, int(known.memory_gib)),), ()), row.since)
        for row, known in ((row, utilisation.facts(row, {})) for row in servers)
    ]
    rows = (row_of(hour) for life, since in lives for hour in pulse.hours(life, _hour_after(since), end))
    with tempfile.TemporaryDirectory(prefix="guiyun-past-") as folder:
        path = Path(folder) / "past.csv"
        counters.write(path, named(rows), COLUMNS)
        return utilisation.import_file(core.settings, path, clock.now).intake.rows


def _hour_after(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _detect_and_open(core: App) -> None:
    """Today's detection, and one case over the dearest idle server: its owner is told, the objection window runs."""
    with core.works.begin() as work:
        errand = detection.today(work)
    detection.detect(Bench(core.works, core.settings, core.providers), errand)
    with core.works.begin() as work:
        found = next(iter(board.listed(work, kinds=[FindingKind.IDLE])), None)
        if found is not None:
            opening.open_case(work, opening.of_finding(found.finding, utilisation.policies_of(core.settings)))

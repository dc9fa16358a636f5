"""A whole region in a database of its own, in which people act and a clock that only a test moves.

Called by: the stories and the kill tests. Must not: replace any of our own code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import select, text

from broker import bootstrap
from broker.bootstrap import App
from broker.catalog import repository as catalog
from broker.db.session import make_engine, make_sessions
from broker.region.loader import load
from broker.region.reading import read_region
from broker.request.models import ServiceRequest
from broker.settings import Settings
from broker.tenancy import repository as accounts
from broker.tenancy.models import Account, ApiToken
from broker.tenancy.work import Work
from broker.workflows import health
from tests.conftest import Database

_THE_SAME_AGAIN = """
UPDATE broker.sub_cloud_status s SET checked_at = :now
WHERE healthy AND capacity <> '{}' AND NOT EXISTS (SELECT FROM broker.project p WHERE p.sub_cloud_id = s.sub_cloud_id)
RETURNING sub_cloud_id
"""

MONDAY = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
"""Monday 2 March 2026, 09:30 in Guangxi: an ordinary working day."""

HOLIDAYS = Path(__file__).with_name("holidays.yaml")
"""Windows reach into years whose holidays nobody has published yet, and would wait for them."""

AT_ONCE = '{"latency_ms": 0, "build_ms": 0, "delete_ms": 0}'

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGK0mQ1rX1mYQG1n1x2xkq3oY9dQxVbV1s6v3X5k9PqE demo"


@dataclass(slots=True)
class Clock:
    """Time stands still until a test moves it."""

    now: datetime = MONDAY

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@dataclass(slots=True)
class World:
    """The region's broker with its database, clouds and people."""

    app: App
    clock: Clock
    database: Database
    clouds_url: str
    """The simulated clouds' database, for ``providers.simulated.faults``."""
    shared: bool = False
    """Many tests' world: its chain, of which everything ever written is a part, is walked once, at its end."""
    _accounts: dict[str, UUID] = field(default_factory=dict)

    @contextmanager
    def acting(self, login: str) -> Iterator[Work]:
        """A use-case of somebody's, committed at its end."""
        with self.app.sessions.begin() as session:
            actor = accounts.actor_of_token(session, self._token(login), self.clock())
            assert actor is not None, login
            yield Work(session=session, actor=actor, now=self.clock(), calendar=self.app.calendar, trace_id="test")

    def _token(self, login: str) -> bytes:
        """The digest of a bearer token of this account's, made when it first acts."""
        digest = hashlib.sha256(login.encode()).digest()
        if login not in self._accounts:
            with self.app.sessions.begin() as session:
                account_id = session.scalars(select(Account.id).where(Account.login == login)).one()
                session.add(ApiToken(token_hash=digest, account_id=account_id, name="test"))
            self._accounts[login] = account_id
        return digest

    def request(self, request_id: UUID) -> ServiceRequest:
        with self.app.sessions() as session:
            return session.get_one(ServiceRequest, request_id)

    def rows(self, sql: str, **values: Any) -> list[Any]:
        with self.app.sessions() as session:
            return list(session.execute(text(sql), values).all())

    def scalar(self, sql: str, **values: Any) -> Any:
        with self.app.sessions() as session:
            return session.execute(text(sql), values).scalar()

    def ask_health(self) -> None:
        """What the worker does every minute."""
        with self.app.sessions() as session:
            clouds = catalog.in_service(session)
        for cloud in clouds:
            health.ask(self.app, cloud)

    def feel_well(self) -> None:
        """As ``ask_health``, for less: what a cloud said counts for ten minutes only, and seventeen are many to ask.

        Those that were well and hold nothing of ours say the same again; the others are asked.
        """
        with self.app.sessions.begin() as session:
            again = set(session.scalars(text(_THE_SAME_AGAIN), {"now": self.app.clock()}))
            clouds = catalog.in_service(session)
        for cloud in clouds:
            if cloud.id not in again:
                health.ask(self.app, cloud)


def make_settings(database: Database, simulated: Database, home: Path, **more: Any) -> Settings:
    return Settings(
        home=home,
        database_url=SecretStr(database.app_url),
        simulated_database_url=SecretStr(simulated.app_url),
        demonstration=True,
        **more,
    )


def load_region(database: Database) -> None:
    """Load the demonstration region, with simulated clouds that answer and build at once."""
    region = read_region()
    engine = make_engine(database.app_url, pool_size=1)
    with make_sessions(engine).begin() as session:
        load(session, region, now=MONDAY - timedelta(days=30), demonstration=True, hasher=lambda _: "not a hash")
        session.execute(
            text(
                'UPDATE broker.sub_cloud SET options = options || \'{"latency_ms": 0, "build_ms": 0, "delete_ms": 0}\''
            )
        )
    engine.dispose()


def make_world(
    database: Database, simulated: Database, home: Path, *, clock: Clock | None = None, ask: bool = False, **more: Any
) -> World:
    """``ask``: the clouds, of which the databases may know nothing or what other options made them say."""
    clock = clock or Clock()
    more.setdefault("holidays_file", HOLIDAYS)
    app = bootstrap.build(make_settings(database, simulated, home, **more), clock=clock)
    world = World(app, clock, database, simulated.app_url)
    if ask:
        world.ask_health()
    return world


def form(**changes: Any) -> dict[str, Any]:
    """A complete form of the education department: a segment, two servers with a data disk each, a volume."""
    made: dict[str, Any] = {
        "unit": "jyt",
        "system": "jyt-xjgl",
        "purpose": "学籍管理系统扩容",
        "contact": {"name": "韦海燕", "phone": "0771-5815001", "email": "wei@example.gov.cn"},
        "expected_users": 50000,
        "start_date": "2026-03-10",
        "end_date": "2027-03-09",
        "funding_source": "自治区本级财政",
        "nature": "new",
        "classified": False,
        "document_number": "桂教函〔2026〕12号",
        "ssh_public_key": SSH_KEY,
        "items": [
            {"kind": "segment", "name": "net", "zone": "shared"},
            {
                "kind": "server",
                "name": "web",
                "count": 2,
                "vcpu": 4,
                "memory_gib": 8,
                "image": "openeuler-22.03-x86_64",
                "zone": "shared",
                "data_disks": [{"size_gib": 100}],
            },
            {"kind": "volume", "name": "backup", "size_gib": 200, "block_class": "hdd"},
        ],
    }
    return made | changes

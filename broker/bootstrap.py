"""The composition root: builds settings, database, calendar, providers and tools, and hands each what it needs.

Called by: the API's lifespan, the worker, commands that work on the database. Must not: hold a rule.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import yaml
from pydantic import SecretStr
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from broker.catalog.models import SubCloud
from broker.db.session import make_engine, make_sessions
from broker.delivery.harden import Harden
from broker.delivery.tools import Tools
from broker.errors import Invalid, Problem
from broker.extranet.networks import Networks
from broker.settings import Settings
from broker.tenancy.work import WorkFactory
from broker.workdays import WorkCalendar, load_calendar
from providers import registry
from providers.contract import Provider
from providers.errors import ActionRequired

SIMULATED = "simulated"

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Providers:
    """Looks up the adapter of a sub-cloud by its code; builds it once a process, and again when its options change."""

    sessions: sessionmaker[Session]
    settings: Settings
    _built: dict[str, tuple[tuple[str, Mapping[str, str]], Provider]] = field(default_factory=dict)
    """What each adapter was built from, and the adapter."""
    _replaced: list[Provider] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def __call__(self, code: str) -> Provider:
        """Raises ActionRequired when the sub-cloud, its adapter or its options are missing."""
        with self._lock:
            if code not in self._built:
                with self.sessions() as session:
                    cloud = session.scalar(select(SubCloud).where(SubCloud.code == code))
                if cloud is None:
                    raise ActionRequired("sub_cloud.unknown", code)
                options = self._options(cloud)
                self._built[code] = (cloud.provider, options), registry.build(cloud.provider, code, options)
            return self._built[code][1]

    def renew(self, clouds: Iterable[SubCloud]) -> None:
        """Forget the adapters that were built from something else than row, clouds file and environment say now.

        Whoever is calling one goes on with it, so that it is closed only at the end.
        """
        with self._lock:
            for cloud in clouds:
                if cloud.code not in self._built:
                    continue
                made_from, provider = self._built[cloud.code]
                try:
                    same = made_from == (cloud.provider, self._options(cloud))
                except ActionRequired:
                    same = False
                if not same:
                    del self._built[cloud.code]
                    self._replaced.append(provider)

    def _options(self, cloud: SubCloud) -> dict[str, str]:
        options = {name: str(value) for name, value in cloud.options.items()}
        return options | self._given_by_settings(cloud.provider) | self._of_clouds_file(cloud)

    def _given_by_settings(self, adapter: str) -> dict[str, str]:
        """The simulated clouds' database is a setting of the broker's own; other adapters get nothing from here."""
        if adapter == SIMULATED and self.settings.simulated_database_url is not None:
            return {"database_url": self.settings.simulated_database_url.get_secret_value()}
        return {}

    def _of_clouds_file(self, cloud: SubCloud) -> dict[str, str]:
        """The entry that ``options_ref`` names; a value ``env:NAME`` is taken from the environment.

        A cloud that the settings serve needs no entry.
        """
        entries: Mapping[str, Mapping[str, Any]] = {}
        if self.settings.clouds_file is not None:
            entries = yaml.safe_load(self.settings.clouds_file.read_text()) or {}
        if cloud.options_ref is None or (cloud.options_ref not in entries and self._given_by_settings(cloud.provider)):
            return {}
        if cloud.options_ref not in entries:
            raise ActionRequired("clouds_file.entry_missing", cloud.options_ref)
        return {name: _from_environment(str(value)) for name, value in entries[cloud.options_ref].items()}

    def close(self) -> None:
        """Close every adapter that was built."""
        for provider in (*self._replaced, *(provider for _, provider in self._built.values())):
            provider.close()


def _from_environment(value: str) -> str:
    if not value.startswith("env:"):
        return value
    name = value.removeprefix("env:")
    if name not in os.environ:
        raise ActionRequired("clouds_file.environment_missing", name)
    return os.environ[name]


@dataclass(frozen=True, slots=True)
class App:
    """Everything a process of the broker works with."""

    settings: Settings
    engine: Engine
    sessions: sessionmaker[Session]
    calendar: WorkCalendar
    providers: Providers
    networks: Networks
    clock: Clock

    @property
    def works(self) -> WorkFactory:
        """Opens use-cases of the system's own."""
        return WorkFactory(self.sessions, self.clock, self.calendar)

    def tools(self) -> Tools:
        """What the machine steps need."""
        settings = self.settings
        harden = (
            Harden(settings.management_key_file, settings.management_user) if settings.management_key_file else None
        )
        return Tools(
            works=self.works, providers=self.providers, settings=settings, networks=self.networks, harden=harden
        )

    def close(self) -> None:
        """Release connections."""
        self.providers.close()
        self.engine.dispose()


def build(settings: Settings, *, clock: Clock = utc_now, application_name: str = "guiyun") -> App:
    """Build everything from the settings. Raises Invalid ``settings.database_url_missing``."""
    if settings.database_url is None:
        raise Invalid([Problem("settings.database_url_missing", "GUIYUN_DATABASE_URL")])
    settings = settings.model_copy(update={"secret_key": settings.secret_key or _own_secret_key(settings)})
    url = settings.database_url.get_secret_value() if settings.database_url else ""
    engine = make_engine(url, pool_size=settings.pool_size, application_name=application_name)
    sessions = make_sessions(engine)
    calendar = load_calendar(settings.holidays_file, open=settings.office_open, close=settings.office_close)
    networks = Networks(sessions, settings.extranet_key_file)
    return App(settings, engine, sessions, calendar, Providers(sessions, settings), networks, clock)


def _own_secret_key(settings: Settings) -> SecretStr:
    """A key of this home's own, made once and readable by its owner only."""
    path = settings.home / "secret.key"
    if not path.exists():
        settings.home.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(base64.b64encode(secrets.token_bytes(32)).decode())
    return SecretStr(path.read_text().strip())

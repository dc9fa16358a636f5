"""Where notices are sent: an SMTP server from the settings, webhooks from a file an operator keeps.

Called by: ``bootstrap``, doctor. Must not: keep a secret as plain text, or put one into an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from broker.errors import Invalid, Problem
from broker.lifecycle import Role
from broker.settings import Settings

FORMATS = ("wecom", "dingtalk")


@dataclass(frozen=True, slots=True)
class Smtp:
    """A mail server. ``security``: ``starttls``, ``tls`` or ``none`` (loopback, tests)."""

    host: str
    port: int
    security: str
    username: str
    password: SecretStr
    sender: str


@dataclass(frozen=True, slots=True)
class Webhook:
    """A group's robot: notices to these roles of one unit. The URL carries a key, so it is a secret."""

    name: str
    format: str
    url: SecretStr
    secret: SecretStr | None
    unit: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Channels:
    """All that is configured; nothing is: notices stay in the inbox."""

    smtp: Smtp | None = None
    webhooks: tuple[Webhook, ...] = ()

    @property
    def names(self) -> list[str]:
        return ["email"] * (self.smtp is not None) + ["webhook"] * bool(self.webhooks)


def channels(settings: Settings) -> Channels:
    """Read what is configured. Raises Invalid with every problem of the file."""
    smtp = None
    if settings.smtp_host:
        smtp = Smtp(
            settings.smtp_host,
            settings.smtp_port,
            settings.smtp_security,
            settings.smtp_username,
            settings.smtp_password or SecretStr(""),
            settings.smtp_sender,
        )
    return Channels(smtp, _webhooks(settings.webhooks_file))


def _webhooks(file: Path | None) -> tuple[Webhook, ...]:
    if file is None:
        return ()
    problems: list[Problem] = []
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        raise Invalid([Problem("webhooks.unreadable", file.name)]) from None
    entries = raw.get("webhooks") if isinstance(raw, dict) else None
    if not isinstance(entries, list):
        raise Invalid([Problem("webhooks.unreadable", file.name)])
    found = [_webhook(each, f"webhooks[{i}]", problems) for i, each in enumerate(entries)]
    if len({each.name for each in found}) < len(found):
        problems.append(Problem("webhooks.name_twice", "webhooks"))
    if problems:
        raise Invalid(problems)
    return tuple(found)


def _webhook(raw: Any, place: str, problems: list[Problem]) -> Webhook:
    entry: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
    needed = ("name", "format", "url", "unit", "roles")
    problems += [Problem("field.missing", f"{place}.{name}") for name in needed if not entry.get(name)]
    if entry.get("format") not in FORMATS:
        problems.append(Problem("field.choice", f"{place}.format", params={"choices": "、".join(FORMATS)}))
    roles = entry.get("roles")
    named = tuple(str(role) for role in roles) if isinstance(roles, list) else ()
    if set(named) - set(Role):
        problems.append(Problem("field.choice", f"{place}.roles", params={"choices": "、".join(Role)}))
    url, secret = _value(entry, "url", place, problems), _value(entry, "secret", place, problems)
    return Webhook(
        str(entry.get("name", "")),
        str(entry.get("format", "")),
        SecretStr(url),
        SecretStr(secret) if secret else None,
        str(entry.get("unit", "")),
        named,
    )


def _value(entry: Mapping[str, Any], name: str, place: str, problems: list[Problem]) -> str:
    """A value, or what the environment has for ``env:NAME``; neither is ever part of a problem."""
    given = str(entry.get(name) or "")
    if not given.startswith("env:"):
        return given
    found = os.environ.get(given.removeprefix("env:"), "")
    if not found:
        problems.append(Problem("webhooks.environment_missing", f"{place}.{name}"))
    return found

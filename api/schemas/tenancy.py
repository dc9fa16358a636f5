"""Sessions, tokens and oneself, as they go over HTTP.

Called by: ``api.routes.sessions``. Must not: hold rules.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, StringConstraints

from api.schemas.base import Schema, View


class SignIn(Schema):
    """Login and password."""

    login: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Session(View):
    """What a browser gets beside its cookie. ``csrf_token`` goes into ``X-CSRF-Token`` with every write."""

    csrf_token: str
    expires_at: datetime


class NewToken(Schema):
    """A bearer token's name, and until when it is good (for good, without)."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    expires_at: AwareDatetime | None = None


class Token(View):
    """A bearer token; ``token`` is shown once, and missing when the answer is replayed."""

    id: UUID
    name: str
    expires_at: datetime | None
    token: str | None = None


class Principal(View):
    """Somebody whose duties one may take over (代理)."""

    account_id: UUID
    unit_id: UUID


class Me(View):
    """Who is signed in: roles of today, and whose deputy."""

    account_id: UUID
    login: str
    unit_id: UUID
    unit_name: str
    roles: list[str]
    deputy_for: dict[str, list[Principal]]
    csrf_token: str

"""Usage that comes by file, as it goes over HTTP.

Called by: ``api.routes.usage``. Must not: hold rules.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from api.schemas.base import Mistake, View


class UsageVerdict(View):
    """What a line of a file would do: ``new``, ``change``, ``same`` or ``wrong``. ``was``: what it changes."""

    line: int
    kind: str
    cells: dict[str, str]
    resource_name: str
    was: dict[str, str] | None
    errors: list[Mistake]


class UsageImportShown(View):
    """A kept file and the verdict on every line; to apply it name the ``digest``."""

    id: UUID
    kind: str
    file_name: str
    digest: str
    counts: dict[str, int]
    lines: list[UsageVerdict]
    created_at: datetime
    applied_at: datetime | None

"""Cursor pagination: ``?after=&limit=``, an opaque cursor, and where the next page is.

Called by: routes that list. Must not: count: how many there are in all is never asked of a large table.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Query, Request

from broker.errors import Invalid, Problem

T = TypeVar("T")

MOST = 100
USUAL = 20


@dataclass(frozen=True, slots=True)
class Page:
    """What was asked for: at most ``limit`` rows after the row ``after`` (a row's id)."""

    after: UUID | None
    limit: int
    request: Request

    @property
    def fetch(self) -> int:
        """How many rows to read: one more than shown tells whether there is a next page."""
        return self.limit + 1

    def render(self, rows: Sequence[T], each: Callable[[T], Any], row_id: Callable[[T], UUID]) -> dict[str, Any]:
        """``{"data": [...], "next": link or null}`` from up to ``fetch`` rows."""
        shown = rows[: self.limit]
        more = len(rows) > self.limit
        return {"data": [each(row) for row in shown], "next": self._link(row_id(shown[-1])) if more else None}

    def _link(self, last: UUID) -> str:
        url = self.request.url.include_query_params(after=cursor(last), limit=self.limit)
        return f"{url.path}?{url.query}"


def cursor(row_id: UUID) -> str:
    """The opaque form of a row's id."""
    return base64.urlsafe_b64encode(row_id.bytes).decode().rstrip("=")


def _position(text: str) -> UUID:
    try:
        return UUID(bytes=base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise Invalid([Problem("cursor.invalid", "after")]) from error


async def page(
    request: Request,
    after: Annotated[str | None, Query(max_length=64, description="上一页给出的游标")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST, description="每页条数")] = USUAL,
) -> Page:
    return Page(_position(after) if after else None, limit, request)


Paged = Annotated[Page, Depends(page)]
"""What a listing route asks for."""

"""If-Match: the version of a thing that the caller saw. (The unit of work sends the ETag.)

Called by: routes where two people may edit. Must not: compare; the service does, under its lock.
"""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Request

from broker.errors import Stale

_TAG = re.compile(r'\s*"(\d{1,9})"\s*')


async def if_match(request: Request) -> int | None:
    """The version in If-Match; None without one or with ``*``. Raises Stale ``version.stale`` for a foreign tag."""
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return None
    found = _TAG.fullmatch(given)
    if found is None:
        raise Stale("version.stale", seen=given[:40])
    return int(found[1])


Seen = Annotated[int | None, Depends(if_match)]
"""The version that the caller saw, if it said so."""

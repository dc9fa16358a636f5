"""Live pages: a server-sent event with a freshly rendered part of the page whenever the database says it changed.

Called by: the request's page. Must not: poll, decide who may see what (the part is read as the actor each time), or
send what the reader can miss: every event is the whole part as it is now.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from api.events import HEARTBEAT_S, LIFETIME_S, RETRY_MS, Hub

Part = Callable[[], Awaitable[tuple[str, str]]]
"""Renders the part: its HTML, and a mark that changes when the rest of the page has to be read anew."""


async def parts(hub: Hub, subject: str, part: Part, *, heartbeat_s: float = HEARTBEAT_S) -> AsyncIterator[str]:
    """The text of a stream: the event ``progress`` with the part, now and after each change; ``moved`` too."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + LIFETIME_S
    with hub.subscribe(subject) as subscriber:
        yield f"retry: {RETRY_MS}\n\n"
        html, mark = await part()
        yield event("progress", html)
        while not subscriber.closed and loop.time() < ends_at:
            try:
                async with asyncio.timeout(heartbeat_s):
                    await subscriber.bell.wait()
            except TimeoutError:
                yield ": \n\n"
                continue
            # Whatever has gathered meanwhile is one change: the part shows all of it.
            subscriber.bell.clear()
            subscriber.waiting.clear()
            subscriber.behind = False
            html, moved = await part()
            yield event("progress", html)
            if moved != mark:
                mark = moved
                yield event("moved", moved)


def event(name: str, html: str) -> str:
    """One event; every line of the HTML is a line of data."""
    data = "".join(f"data: {line}\n" for line in html.splitlines() if line.strip()) or "data: \n"
    return f"event: {name}\n{data}\n"

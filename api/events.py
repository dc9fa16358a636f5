"""Live progress: what database triggers announce on the channel ``guiyun``, handed on as server-sent events.

Called by: the application (one ``Hub`` a process), the stream routes of the API and the console. Must not: decide who
may see what (the route asks the service before it opens a stream), or let a slow reader hold up another.

A stream sends the current state first, on every connect, so a reader that was away has missed nothing and
``Last-Event-ID`` needs no memory of ours. Streams end after ten minutes and the browser comes again: permissions are
checked anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import structlog
from starlette.responses import StreamingResponse

from broker.db.base import new_id
from broker.errors import BrokerError, TooMany
from broker.telemetry import METRICS

CHANNEL = "guiyun"
HEARTBEAT_S = 15.0
LIFETIME_S = 600.0
RETRY_MS = 2000
MOST_WAITING = 64
"""A reader that lags behind by more gets the state anew instead of what it missed."""
MOST_SUBSCRIBERS = 2000
EVERYTHING = ""
"""The subject of a subscription to all changes."""

_log = structlog.get_logger("api.events")
Change = dict[str, Any]


@dataclass(eq=False, slots=True)
class Subscriber:
    """One open stream: what waits to be sent, and whether it must start from the state again."""

    waiting: deque[Change] = field(default_factory=deque)
    behind: bool = False
    closed: bool = False
    bell: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, change: Change) -> None:
        """Never blocks: what does not fit makes the subscriber start again from the state."""
        if len(self.waiting) >= MOST_WAITING:
            self.resynchronise()
        elif not self.behind:
            self.waiting.append(change)
        self.bell.set()

    def resynchronise(self) -> None:
        self.waiting.clear()
        self.behind = True
        self.bell.set()

    def close(self) -> None:
        self.closed = True
        self.bell.set()


class Hub:
    """One listening connection, any number of subscribers. All of it lives in the event loop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._subscribers: dict[str, set[Subscriber]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self.listening = asyncio.Event()

    async def start(self) -> None:
        """Begin to listen. Does not wait for the database; ``listening`` tells."""
        self._task = asyncio.create_task(self._listen_for_ever(), name="events")

    async def stop(self) -> None:
        """End all streams and the connection."""
        self.close_streams()
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def close_streams(self) -> None:
        """End all streams; browsers come again by themselves. Called in the event loop."""
        for subscriber in self._all():
            subscriber.close()

    @contextlib.contextmanager
    def subscribe(self, subject: str) -> Iterator[Subscriber]:
        """A subscription to one request's changes (its id), or to EVERYTHING. Raises TooMany ``events.too_many``."""
        if sum(map(len, self._subscribers.values())) >= MOST_SUBSCRIBERS:
            raise TooMany("events.too_many", retry_after_s=30)
        subscriber = Subscriber()
        self._subscribers[subject].add(subscriber)
        METRICS.event_subscribers.inc()
        try:
            yield subscriber
        finally:
            METRICS.event_subscribers.dec()
            self._subscribers[subject].discard(subscriber)
            if not self._subscribers[subject]:
                del self._subscribers[subject]

    def publish(self, payload: str) -> None:
        """Hand one notification to those it concerns. What cannot be read is logged and dropped."""
        METRICS.events.inc()
        try:
            change = json.loads(payload)
            subject = str(change["request_id"])
        except (ValueError, KeyError, TypeError):
            _log.warning("events.unreadable", length=len(payload))
            return
        for key in (subject, EVERYTHING):
            for subscriber in self._subscribers.get(key, ()):
                subscriber.tell(change)

    def _all(self) -> list[Subscriber]:
        return [subscriber for group in self._subscribers.values() for subscriber in group]

    async def _listen_for_ever(self) -> None:
        """Listen; when the connection is lost, come back and let everybody start from the state again."""
        pause = 0.2
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    pause = 0.2
                    for subscriber in self._all():
                        subscriber.resynchronise()
                    self.listening.set()
                    async for notification in connection.notifies():
                        self.publish(notification.payload)
            except psycopg.OperationalError as error:
                _log.warning("events.connection_lost", error=type(error).__name__)
            finally:
                self.listening.clear()
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)


State = Callable[[], Awaitable[Any]]
"""Reads the current state of the stream's subject, as the actor may see it."""


async def changes(
    hub: Hub, subject: str, state: State, *, heartbeat_s: float = HEARTBEAT_S, lifetime_s: float = LIFETIME_S
) -> AsyncIterator[str]:
    """The text of a stream: ``state`` first, then ``change`` for each change, comments while nothing happens.

    It ends when the state may no longer be seen (signed out, a role that ended).
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + lifetime_s
    with hub.subscribe(subject) as subscriber, contextlib.suppress(BrokerError):
        yield f"retry: {RETRY_MS}\n\n"
        yield event("state", await state())
        while not subscriber.closed and loop.time() < ends_at:
            try:
                async with asyncio.timeout(heartbeat_s):
                    await subscriber.bell.wait()
            except TimeoutError:
                yield ": \n\n"
                continue
            subscriber.bell.clear()
            if subscriber.behind:
                subscriber.behind = False
                yield event("state", await state())
            while subscriber.waiting:
                yield event("change", subscriber.waiting.popleft())


def event(name: str, data: Any) -> str:
    """One event. JSON has no line breaks, so one ``data`` line is enough."""
    return f"event: {name}\nid: {new_id().hex}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def respond(content: AsyncIterator[str]) -> StreamingResponse:
    """A stream that no proxy buffers."""
    return StreamingResponse(
        content, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )

"""Live progress: what the database announces reaches those who watch, and nobody holds up another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any
from uuid import uuid4

import psycopg

from api.events import MOST_WAITING, Hub, changes
from tests.api.server import Server


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test in an event loop, within a deadline."""

    async def within() -> None:
        async with asyncio.timeout(120):
            await test

    asyncio.run(within())


def address(server: Server) -> str:
    return server.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


async def announce(server: Server, request_id: str, state: str) -> None:
    """What a trigger sends."""
    payload = json.dumps({"table": "delivery_step", "id": str(uuid4()), "request_id": request_id, "state": state})
    async with await psycopg.AsyncConnection.connect(address(server), autocommit=True) as connection:
        await connection.execute("SELECT pg_notify('guiyun', %s)", (payload,))


async def following(stream: AsyncIterator[str]) -> tuple[str, Any]:
    """The next event of a stream, comments and the retry line left out."""
    async for text in stream:
        if text.startswith("event:"):
            name, _, data = text.strip().split("\n")
            return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))
    raise AssertionError("the stream ended")


class State:
    """A state that counts how often it was read."""

    def __init__(self) -> None:
        self.reads = 0

    async def __call__(self) -> dict[str, int]:
        self.reads += 1
        return {"read": self.reads}


def test_the_state_comes_first_and_then_each_change(server: Server) -> None:
    """On every connect the current state is sent before anything else; then what the database announces, in order."""

    async def test() -> None:
        hub = Hub(address(server))
        await hub.start()
        await hub.listening.wait()
        mine, stream = str(uuid4()), None
        stream = changes(hub, mine, State())
        assert await following(stream) == ("state", {"read": 1})
        await announce(server, str(uuid4()), "of somebody else")
        await announce(server, mine, "running")
        await announce(server, mine, "done")
        assert [(await following(stream))[1]["state"] for _ in range(2)] == ["running", "done"]
        await hub.stop()

    run(test())


def test_a_lost_connection_makes_everybody_start_from_the_state(server: Server) -> None:
    """Notifications that were missed meanwhile cannot matter: the state is read anew."""

    async def test() -> None:
        hub = Hub(address(server))
        await hub.start()
        await hub.listening.wait()
        mine = str(uuid4())
        stream = changes(hub, mine, State())
        assert (await following(stream))[0] == "state"
        async with await psycopg.AsyncConnection.connect(address(server), autocommit=True) as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query = 'LISTEN guiyun' AND pid <> pg_backend_pid()"
            )
        assert await following(stream) == ("state", {"read": 2})
        await announce(server, mine, "running")
        assert (await following(stream))[0] == "change"
        await hub.stop()

    run(test())


def test_a_slow_reader_holds_up_nobody_and_gets_the_state_instead(server: Server) -> None:
    """Whoever lags behind is given the state; the others have every change meanwhile."""

    async def test() -> None:
        hub = Hub(address(server))
        slow, quick = changes(hub, "r", State()), changes(hub, "r", State())
        assert (await following(slow))[0] == (await following(quick))[0] == "state"
        for number in range(MOST_WAITING + 1):
            hub.publish(json.dumps({"request_id": "r", "state": str(number)}))
            assert (await following(quick))[1]["state"] == str(number)
        assert await following(slow) == ("state", {"read": 2})

    run(test())


def test_a_quiet_stream_stays_alive_and_a_long_one_ends(server: Server) -> None:
    """Comments while nothing happens; after its lifetime the browser has to come, and be checked, again."""

    async def test() -> None:
        hub = Hub(address(server))
        stream = changes(hub, "r", State(), heartbeat_s=0.01)
        assert (await anext(stream)).startswith("retry:")
        assert (await anext(stream)).startswith("event: state")
        assert [await anext(stream) for _ in range(2)] == [": \n\n"] * 2
        hub.close_streams()
        assert [text async for text in stream] == []
        assert len([text async for text in changes(hub, "r", State(), lifetime_s=0)]) == 2
        assert not hub._subscribers

    run(test())


def test_what_cannot_be_read_is_dropped(server: Server) -> None:
    """A malformed announcement ends no stream."""

    async def test() -> None:
        hub = Hub(address(server))
        stream = changes(hub, "r", State())
        await following(stream)
        for payload in ("", "no json", "[]", '{"id": 1}', "7"):
            hub.publish(payload)
        hub.publish(json.dumps({"request_id": "r", "state": "done"}))
        assert (await following(stream))[1]["state"] == "done"

    run(test())

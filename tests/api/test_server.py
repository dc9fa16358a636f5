"""``guiyun serve`` as a process: it stops at once, also while somebody watches a stream."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from api.uow import COOKIE
from broker.region import calendars
from tests.api.server import DEADLINE_S, Server, wait_until
from tests.ports import free_port
from tests.stories.world import form


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).is_success
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_server_with_an_open_stream_stops_at_once_and_without_an_error(
    server: Server, tmp_path: Path, how: signal.Signals
) -> None:
    """The stream is ended, the log has no traceback, the exit is clean."""
    person = server.person("apply.jyt")
    made = person.post("/api/v1/requests?submit=false", json=form()).json()
    port = free_port()
    environment = os.environ | {
        "GUIYUN_HOME": str(tmp_path),
        "GUIYUN_DATABASE_URL": server.database.app_url,
        "GUIYUN_PORT": str(port),
    }
    log = tmp_path / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli.main", "serve"], env=environment, stdout=out, stderr=out
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(url))
        cookies = {COOKIE: person.cookies[COOKIE]}
        events = f"{url}/api/v1/requests/{made['id']}/events"
        with httpx.stream("GET", events, cookies=cookies, trust_env=False, timeout=DEADLINE_S) as stream:
            lines = stream.iter_lines()
            assert any(line.startswith("event: state") for line in lines)
            process.send_signal(how)
            assert all(not line.startswith("event: change") for line in lines)
        process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
    said = log.read_text()
    assert "Traceback" not in said
    assert "graceful shutdown exceeded" not in said, "the stream was cut off after the grace, not ended"


def test_a_server_says_by_which_calendar_it_counts(server: Server) -> None:
    """Answers are given their days here: with another file than the workers' this shows as between two workers."""
    core = server.app.state.core

    def said() -> bool:
        with core.sessions() as session:
            return core.calendar.version in calendars.in_use(session, core.clock())

    wait_until(said)

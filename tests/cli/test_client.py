"""The client on a bad line: done once however often it is sent, followed on after a lost connection."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from api.cli.client import Api, Unreachable
from tests.api.server import DEADLINE_S, Server
from tests.cli.typist import Tokens, Typist, working
from tests.ports import free_port
from tests.stories.world import World


class BadLine:
    """A line to the server that is cut when ``cut`` says so of what has come back from it."""

    def __init__(self, url: str, cut: Callable[[bytes], bool]) -> None:
        parts = urlsplit(url)
        self._to = (parts.hostname, parts.port)
        self._cut = cut
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        self.cuts = 0
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        self._start(self._serve)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="bad line")
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for thread in self._threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            self._start(lambda near=near: self._carry(near))  # type: ignore[misc]  # bound now

    def _carry(self, near: socket.socket) -> None:
        back = b""
        with near, socket.create_connection(self._to) as far:
            while True:
                for end in select.select([near, far], [], [])[0]:
                    try:
                        data = end.recv(65536)
                    except ConnectionResetError:  # who is at that end has gone, as others on a bad line do
                        return
                    if end is far:
                        back += data
                        if self._cut(back):
                            self.cuts += 1
                            return
                    if not data:
                        return
                    (far if end is near else near).sendall(data)


@contextmanager
def bad_line(url: str, cut: Callable[[bytes], bool]) -> Iterator[BadLine]:
    line = BadLine(url, cut)
    line.open()
    try:
        yield line
    finally:
        line.close()


def test_what_was_done_behind_a_lost_connection_is_done_once(server: Server, tokens: Tokens, typist: Typist) -> None:
    """The answer to the first try is lost; the second try carries the same key and gets that answer."""
    cuts = iter([True])
    form = typist.form_data()
    with bad_line(server.url, lambda back: b"201 Created" in back and next(cuts, False)) as line:
        with Api(line.url, token=tokens.of("apply.jyt")) as api:
            before = {r["id"] for r in api.every("/requests", most=1000)}
            made = api.post("/requests", form)
            after = {r["id"] for r in api.every("/requests", most=1000)}
        assert line.cuts == 1
    assert after - before == {made["id"]}


def test_progress_goes_on_after_a_lost_connection(
    server: Server, world: World, tokens: Tokens, typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream is cut once it has said something; the watching comes again and sees the end."""
    number = typist.to_order()
    cuts = iter([True])
    with bad_line(server.url, lambda back: b"event: " in back and next(cuts, False)) as line:
        monkeypatch.setenv("GUIYUN_URL", line.url)
        with working(world):
            watched = typist.does("deliver", number, "--watch", as_="deliver.jyt").out
        assert line.cuts == 1
    assert "✓ 移交使用" in watched
    assert watched.count("✓ 锁定预留") == 1


def test_nobody_there_is_said_so(tokens: Tokens) -> None:
    """After a few tries, with what helps."""
    with Api(f"http://127.0.0.1:{free_port()}", token="x") as api, pytest.raises(Unreachable, match="make run"):
        api.get("/me")

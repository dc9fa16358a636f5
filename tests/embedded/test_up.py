"""`guiyun up`: one command, everything runs; Ctrl-C, everything stops; again, it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from api.cli.demo_past import PAST
from broker.embedded.spawn import wait_until
from tests.ports import free_port

PATIENCE_S = 300
"""How long a busy machine may take; nothing waits that long when all is well."""


class Up:
    """The command in a process of its own."""

    def __init__(self, home: Path, *more: str) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "api.cli.main", "up", "--home", str(home), "--port", str(self.port), *more]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GUIYUN_")}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.lines: list[str] = []

    def read_until(self, words: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if words in line:
                return line
        assert self.process.stderr is not None
        pytest.fail(f"{words!r} never came: {''.join(self.lines)}{self.process.stderr.read()}")

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C; returns the exit status and what it said on stderr."""
        self.process.send_signal(signal.SIGINT)
        rest, errors = self.process.communicate(timeout=PATIENCE_S)
        self.lines.append(rest)
        return self.process.returncode, errors


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Up]]:
    """What a test started; it ends with the test."""
    made: list[Up] = []
    yield made
    for up in made:
        up.process.kill()
        with up.process:
            up.process.wait()


def ready(up: Up) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{up.port}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def counted(broker: psycopg.Connection[tuple[int]], what: str) -> int:
    row = broker.execute(f"SELECT count(*) FROM broker.{what}".encode()).fetchone()
    assert row is not None
    return row[0]


def kill_each(up: Up) -> None:
    """Kill -9 of each of the four processes in turn: the broker is ready again without anybody's help."""
    for _ in range(4):
        os.kill(up.children()[0], signal.SIGKILL)  # the oldest: what came back is the youngest
        up.read_until("意外退出")
        up.read_until("已就绪")
        assert wait_until(lambda: ready(up), timeout_s=PATIENCE_S)


def test_one_command_starts_everything_and_the_next_goes_on(tmp_path: Path, started: list[Up]) -> None:
    """First start: region, its past, accounts. Ctrl-C: clean. Second start: the same home, nothing loaded again.

    Whatever of it is then killed comes back.
    """
    home = tmp_path / "home"
    first = Up(home, "--past")
    started.append(first)
    first.read_until("网页与接口服务 已就绪")
    assert (home / "running.json").exists()  # whoever sees /readyz say yes can use the command line at once
    first.read_until("桂云已启动")
    first.read_until("按 Ctrl-C 停止")
    assert wait_until(lambda: ready(first), timeout_s=PATIENCE_S)
    assert any("示范区域已载入" in line for line in first.lines)
    assert any("apply.jyt" in line for line in first.lines)

    assert any("往事已补上" in line for line in first.lines), (home / "logs" / "past.log").read_text()
    with psycopg.connect(
        json.loads((home / "running.json").read_text())["GUIYUN_DATABASE_URL"].replace("+psycopg", "")
    ) as broker:
        assert counted(broker, "service_request WHERE state = 'delivered'") == len(PAST)
        assert counted(broker, "month_close") >= 2
        assert counted(broker, "idle_finding WHERE cleared_at IS NULL") > 0
        assert counted(broker, "api_token WHERE revoked_at IS NULL") == 0

    published = json.loads((home / "running.json").read_text())
    assert published["GUIYUN_URL"] == f"http://127.0.0.1:{first.port}"
    assert all(name.startswith("GUIYUN_") for name in published)
    assert not any("guiyun_owner" in value for value in published.values())
    assert (home / "running.json").stat().st_mode & 0o777 == 0o600

    rival = Up(home)
    started.append(rival)
    out, errors = rival.process.communicate(timeout=PATIENCE_S)
    assert rival.process.returncode == 1
    assert f"桂云已在运行（进程 {first.process.pid}，http://127.0.0.1:{first.port}）" in errors
    assert "Traceback" not in out + errors

    children = first.children()
    assert len(children) == 4
    assert first.interrupt() == (0, "")
    assert all(gone(pid) for pid in children)
    assert not (home / "running.json").exists()

    second = Up(home, "--past")
    started.append(second)
    second.read_until("桂云已启动")
    second.read_until("按 Ctrl-C 停止")
    assert not any("示范区域已载入" in line or "往事" in line for line in second.lines)
    kill_each(second)
    assert second.interrupt() == (0, "")


def test_demonstration_accounts_are_refused_beyond_loopback(tmp_path: Path, started: list[Up]) -> None:
    """Their password is printed, so nobody else may reach them."""
    up = Up(tmp_path / "home", "--host", "0.0.0.0")
    started.append(up)
    _, errors = up.process.communicate(timeout=PATIENCE_S)
    assert up.process.returncode == 1
    assert "演示账号只能在本机回环地址上使用" in errors
    assert not (tmp_path / "home").exists()

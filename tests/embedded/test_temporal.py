"""The embedded Temporal under kills and second starts."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.embedded.spawn import AlreadyRunningError
from broker.embedded.temporal import EmbeddedTemporal


@pytest.fixture
def temporal(tmp_path: Path) -> Iterator[EmbeddedTemporal]:
    """A server of this test's own."""
    with EmbeddedTemporal(tmp_path / "temporal") as made:
        yield made


def begin(temporal: EmbeddedTemporal, workflow: str) -> None:
    words = ("workflow", "start", "--type", "Any", "--task-queue", "nobody", "--workflow-id", workflow)
    done = temporal._ask(*words)
    assert done.returncode == 0, done.stderr


def status(temporal: EmbeddedTemporal, workflow: str) -> str:
    described = json.loads(temporal._ask("workflow", "describe", "--workflow-id", workflow, "--output", "json").stdout)
    return str(described["workflowExecutionInfo"]["status"])


def test_what_was_begun_before_a_kill_goes_on_after_it(temporal: EmbeddedTemporal) -> None:
    """Kill -9 of the server right after it said yes: the workflow is there, at the same address."""
    address = temporal.address
    for number in range(3):
        begin(temporal, f"order-{number}")
        os.kill(temporal.pid, signal.SIGKILL)
        temporal.stop()
        temporal.start()
    assert [status(temporal, f"order-{number}") for number in range(3)] == ["WORKFLOW_EXECUTION_STATUS_RUNNING"] * 3
    assert temporal.address == address


def test_the_namespace_remembers_for_a_year(temporal: EmbeddedTemporal) -> None:
    """The development server would forget after a day."""
    described = json.loads(temporal._ask("operator", "namespace", "describe", "--output", "json").stdout)
    assert described["config"]["workflowExecutionRetentionTtl"] == f"{365 * 24 * 3600}s"


def test_a_second_start_on_the_same_file_is_refused(temporal: EmbeddedTemporal, tmp_path: Path) -> None:
    """Two servers on one file would corrupt it."""
    with pytest.raises(AlreadyRunningError):
        EmbeddedTemporal(tmp_path / "temporal").start()
    assert temporal.poll() is None


def test_nothing_is_written_into_the_operators_own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program keeps notes in the home folder: in ours, not in the person's."""
    person = tmp_path / "person"
    person.mkdir()
    monkeypatch.setenv("HOME", str(person))
    with EmbeddedTemporal(tmp_path / "temporal") as temporal:
        begin(temporal, "order")
    assert list(person.iterdir()) == []

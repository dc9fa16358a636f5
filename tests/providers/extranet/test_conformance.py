"""The conformance suite of networks as a third party runs it; an adapter that breaks a rule fails the rule's test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SUITE = "providers.network_conformance"


def run(folder: Path, site: str, *selected: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", f"{SUITE}.plugin", "--pyargs", SUITE]
    command += ["--network", site, "-p", "no:cacheprovider", "-W", "error", *selected]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_good_network_passes_without_a_test_left_out(tmp_path: Path) -> None:
    ended = run(tmp_path, "tests.providers.extranet.dictionary:good")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "skipped" not in ended.stdout
    assert "10 passed" in ended.stdout


@pytest.mark.parametrize(("network", "selected"), [("greedy", "in_use"), ("boundless", "plan_refuses")])
def test_the_suite_sees_what_a_network_does_wrong(network: str, selected: str, tmp_path: Path) -> None:
    ended = run(tmp_path, f"tests.providers.extranet.dictionary:{network}", "-k", selected)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "1 failed" in ended.stdout

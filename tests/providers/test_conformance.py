"""The conformance suite as a third party runs it: from the installed package, in a process and a folder of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from sqlalchemy import make_url

from providers.simulated import faults
from tests.providers.world import World


def run(folder: Path, adapter: str, options: Mapping[str, object], *selected: str) -> subprocess.CompletedProcess[str]:
    """``pytest --pyargs providers.conformance`` with these options; its output is kept for the failure's message."""
    file = folder / "options.yaml"
    file.write_text(yaml.safe_dump(dict(options), allow_unicode=True), encoding="utf-8")
    command = [sys.executable, "-W", "error", "-m", "pytest", "-p", "providers.conformance.plugin"]
    command += ["--pyargs", "providers.conformance", "--provider", adapter, "--provider-options", str(file)]
    command += ["-ra", "--strict-markers", "-W", "error", "-p", "no:cacheprovider", *selected]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)


def count(ended: subprocess.CompletedProcess[str], what: str) -> int:
    """How many tests passed, failed or were skipped, by pytest's last line."""
    found = re.search(rf"(\d+) {what}", ended.stdout.splitlines()[-1])
    return int(found[1]) if found else 0


@pytest.mark.parametrize(
    "pace",
    [{}, {"build_ms": 300, "delete_ms": 150, "latency_ms": 2}],
    ids=["everything at once", "everything takes its time"],
)
def test_the_simulated_cloud_passes_and_nothing_is_left(pace: dict[str, object], world: World, tmp_path: Path) -> None:
    """The very suite that the real cloud passes, without a test left out; the cloud is empty again afterwards."""
    wrong = make_url(world.url).set(password="wrong").render_as_string(hide_password=False)
    own = {"sub_cloud": world.cloud, "wrong_options": {"database_url": wrong}}
    ended = run(tmp_path, "simulated", {"database_url": world.url, **pace, "conformance": own})
    assert ended.returncode == 0, ended.stdout
    assert count(ended, "passed") > 50, ended.stdout
    assert count(ended, "skipped") == 0, ended.stdout
    assert faults.things(world.url, world.cloud) == []


@pytest.mark.parametrize(
    ("adapter", "selected", "sign"),
    [
        ("forgetful", "ordered", "assert"),
        ("headstrong", "prefix_asked_for", "assert"),
        ("hasty", "made_seen_listed", "is None"),
        ("leaky", "finds_nothing", "only the four may leave a provider"),
        ("hopeful", "unknown_image", "still only busy"),
        ("boundless", "list_holds_all", "assert"),
    ],
)
def test_the_suite_sees_what_an_adapter_does_wrong(
    adapter: str, selected: str, sign: str, world: World, tmp_path: Path
) -> None:
    """An adapter that breaks one rule fails the test of this rule."""
    own = {"sub_cloud": world.cloud, "deadline_s": 2}
    options = {"database_url": world.url, "delete_ms": 30_000 if adapter == "hasty" else 0, "conformance": own}
    ended = run(tmp_path, f"tests.providers.broken:{adapter}", options, "-k", selected)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert count(ended, "failed") >= 1, ended.stdout
    assert sign in ended.stdout


def test_what_an_adapter_says_it_cannot_do_is_left_out_visibly(world: World, tmp_path: Path) -> None:
    """A modest adapter passes; each test that it cannot take names what is missing."""
    own = {"sub_cloud": world.cloud}
    ended = run(tmp_path, "tests.providers.broken:modest", {"database_url": world.url, "conformance": own})
    assert ended.returncode == 0, ended.stdout
    assert count(ended, "skipped") > 10
    assert count(ended, "passed") > 15
    for missing in (
        "simulated says that it has no server",
        "simulated says that it has no snapshot",
        "simulated says that it has no attachment",
        "the options file names no wrong_options",
    ):
        assert missing in ended.stdout


def test_without_an_adapter_the_suite_says_what_it_needs(tmp_path: Path) -> None:
    """No traceback for somebody who forgot an option, or misspelt one in the file."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "providers.conformance.plugin",
        "--pyargs",
        "providers.conformance",
    ]
    ended = subprocess.run(
        [*command, "-x", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode != 0
    assert "needs --provider NAME" in ended.stdout + ended.stderr
    ended = run(tmp_path, "simulated", {"database_url": "x", "conformance": {"colour": "red"}}, "-x")
    assert ended.returncode != 0
    assert "conformance: unknown colour" in ended.stdout + ended.stderr

"""What the worker asks of the clouds every minute, and with which adapters."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from broker.workflows.health import HealthCheck
from tests.stories.conftest import Databases
from tests.stories.world import World, make_world


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The clouds file: what is kept outside the region."""
    file = tmp_path / "clouds.yaml"
    file.write_text("main: {cores_x86_64: 640}\n")
    return file


@pytest.fixture
def kept(databases: Databases, tmp_path: Path, secrets: Path) -> Iterator[World]:
    with databases() as (region, simulated):
        world = make_world(region, simulated, tmp_path, ask=True, clouds_file=secrets)
        yield world
        world.app.close()


def ask_all(world: World) -> None:
    """One round of the worker's, waited for."""
    with ThreadPoolExecutor(4) as pool:
        HealthCheck(world.app, pool).ask_all()


def reported_vcpu(world: World, code: str) -> int:
    return int(
        world.scalar(
            "SELECT s.capacity->'compute'->'x86_64'->>'vcpu_total' FROM broker.sub_cloud_status s"
            " JOIN broker.sub_cloud c ON c.id = s.sub_cloud_id WHERE c.code = :c",
            c=code,
        )
    )


def test_options_that_change_are_used_without_a_restart(kept: World, secrets: Path) -> None:
    """An edited region and an edited clouds file reach the adapter with the next question; the others keep theirs."""
    before = {code: kept.app.providers(code) for code in ("main", "jyt", "gat")}
    assert reported_vcpu(kept, "main") == 640
    secrets.write_text("main: {cores_x86_64: 1280}\n")
    with kept.app.sessions.begin() as session:
        session.execute(
            text("UPDATE broker.sub_cloud SET options = options || '{\"cores_x86_64\": \"96\"}' WHERE code = 'jyt'")
        )
    ask_all(kept)
    assert (reported_vcpu(kept, "main"), reported_vcpu(kept, "jyt")) == (1280, 96)
    assert {code for code, adapter in before.items() if kept.app.providers(code) is adapter} == {"gat"}


def test_a_cloud_whose_entry_is_broken_feels_bad_until_it_is_mended(kept: World, secrets: Path) -> None:
    """A secret that is not in the environment: the cloud is unhealthy with that code, not used with the old one."""
    state = "SELECT s.healthy, s.detail FROM broker.sub_cloud_status s JOIN broker.sub_cloud c ON c.id = s.sub_cloud_id"
    secrets.write_text("main: {cores_x86_64: 'env:GUIYUN_NOT_THERE'}\n")
    ask_all(kept)
    assert [tuple(r) for r in kept.rows(f"{state} WHERE c.code = 'main'")] == [
        (False, "clouds_file.environment_missing")
    ]
    secrets.write_text("main: {cores_x86_64: 640}\n")
    ask_all(kept)
    assert [row.healthy for row in kept.rows(f"{state} WHERE c.code = 'main'")] == [True]

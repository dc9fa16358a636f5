"""What a playbook is told of a router: what it reads, and not all that the extranet has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from broker.extranet.fabric import fabric_of
from broker.extranet.playing import Player
from broker.extranet.reading import read_topology
from playbooks import runner
from playbooks.runner import HostVars, PlayResult, PlayStatus
from tests.extranet import TOPOLOGY

GROWING = {"filter-neighbours": "extranet_filters", "verify-segment": "extranet_vantages"}


@pytest.mark.parametrize("playbook", [*GROWING, "provision-segment", "withdraw-segment", "audit-routers"])
def test_what_grows_with_the_extranet_is_for_the_playbook_that_reads_it(
    playbook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filters of every neighbour, addresses of every other router in every table: a change is told of neither."""
    told: list[Mapping[str, HostVars]] = []

    def run(_: str, *, hosts: Mapping[str, HostVars], **__: Any) -> PlayResult:
        told.append(hosts)
        return PlayResult(PlayStatus.OK, 0)

    monkeypatch.setattr(runner, "run", run)
    (tmp_path / "id").write_text("key")
    dc = fabric_of(read_topology(TOPOLOGY)).routers["dc"]
    Player(tmp_path / "id")(playbook, [dc], {})
    given = told[0]["dc"].variables
    assert set(given) & set(GROWING.values()) == {name for of, name in GROWING.items() if of == playbook}
    text = (Path(runner.__file__).parent / f"{playbook}.yml").read_text()
    assert all(name in text for name in given.keys() & set(GROWING.values()))
    assert {"extranet_vendor", "extranet_asn", "extranet_underlay", "extranet_neighbours"} <= given.keys()

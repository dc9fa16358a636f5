"""Delivered servers are configured where a guest can be reached (what happens when it fails: test_faults_configure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from broker.delivery import begin, handover, provision
from broker.delivery.harden import Harden
from broker.delivery.tools import Pace, Tools
from tests.stories import road
from tests.stories.world import World


def hardening(world: World, seen: list[str]) -> Tools:
    """The tools of a worker whose playbook notes the servers it was given."""

    def harden(hosts: Mapping[str, str]) -> Mapping[str, str]:
        seen.extend(hosts.values())
        return {}

    return replace(world.app.tools(), harden=harden)


def deliver(world: World, tools: Tools) -> str:
    """One delivery with the configuring step, as ``workflows.fulfil`` orders it."""
    job = road.jobs(world)[0].job
    begin.pin_hold(tools, job)
    pace = Pace(beat=lambda: None, last=True)
    provision.create_project(tools, job, pace)
    for kind in ("segment", "volume", "server"):
        provision.create(tools, job, kind, pace)
    provision.attach_volumes(tools, job, pace)
    provision.configure(tools, job, pace)
    return handover.hand_over(tools, job)


def test_every_server_is_configured_before_it_is_handed_over(world: World) -> None:
    """The playbook sees both servers, by their names."""
    request_id = road.up_to_order(world)
    seen: list[str] = []
    assert deliver(world, hardening(world, seen)) == "delivered"
    assert sorted(seen) == ["web-01", "web-02"]
    assert world.request(request_id).state == "delivered"


def test_a_host_that_does_not_answer_is_named_by_its_address(tmp_path: Path) -> None:
    """The real playbook runner against a loopback address where nobody listens."""
    key = tmp_path / "key"
    key.write_text("not a key\n")
    failed = Harden(key, user="nobody", timeout_s=300)({"::2": "web-01"})
    assert list(failed) == ["::2"]

"""Delivered servers are configured where a guest can be reached; one that cannot be is on the desk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from broker.delivery import begin, handover, provision
from broker.delivery.harden import Harden
from broker.delivery.tools import Pace, Tools
from tests.stories import road
from tests.stories.world import World


def hardening(world: World, failing: set[str], seen: list[str]) -> Tools:
    """The tools of a worker whose playbook fails on the servers named."""

    def harden(hosts: Mapping[str, str]) -> Mapping[str, str]:
        seen.extend(hosts.values())
        return {address: "unreachable" for address, name in hosts.items() if name in failing}

    return replace(world.app.tools(), harden=harden)


def deliver(world: World, tools: Tools) -> str:
    """One delivery with the configuring step, as ``workflows.fulfil`` orders it."""
    job = road.jobs(world)[0].job
    begin.pin_hold(tools, job)
    pace = Pace(beat=lambda: None, last=True)
    good = provision.create_project(tools, job, pace)
    for kind in ("segment", "volume", "server"):
        good &= provision.create(tools, job, kind, pace)
    good &= provision.attach_volumes(tools, job, pace)
    good &= provision.configure(tools, job, pace)
    if not good:
        handover.undo_failed(tools, job, pace)
    return handover.hand_over(tools, job)


def test_every_server_is_configured_before_it_is_handed_over(world: World) -> None:
    """The playbook sees both servers, by their names."""
    request_id = road.up_to_order(world)
    seen: list[str] = []
    assert deliver(world, hardening(world, set(), seen)) == "delivered"
    assert sorted(seen) == ["web-01", "web-02"]
    assert world.request(request_id).state == "delivered"


def test_a_server_that_cannot_be_configured_is_undone_alone(world: World) -> None:
    """It and its disk wait on the desk; the rest is handed over, since the applicant allowed a part."""
    request_id = road.up_to_order(world, allow_partial=True)
    assert deliver(world, hardening(world, {"web-02"}, [])) == "partly_delivered"
    assert world.request(request_id).state == "partly_delivered"
    failed = {
        r.name: r.error_code for r in world.rows("SELECT name, error_code FROM broker.resource WHERE state = 'failed'")
    }
    assert failed["web-02"] == "configure.failed"
    assert "web-01" not in failed


def test_a_host_that_does_not_answer_is_named_by_its_address(tmp_path: Path) -> None:
    """The real playbook runner against a loopback address where nobody listens."""
    key = tmp_path / "key"
    key.write_text("not a key\n")
    failed = Harden(key, user="nobody", timeout_s=60)({"::2": "web-01"})
    assert list(failed) == ["::2"]

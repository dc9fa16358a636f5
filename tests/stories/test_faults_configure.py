"""Where guests can be reached they are configured before they are handed over, or not handed over at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from broker.delivery import begin, handover, provision
from broker.delivery.service import Action
from broker.delivery.tools import Tools
from broker.delivery.values import Job
from tests.stories import road, slate
from tests.stories.world import World


class Reachable:
    """The simulated cloud, saying that its guests can be reached."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self.capabilities = replace(provider.capabilities, guest_reachable=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)


@dataclass
class Playbook:
    """Stands for Ansible: notes whom it configured, and fails for those it is told to."""

    failing: set[str] = field(default_factory=set)
    seen: list[str] = field(default_factory=list)

    def __call__(self, hosts: Mapping[str, str]) -> Mapping[str, str]:
        self.seen += hosts.values()
        return {address: "unreachable" for address, name in hosts.items() if name in self.failing}


def tools_of(world: World, playbook: Playbook) -> Tools:
    providers: Any = lambda code: Reachable(world.app.providers(code))  # noqa: E731  # a lookup, as bootstrap has one
    return replace(world.app.tools(), providers=providers, harden=playbook)


def fulfil(tools: Tools, job: Job) -> str:
    """The road of ``workflows.fulfil`` with its step for guests."""
    plan = begin.pin_hold(tools, job)
    assert plan.configure
    good = road.patiently(lambda pace: provision.create_project(tools, job, pace))
    for kind in ("segment", "volume", "server"):
        good &= road.patiently(lambda pace, kind=kind: provision.create(tools, job, kind, pace))
    good &= road.patiently(lambda pace: provision.attach_volumes(tools, job, pace))
    good &= road.patiently(lambda pace: provision.configure(tools, job, pace))
    if not good:
        road.patiently(lambda pace: handover.undo_failed(tools, job, pace))
    return handover.hand_over(tools, job)


def test_a_guest_that_cannot_be_configured_is_not_handed_over(town: World) -> None:
    """It is tried again and again, removed, and on the desk; when it can be reached, everything is delivered."""
    request_id = road.up_to_order(town)
    playbook = Playbook(failing={"web-02"})
    tools = tools_of(town, playbook)
    [wanting] = road.jobs(town)
    assert fulfil(tools, wanting.job) == "needs_operator"
    cases = town.rows("SELECT step, code FROM broker.desk_case WHERE request_id = :r", r=request_id)
    assert [tuple(row) for row in cases] == [("configure_guests", "configure.failed")]
    assert playbook.seen.count("web-02") > 1
    slate.check(town, waiting=True)

    playbook.failing.clear()
    road.decide_all(town, request_id, Action.RETRY)
    [wanting] = road.jobs(town)
    assert fulfil(tools, wanting.job) == "delivered"
    town.clock.forward(hours=1)
    slate.check(town)
    road.release(town, request_id)
    road.walk(town)


def test_servers_that_an_interrupted_attempt_made_are_configured_all_the_same(town: World) -> None:
    """A delivery that begins again finds its servers ready; that they were configured nobody has said."""
    request_id = road.up_to_order(town)
    playbook = Playbook()
    tools = tools_of(town, playbook)
    [wanting] = road.jobs(town)
    begin.pin_hold(tools, wanting.job)
    road.patiently(lambda pace: provision.create_project(tools, wanting.job, pace))
    for kind in ("segment", "volume", "server"):
        road.patiently(lambda pace, kind=kind: provision.create(tools, wanting.job, kind, pace))
    assert fulfil(tools, wanting.job) == "delivered"
    assert sorted(playbook.seen) == ["web-01", "web-02"]
    town.clock.forward(hours=1)
    slate.check(town)
    road.release(town, request_id)
    road.walk(town)

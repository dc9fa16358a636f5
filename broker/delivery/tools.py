"""What a machine step needs: transactions of its own, the sub-clouds, a playbook runner, patience.

Called by: ``workflows.steps`` builds one at start-up; the steps of delivery and reclamation use it.
Must not: decide. No transaction may be open while a provider or a playbook is called.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from broker.extranet.networks import Networks
from broker.settings import Settings
from broker.tenancy.work import WorkFactory
from providers.contract import Provider


class Playbooks(Protocol):
    """Runs ``harden-guest`` on servers that can be reached; returns what failed, by address (empty: all good)."""

    def __call__(self, hosts: Mapping[str, str]) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """Passed to every step. ``providers`` finds an adapter by its sub-cloud's code, ``networks`` the extranet."""

    works: WorkFactory
    providers: Callable[[str], Provider]
    settings: Settings
    networks: Networks
    harden: Playbooks | None = None


@dataclass(slots=True)
class Pace:
    """Patience of one attempt of a step: waits a little longer each time, tells the engine that it is alive.

    ``last`` says that the engine will not try again: what is still unclear then goes to an operator. ``in_place`` says
    that this is a quick first look: a step that has to wait asks for another attempt instead.
    """

    beat: Callable[[], None]
    last: bool = False
    in_place: bool = False
    deadline_s: float = 600
    _started: float = field(default_factory=time.monotonic)
    _pause: float = 0.02

    @property
    def over(self) -> bool:
        """A quick look has taken its time: what is left is for the attempt that beats."""
        return self.in_place and time.monotonic() - self._started > self.deadline_s

    def wait(self) -> bool:
        """Wait a little; False when patience has run out."""
        self.beat()
        if time.monotonic() - self._started > self.deadline_s:
            return False
        time.sleep(self._pause)
        self._pause = min(self._pause * 2, 2.0)
        return True

"""Hands the playbook runner to the network provider: routers become hosts, a run's result becomes the provider's words.

Called by: ``broker.bootstrap``. Must not: know Ansible (``playbooks.runner`` does), or keep the key anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playbooks import runner
from playbooks.runner import HostVars
from providers.errors import ActionRequired
from providers.networking import Played, RouterAccount

_ONLY = {"extranet_filters": "filter-neighbours", "extranet_vantages": "verify-segment"}
"""What of a router's variables grows with the whole extranet, and the one playbook that reads it."""


@dataclass(frozen=True, slots=True)
class Player:
    """The routers let in the public half of the key."""

    key_file: Path
    timeout_s: float = 120
    connect_timeout_s: float = 4
    """A router answers at once or is down; whoever asks tries again."""

    def __call__(
        self, playbook: str, routers: Iterable[RouterAccount], variables: Mapping[str, Any], *, check: bool = False
    ) -> Played:
        """Run a playbook on routers. Raises ActionRequired ``extranet.no_key`` when the key cannot be read."""
        try:
            key = self.key_file.read_text()
        except OSError as error:
            raise ActionRequired("extranet.no_key", str(error)) from error
        hosts = {
            r.name: HostVars(
                address=str(r.address),
                user=r.user,
                port=r.port,
                private_key=key,
                variables={n: v for n, v in r.variables.items() if _ONLY.get(n, playbook) == playbook},
                groups=r.groups,
                host_key=r.host_key,
            )
            for r in routers
        }
        result = runner.run(
            playbook,
            hosts=hosts,
            extra_vars=variables,
            check=check,
            timeout_s=self.timeout_s,
            connect_timeout_s=self.connect_timeout_s,
            retries=0,
        )
        return Played(result.status.value, result.changed, result.failures, result.answers)

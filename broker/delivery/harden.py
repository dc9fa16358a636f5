"""Configures delivered servers through the playbook ``harden-guest``, where a guest can be reached.

Called by: ``delivery.provision.configure`` through ``Tools``; built by bootstrap when a management key is set.
Must not: know Ansible (``playbooks.runner`` does), or keep the key anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from playbooks import runner
from playbooks.runner import HostVars, PlayStatus


@dataclass(frozen=True, slots=True)
class Harden:
    """The sub-clouds' images carry the public half of the management key."""

    key_file: Path
    user: str
    timeout_s: float = 600

    def __call__(self, hosts: Mapping[str, str]) -> Mapping[str, str]:
        """Run the playbook on servers (address to name); returns what failed, by address. Empty: all good."""
        key = self.key_file.read_text()
        by_name = {f"{name}-{n}": address for n, (address, name) in enumerate(hosts.items())}
        targets = {
            name: HostVars(address=address, user=self.user, private_key=key) for name, address in by_name.items()
        }
        played = runner.run("harden-guest", hosts=targets, timeout_s=self.timeout_s)
        if played.status is PlayStatus.OK:
            return {}
        failed = {
            address: next((f for f in played.failures if f.startswith(f"{name}:")), "")
            for name, address in by_name.items()
        }
        named = {address: detail for address, detail in failed.items() if detail}
        return named or dict.fromkeys(by_name.values(), played.status.value)

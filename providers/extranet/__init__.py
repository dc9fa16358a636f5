"""The e-government extranet's routers, spoken to by playbooks. The runner is handed in: providers know none."""

from __future__ import annotations

from providers.extranet.provider import Extranet
from providers.networking import Fabric, Play


def build(fabric: Fabric, play: Play) -> Extranet:
    """The entry point: the network provider of one extranet."""
    return Extranet(fabric, play)

"""Finds adapters by name through entry points, and loads one only when a sub-cloud needs it.

Called by: ``broker.bootstrap``. Must not: import an adapter itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from providers.contract import Provider, ProviderFactory
from providers.errors import ActionRequired
from providers.networking import Fabric, NetworkFactory, NetworkProvider, Play

GROUP = "guiyun.providers"
NETWORKS = "guiyun.networks"


def names() -> list[str]:
    """Names of the adapters that are installed."""
    return sorted(e.name for e in entry_points(group=GROUP))


def build(adapter: str, sub_cloud: str, options: Mapping[str, str]) -> Provider:
    """Build ``adapter`` for the sub-cloud code ``sub_cloud``.

    Raises ActionRequired when no such adapter is installed.
    """
    for entry in entry_points(group=GROUP):
        if entry.name == adapter:
            factory: ProviderFactory = entry.load()
            return factory(sub_cloud, options)
    raise ActionRequired("provider.unknown", f"no adapter named {adapter!r}; installed: {', '.join(names())}")


def build_network(adapter: str, fabric: Fabric, play: Play) -> NetworkProvider:
    """Build the network adapter ``adapter``. Raises ActionRequired when none of that name is installed."""
    for entry in entry_points(group=NETWORKS):
        if entry.name == adapter:
            factory: NetworkFactory = entry.load()
            return factory(fabric, play)
    raise ActionRequired("provider.unknown", f"no network adapter named {adapter!r}")

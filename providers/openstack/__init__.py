"""OpenStack as a sub-cloud.

Found by ``providers.registry`` through the entry point ``openstack``. Must not: be imported by the broker directly.
"""

from __future__ import annotations

from collections.abc import Mapping

from providers.openstack.options import Options
from providers.openstack.provider import OpenStackProvider


def build(name: str, options: Mapping[str, str]) -> OpenStackProvider:
    """The adapter for the sub-cloud with code ``name``; ``options.Options`` describes the options.

    Connects at the first call, not here. Raises ActionRequired for options it cannot understand.
    """
    return OpenStackProvider(name, Options.parse(options))

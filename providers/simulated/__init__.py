"""A cloud kept in a PostgreSQL database of its own, with faults that can be switched on; the demonstration's default.

Found by ``providers.registry`` through the entry point ``simulated``. Must not: be imported by the broker directly.

``cloud`` is what the wire shows, ``provider`` what it means to us, ``faults`` what a test may do behind our back.
"""

from __future__ import annotations

from collections.abc import Mapping

from providers.simulated.options import Options
from providers.simulated.provider import SimulatedProvider

__all__ = ["Options", "SimulatedProvider", "build"]


def build(name: str, options: Mapping[str, str]) -> SimulatedProvider:
    """The simulated cloud ``name``; the options are described in ``options.Options``.

    Connects at the first call, not here. Raises ActionRequired for options it cannot understand.
    """
    return SimulatedProvider(name, Options.parse(options))

"""What the suite is given: the adapter on a network, and specs of which the plan contains some and refuses others.

Called by: the suite's fixtures; made by whoever has an adapter to test. Must not: know any adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from providers.networking import NetworkProvider, SegmentSpec


@dataclass(frozen=True, slots=True)
class Site:
    """``fresh`` gives a segment that the plan contains: another id, prefix and VNI at every call, on one router.

    ``refused``: segments that the plan does not contain, each by what is wrong with it (``a prefix of another unit``).
    """

    provider: NetworkProvider
    fresh: Callable[[], SegmentSpec]
    refused: Mapping[str, SegmentSpec]

"""The laboratory as the conformance suite of networks takes it. A module of its own: the suite knows no marks of ours.

Called by: ``test_conformance``. Must not: start the laboratory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv6Network

from broker.extranet.fabric import fabric_of
from broker.extranet.playing import Player
from providers.extranet.provider import Extranet
from providers.network_conformance.site import Site
from tests.extranet import lab as laboratory
from tests.extranet.nodes import HOME
from tests.providers.extranet.dictionary import fresh


@contextmanager
def routers() -> Iterator[Site]:
    """The laboratory, which runs."""
    lab = laboratory.current()
    assert lab is not None
    others = replace(fresh(), prefix=IPv6Network("3fff:122:0:1::/64"))
    refused = {"another unit's prefix": others, "a VNI out of range": replace(fresh(), vni=5)}
    yield Site(Extranet(fabric_of(lab.topology), Player(HOME / "id")), fresh, refused)

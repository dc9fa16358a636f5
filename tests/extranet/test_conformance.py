"""The conformance suite of networks on the laboratory's routers, as a third party would run it on his own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from broker.extranet.fabric import fabric_of
from broker.extranet.playing import Player
from providers.extranet.provider import Extranet
from providers.network_conformance.site import Site
from tests.extranet import lab as laboratory
from tests.extranet.nodes import HOME
from tests.providers.extranet.dictionary import fresh
from tests.providers.extranet.test_conformance import run

pytestmark = pytest.mark.extranet


@contextmanager
def routers() -> Iterator[Site]:
    """The laboratory, which runs."""
    lab = laboratory.current()
    assert lab is not None
    others = replace(fresh(), prefix=IPv6Network("3fff:122:0:1::/64"))
    refused = {"another unit's prefix": others, "a VNI out of range": replace(fresh(), vni=5)}
    yield Site(Extranet(fabric_of(lab.topology), Player(HOME / "id")), fresh, refused)


def test_the_extranet_passes(tmp_path: Path) -> None:
    ended = run(tmp_path, "tests.extranet.test_conformance:routers")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "10 passed" in ended.stdout

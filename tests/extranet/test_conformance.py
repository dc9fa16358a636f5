"""The conformance suite of networks on the laboratory's routers, as a third party would run it on his own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.providers.extranet.test_conformance import run

pytestmark = pytest.mark.extranet


def test_the_extranet_passes(tmp_path: Path) -> None:
    ended = run(tmp_path, "tests.extranet.routers:routers")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "10 passed" in ended.stdout

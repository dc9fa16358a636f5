"""The whole road on the real OpenStack: the demonstration, each step checked, through the public API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.openstack


def test_a_request_travels_the_whole_road_on_openstack(tmp_path: Path) -> None:
    """Submit to release with real projects, networks, ports, volumes and servers; nothing is left in the cloud."""
    program = Path(sys.executable).parent / "guiyun"
    environment = {**os.environ, "HOME": str(tmp_path), "GUIYUN_HOME": str(tmp_path / "none")}
    command = [str(program), "demo", "--cloud", "openstack", "--json"]
    walked = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=1500)
    assert walked.returncode == 0, walked.stdout[-3000:] + walked.stderr[-3000:]
    assert json.loads(walked.stdout.splitlines()[-1])

"""The conformance suite on the real OpenStack, in a process and a folder of its own, as a third party runs it."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from providers.contract import Kind
from providers.openstack import build

pytestmark = pytest.mark.openstack


def test_openstack_passes_the_suite_and_nothing_is_left(lab_options: dict[str, str], tmp_path: Path) -> None:
    """Every test passes, only what the laboratory has no device for is left out, and nothing of it stays in the cloud.

    The laboratory has no physical network, and so no VLAN to hand a network to.
    """
    cloud = f"conformance-{secrets.token_hex(4)}"
    own = {"sub_cloud": cloud, "image": "debian-12-x86_64", "deadline_s": 120, "wrong_options": {"password": "wrong"}}
    file = tmp_path / "options.yaml"
    file.write_text(yaml.safe_dump({**lab_options, "conformance": own}))
    command = [sys.executable, "-W", "error", "-m", "pytest", "-p", "providers.conformance.plugin", "-ra"]
    command += ["--pyargs", "providers.conformance", "--provider", "openstack", "--provider-options", str(file)]
    command += ["--strict-markers", "-W", "error", "-p", "no:cacheprovider"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
    assert ended.returncode == 0, ended.stdout
    last = ended.stdout.splitlines()[-1]
    passed = re.search(r"(\d+) passed", last)
    assert passed is not None
    assert int(passed[1]) > 50, ended.stdout
    left_out = [line for line in ended.stdout.splitlines() if line.startswith("SKIPPED")]
    assert all(line.endswith("has no vlan uplinks") for line in left_out), ended.stdout
    provider = build(cloud, lab_options)
    try:
        assert [seen for kind in Kind for seen in provider.list(kind)] == []
    finally:
        provider.close()

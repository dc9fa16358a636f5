"""What would be sent to routers of Huawei and H3C. No such router was at hand: golden files are all there is.

``GUIYUN_SNAPSHOTS=write`` writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree as ET

import jinja2
import pytest
from ansible.plugins.filter.core import regex_replace

ROLES = Path(__file__).parent.parent.parent / "playbooks/roles"
GOLDEN = Path(__file__).parent / "golden"
MINE = [
    {"id": "0197aaaa-0000-7000-8000-000000000001", "vrf": "shared", "prefix": "3fff:12f:0:1::/64", "vni": 10001},
    {"id": "0197aaaa-0000-7000-8000-000000000002", "vrf": "prv-slt", "prefix": "fd3f:ff00:1:2::/64", "vni": 10002},
]


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("vendor", ["huawei", "h3c"])
def test_what_is_sent_is_as_written_down(vendor: str, state: str) -> None:
    """Well-formed XML, the same as the golden file."""
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    environment.filters["regex_replace"] = regex_replace
    template = environment.from_string((ROLES / f"extranet_{vendor}/templates/segments.xml.j2").read_text())
    sent = template.render(
        extranet_mine=[{**s, "remote": "3fff:f02:1::2"} for s in MINE],
        extranet_state=state,
        extranet_underlay={"device": "Nve1", "local": "3fff:f02:1::1"},
    )
    texts = [e.text for e in ET.fromstring(sent).iter() if e.text]
    assert "10002" in " ".join(texts)
    golden = GOLDEN / f"{vendor}-{state}.xml"
    if os.environ.get("GUIYUN_SNAPSHOTS") == "write":
        golden.write_text(sent)
    assert sent == golden.read_text()

"""``guiyun extranet``: a topology is checked as a whole, loaded once, and shown."""

from __future__ import annotations

from pathlib import Path

from tests.cli.typist import Typist
from tests.extranet import TOPOLOGY


def test_a_topology_is_checked_loaded_and_shown(typist: Typist, tmp_path: Path) -> None:
    """Loaded again it changes nothing; a broken one is refused with every mistake, and what held still holds."""
    assert typist.refused("extranet", "show").startswith("extranet.no_topology：")
    assert typist.does("extranet", "check", str(TOPOLOGY), "--json").json["routers"] == 5
    assert typist.does("extranet", "load", str(TOPOLOGY), "--json").json == {"changed": True}
    assert "没有变化" in typist.does("extranet", "load", str(TOPOLOGY)).out
    broken = tmp_path / "broken.yaml"
    text = TOPOLOGY.read_text().replace('prefix: "3fff:122::/32", routers', 'prefix: "3fff:500::/32", routers')
    broken.write_text(text.replace("first: 20000", "first: 19000"))
    error = typist.refused("extranet", "load", str(broken))
    assert "extranet.outside" in error
    assert "extranet.vnis_overlap" in error
    assert typist.does("extranet", "show", "--json").json == []

"""``guiyun extranet``: a topology is checked as a whole, loaded once, and shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from broker.db.session import make_engine
from tests.api.server import Server
from tests.cli.typist import Typist
from tests.extranet import TOPOLOGY


@pytest.fixture(autouse=True)
def topology_of_this_test(server: Server) -> Iterator[None]:
    """The broker is everybody's: a topology that stayed would say where the other tests' segments may be."""
    yield
    engine = make_engine(server.database.owner_url, pool_size=1)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM broker.extranet_topology"))
    engine.dispose()


def test_a_topology_is_checked_loaded_and_shown(typist: Typist, tmp_path: Path) -> None:
    """Loaded again it changes nothing; a broken one is refused with every mistake, and what held still holds."""
    assert typist.refused("extranet", "show").startswith("extranet.no_topology：")
    assert typist.refused("extranet", "filters", "--check").startswith("extranet.no_network：")
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

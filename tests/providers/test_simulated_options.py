"""A simulated cloud's options: what they do, and what is said about wrong ones."""

from __future__ import annotations

import pytest

from providers.contract import CpuArch
from providers.errors import ActionRequired, Permanent
from providers.simulated import build
from tests.providers.world import World


def test_totals_follow_the_options(world: World) -> None:
    """A cloud that was extended shows it; one that has none of something says so when it is asked for."""
    world.provider(block_ssd_gib="10").health()
    grown = world.provider(block_ssd_gib="20", vcpu_aarch64="0", memory_gib_aarch64="0")
    assert grown.capacity().block_total_gib["ssd"] == 20
    assert set(grown.capacity().compute) == {CpuArch.X86_64}
    with pytest.raises(Permanent):
        grown.create(world.placed_server(grown))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"database_url": ""},
        {"database_url": "sqlite://"},
        {"database_url": "postgresql+psycopg://h/d", "vcpu_x86_64": "many"},
        {"database_url": "postgresql+psycopg://h/d", "build_ms": "-1"},
        {"database_url": "postgresql+psycopg://h/d", "log_looks": "perhaps"},
        {"database_url": "postgresql+psycopg://h/d", "colour": "red"},
    ],
    ids=str,
)
def test_options_that_make_no_sense_ask_for_a_person(options: dict[str, str]) -> None:
    """A misspelt option is refused when the adapter is built, and not quoted: it may be a secret."""
    with pytest.raises(ActionRequired) as refused:
        build("x", options)
    assert refused.value.code.startswith("options.")
    assert "many" not in str(refused.value)

"""The extranet laboratory, and the tests that run in it."""

from pathlib import Path

TOPOLOGY = Path(__file__).parent / "topology.yaml"

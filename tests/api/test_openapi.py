"""The interface's description: OpenAPI 3.1, complete, kept as a snapshot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from tests.api.snapshot import compare

SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    """The description as it is served."""
    return create_app().openapi()


def test_the_description_has_not_drifted(description: dict[str, Any]) -> None:
    """Programs rely on it: it may grow; whatever changes is seen in this file's difference."""
    text = json.dumps(description, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    compare(SNAPSHOTS / "openapi.json", text)


def test_it_is_openapi_3_1_and_in_chinese(description: dict[str, Any]) -> None:
    """Title, version, and a Chinese summary for every operation."""
    assert description["openapi"].startswith("3.1")
    assert description["info"]["title"] == "桂云"
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            assert any("\u4e00" <= c <= "\u9fff" for c in operation["summary"]), (method, path)


def test_every_operation_names_its_problems(description: dict[str, Any]) -> None:
    """Errors are described once, as problem+json, for each operation."""
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            content = operation["responses"]["default"]["content"]
            assert list(content) == ["application/problem+json"], (method, path)

"""``guiyun db`` for people and programs."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from api.cli.db import app
from tests.conftest import Database


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
    """Whoever migrates: the settings name the owner's address."""
    monkeypatch.setenv("GUIYUN_OWNER_DATABASE_URL", database.owner_url)


def said(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["db", *words])
    return result.exit_code, result.stdout


def test_a_migrated_database_is_where_the_code_is(owner: None) -> None:
    """Exit 0, and the same revision twice, as a sentence and as JSON."""
    status, answer = said("current", "--json")
    found = json.loads(answer)
    assert (status, found["database"]) == (0, found["code"])
    assert said("current") == (0, f"数据库 {found['code']}，代码 {found['code']}\n")
    assert json.loads(said("migrate", "--json")[1]) == {"revision": found["code"]}


def test_models_and_database_agree(owner: None) -> None:
    """Nothing is left for a migration to change."""
    assert said("check") == (0, "")
    assert json.loads(said("check", "--json")[1]) == {"differences": []}

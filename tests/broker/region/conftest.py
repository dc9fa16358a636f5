"""Fixtures of the region's tests: an edited file, and a database in which the demonstration region is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from broker.db.session import make_engine
from tests.broker.region.editing import Edited, loaded, write_region
from tests.conftest import DatabaseFactory


@pytest.fixture
def edited(tmp_path: Path) -> Edited:
    """Writes the demonstration region, edited, into the test's own folder."""
    return partial(write_region, tmp_path)


@pytest.fixture(scope="session")
def region_engine(clone: DatabaseFactory) -> Iterator[Engine]:
    """A database in which the demonstration region was loaded once; no test commits to it."""
    made = make_engine(clone().app_url)
    with Session(made) as session, session.begin():
        loaded(session)
    yield made
    made.dispose()


@pytest.fixture
def world(region_engine: Engine) -> Iterator[Session]:
    """A session on the loaded region; whatever the test does is rolled back."""
    with region_engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint") as made:
            yield made
        outer.rollback()

"""``guiyun db``: bring a database's schema up to date, say where it stands.

Called by: the command line, ``guiyun up``, ``make check`` and the tests. Must not: run with the runtime role, which
cannot change a schema.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

import broker.db

MIGRATIONS = Path(broker.db.__file__).parent / "migrations"


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration without an ini file; ``env.py`` takes ``attributes["connection"]``."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def migrate(url: str, revision: str = "head") -> None:
    """Run the missing migrations with the owner's ``url``, all in one transaction."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        command.upgrade(configuration(connection), revision)


def current(url: str) -> tuple[str | None, str | None]:
    """The revision the database has and the newest one in the code; None where there is none."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        has = MigrationContext.configure(connection).get_current_revision()
    return has, ScriptDirectory.from_config(configuration()).get_current_head()

"""The functions of the schema ``quotas``: each stands once, with its current text, in ``quotas/sql/functions``.

Called by: ``broker.db.migrate``, with the owner's connection. Must not: change a table or a row, for that is the work
of a revision; hold a function that a constraint, an index or a column's default calls, for what it has let in would not
be looked at again.

After the last revision the whole edition is put in place (as Flyway's repeatable migrations are) and its fingerprint
left as the comment of the schema, so that a database without it is seen. A change of a body is a change of a file; a
function that goes, or gets other parameters or another kind of answer, is dropped by a revision of its own first. No
revision may call one of these. A function that was not changed since it was released still stands in the numbered
files, which are frozen.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files

from sqlalchemy import Connection, text

COMMENT = text("SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'quotas'")


@cache
def edition() -> tuple[str, ...]:
    """The SQL of all functions, in order of their files, and last who may call them."""
    home = files("quotas").joinpath("sql")
    named = sorted(file.name for file in home.joinpath("functions").iterdir() if file.name.endswith(".sql"))
    bodies = [home.joinpath("functions", name).read_text(encoding="utf-8") for name in named]
    return (*bodies, home.joinpath("who_may.sql").read_text(encoding="utf-8"))


@cache
def fingerprint() -> str:
    """Ten hexadecimal digits that change with the text of any function."""
    return sha256("\0".join(edition()).encode()).hexdigest()[:10]


def standing(connection: Connection) -> str | None:
    """The fingerprint of what stands in this database; None: no edition was ever put in place."""
    comment: str | None = connection.scalar(COMMENT)
    return comment.rpartition(" ")[2] if comment else None


def put_in_place(connection: Connection) -> None:
    """Replace every function by its current text, in the caller's transaction."""
    plain = connection.execution_options(no_parameters=True)  # `%` and `:` mean what they mean in SQL
    for statements in (*edition(), f"COMMENT ON SCHEMA quotas IS 'functions {fingerprint()}'"):
        plain.exec_driver_sql(statements)

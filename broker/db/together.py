"""The session of all use-cases: rows that are only added go together, whatever their tables, in one statement.

Called by: ``broker.db.session``, which makes such sessions; a model whose rows may go together is a ``Together``.
Must not: know any table.

A decision writes itself, its audit event, its notices and more, and the ORM would make a round trip for each table.
PostgreSQL checks foreign keys at the end of a statement, so that rows in it may refer to each other in any order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Table, TextClause, inspect, text
from sqlalchemy.orm import Session, make_transient_to_detached


class Together:
    """A model whose rows are added after all others of a flush, and together.

    Its columns hold ids, instants, bytes and what JSON can carry (``None`` is NULL). No model that is not ``Together``
    may have to refer to one of its rows in the same flush (the database would refuse that).
    """


Shape = tuple[Table, tuple[str, ...]]
"""A table and the columns that are given; the others have the database's defaults."""


class TogetherSession(Session):
    """A session that adds all rows of ``Together`` models with one statement."""

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Write what is pending: first what the ORM writes table by table, then all that goes together."""
        added = [row for row in self.new if isinstance(row, Together)]
        for row in added:
            self.expunge(row)
        super().flush(objects)
        if added:
            self._insert(added)

    def _insert(self, added: Iterable[Together]) -> None:
        by_shape: dict[Shape, list[Mapping[str, Any]]] = {}
        for row in added:
            table, values = _complete(row)
            by_shape.setdefault((table, tuple(values)), []).append(values)
        parameters = {f"rows_{n}": json.dumps(rows) for n, rows in enumerate(by_shape.values())}
        self.connection().execute(_statement(tuple(by_shape)), parameters)
        for row in added:
            make_transient_to_detached(row)  # it is in the database; what that filled in is read when asked for
            self.add(row)


def _complete(row: Together) -> tuple[Table, dict[str, Any]]:
    """A row's table and values by column, with the defaults that are ours to fill in."""
    mapper = inspect(type(row), raiseerr=True)
    values = {}
    for attribute in mapper.column_attrs:
        column = attribute.columns[0]
        if attribute.key not in row.__dict__:
            if column.server_default is not None:
                continue
            setattr(row, attribute.key, column.default.arg(None) if column.default is not None else None)
        value = getattr(row, attribute.key)
        values[column.name] = _plain(value)
    return mapper.local_table, values


def _plain(value: Any) -> Any:
    """A column's value as JSON can carry it and PostgreSQL reads it."""
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return str(value) if isinstance(value, UUID | datetime) else value


@lru_cache
def _statement(shapes: tuple[Shape, ...]) -> TextClause:
    """One INSERT a table. As text with one JSON parameter each, it is the same for any number of rows."""
    inserts = [
        f"INSERT INTO {table.fullname} ({', '.join(columns)}) SELECT {', '.join(columns)} "  # noqa: S608 - our own names
        f"FROM jsonb_populate_recordset(CAST(NULL AS {table.fullname}), CAST(:rows_{n} AS jsonb))"
        for n, (table, columns) in enumerate(shapes)
    ]
    *others, last = inserts
    named = ", ".join(f"t{n} AS ({insert})" for n, insert in enumerate(others))
    return text(f"WITH {named} {last}" if named else last)

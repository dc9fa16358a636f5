"""The declarative base of the core's tables, and the column types they share.

Called by: every room's ``models.py`` and the migrations. Must not: hold tables or queries of its own.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import DateTime, MetaData, Row, Select, text
from sqlalchemy.dialects.postgresql import TSTZRANGE, Range
from sqlalchemy.orm import DeclarativeBase, mapped_column
from uuid_utils.compat import uuid7

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): ordered by time of creation."""
    return uuid7()


class Base(DeclarativeBase):
    """Base of all tables of the broker, in the schema ``broker``."""

    metadata = MetaData(schema="broker", naming_convention=NAMING)


Id = Annotated[UUID, mapped_column(primary_key=True, default=new_id)]
"""Primary key: UUIDv7 made by us, so that a row can be referred to before it is written."""

Moment = Annotated[datetime, mapped_column(DateTime(timezone=True))]
"""An instant, stored in UTC."""

CreatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=text("clock_timestamp()"))]

During = Annotated[Range[datetime], mapped_column(TSTZRANGE)]
"""A dated validity [from, to); an open end is still valid."""

AnyRow = Row[*tuple[Any, ...]]
"""A row of several columns, read by their names."""

AnySelect = Select[*tuple[Any, ...]]

"""The tables of the schema ``quotas``, as far as Python reads them.

Called by: ``quotas.service``, ``quotas.availability``, ``quotas.ipv6`` and the tests that compare them with the
database. Must not: be written through: every number is moved by a function of ``quotas/sql``, and the runtime role may
only read. Constraints, checks and indexes therefore stand in the SQL alone.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, DateTime, MetaData, Numeric, SmallInteger, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, CIDR

METADATA = MetaData(schema="quotas")

node = Table(
    "node",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("parent_id", Uuid),
    Column("depth", SmallInteger, nullable=False),
    Column("path", ARRAY(Uuid), nullable=False),
)

node_limit = Table(
    "node_limit",
    METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("node_id", Uuid, nullable=False),
    Column("resource_class", Text, nullable=False),
    Column("pool_id", Uuid),
    Column("limit_amount", BigInteger, nullable=False),
    Column("borrowing_limit", BigInteger),
    Column("lending_limit", BigInteger),
    Column("used", BigInteger, nullable=False),
    Column("booked", BigInteger, nullable=False),
)

inventory = Table(
    "inventory",
    METADATA,
    Column("pool_id", Uuid, primary_key=True),
    Column("resource_class", Text, primary_key=True),
    Column("total", BigInteger),
    Column("reserved", BigInteger, nullable=False),
    Column("allocation_ratio", Numeric(10, 4), nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("capacity", BigInteger),
    Column("used", BigInteger, nullable=False),
)

hold = Table(
    "hold",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("owner", Uuid, nullable=False),
    Column("node_id", Uuid, nullable=False),
    Column("state", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

hold_line = Table(
    "hold_line",
    METADATA,
    Column("hold_id", Uuid, primary_key=True),
    Column("resource_class", Text, primary_key=True),
    Column("pool_id", Uuid, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("posted", BigInteger, nullable=False),
    Column("voided", BigInteger, nullable=False),
    Column("released", BigInteger, nullable=False),
)

movement = Table(
    "movement",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("key", Uuid, primary_key=True),
    Column("resource_class", Text, primary_key=True),
    Column("pool_id", Uuid, primary_key=True),
    Column("hold_id", Uuid, nullable=False),
    Column("amount", BigInteger, nullable=False),
)

routing_domain = Table(
    "routing_domain",
    METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("code", Text, nullable=False),
    Column("zone", Text, nullable=False),
)

prefix_pool = Table(
    "prefix_pool",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("parent_id", Uuid),
    Column("depth", SmallInteger, nullable=False),
    Column("level", Text, nullable=False),
    Column("domain_id", BigInteger, nullable=False),
    Column("prefix", CIDR, nullable=False),
    Column("hands_out", Boolean, nullable=False),
)

prefix_allocation = Table(
    "prefix_allocation",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("pool_id", Uuid, nullable=False),
    Column("domain_id", BigInteger, nullable=False),
    Column("owner", Uuid, nullable=False),
    Column("prefix", CIDR, nullable=False),
    Column("first_64", BigInteger, nullable=False),
    Column("count_64", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("until", DateTime(timezone=True)),
    Column("label", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
)

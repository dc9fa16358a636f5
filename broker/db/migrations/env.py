"""Alembic's entry: runs the revisions on the connection that ``broker.db.migrate`` hands over."""

from __future__ import annotations

from alembic import context

from broker.db.tables import METADATA, is_ours

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=METADATA,
    include_schemas=True,
    include_name=is_ours,
    version_table_schema="public",
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()

"""Alembic's entry point: migrations always run on the connection that `migrate` holds its lock on."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

connection = context.config.attributes["connection"]
connection.execute(text("CREATE SCHEMA IF NOT EXISTS algasync"))
connection.commit()
context.configure(connection=connection, version_table_schema="algasync", transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()

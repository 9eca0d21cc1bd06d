"""Migration 0004_connections."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0004_connections"
down_revision = "0003_ledger"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0004_connections.sql")

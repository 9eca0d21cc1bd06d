"""Migration 0005_mapping."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0005_mapping"
down_revision = "0004_connections"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0005_mapping.sql")

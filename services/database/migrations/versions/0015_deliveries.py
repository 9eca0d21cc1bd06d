"""Migration 0015_deliveries."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0015_deliveries"
down_revision = "0014_merges"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0015_deliveries.sql")

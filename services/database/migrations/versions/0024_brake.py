"""Migration 0024_brake."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0024_brake"
down_revision = "0023_reconciliation"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0024_brake.sql")

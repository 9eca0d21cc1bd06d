"""Migration 0032_wakeups."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0032_wakeups"
down_revision = "0031_batches"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0032_wakeups.sql")

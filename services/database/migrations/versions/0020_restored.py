"""Migration 0020_restored."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0020_restored"
down_revision = "0019_csv"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0020_restored.sql")

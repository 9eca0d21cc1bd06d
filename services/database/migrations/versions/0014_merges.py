"""Migration 0014_merges."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0014_merges"
down_revision = "0013_desk"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0014_merges.sql")

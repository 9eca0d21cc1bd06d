"""Migration 0031_batches."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0031_batches"
down_revision = "0030_changing"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0031_batches.sql")

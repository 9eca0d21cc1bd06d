"""Migration 0012_alike."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0012_alike"
down_revision = "0011_notices"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0012_alike.sql")

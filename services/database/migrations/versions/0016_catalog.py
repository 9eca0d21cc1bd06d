"""Migration 0016_catalog."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0016_catalog"
down_revision = "0015_deliveries"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0016_catalog.sql")

"""Migration 0007_api."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0007_api"
down_revision = "0006_exceptions"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0007_api.sql")

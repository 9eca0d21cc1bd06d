"""Migration 0006_exceptions."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0006_exceptions"
down_revision = "0005_mapping"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0006_exceptions.sql")

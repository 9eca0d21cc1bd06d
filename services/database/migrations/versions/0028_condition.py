"""Migration 0028_condition."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0028_condition"
down_revision = "0027_amendments"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0028_condition.sql")

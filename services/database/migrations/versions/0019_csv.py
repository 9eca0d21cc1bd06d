"""Migration 0019_csv."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0019_csv"
down_revision = "0018_mapped_classes"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0019_csv.sql")

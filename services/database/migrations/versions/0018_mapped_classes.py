"""Migration 0018_mapped_classes."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0018_mapped_classes"
down_revision = "0017_resolutions"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0018_mapped_classes.sql")

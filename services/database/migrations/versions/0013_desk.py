"""Migration 0013_desk."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0013_desk"
down_revision = "0012_alike"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0013_desk.sql")

"""Migration 0030_changing."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0030_changing"
down_revision = "0029_given_up"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0030_changing.sql")

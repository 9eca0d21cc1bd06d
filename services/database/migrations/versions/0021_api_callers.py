"""Migration 0021_api_callers."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0021_api_callers"
down_revision = "0020_restored"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0021_api_callers.sql")

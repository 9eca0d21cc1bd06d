"""Migration 0022_credit_withdrawn."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0022_credit_withdrawn"
down_revision = "0021_api_callers"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0022_credit_withdrawn.sql")

"""Migration 0010_onboarding."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0010_onboarding"
down_revision = "0007_api"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0010_onboarding.sql")

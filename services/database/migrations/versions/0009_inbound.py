"""Migration 0009_inbound."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0009_inbound"
down_revision = "0010_onboarding"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0009_inbound.sql")

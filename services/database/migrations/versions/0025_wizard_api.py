"""Migration 0025_wizard_api."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0025_wizard_api"
down_revision = "0024_brake"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0025_wizard_api.sql")

"""Migration 0026_wizard_payments."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0026_wizard_payments"
down_revision = "0025_wizard_api"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0026_wizard_payments.sql")

"""Migration 0027_amendments."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0027_amendments"
down_revision = "0026_wizard_payments"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0027_amendments.sql")

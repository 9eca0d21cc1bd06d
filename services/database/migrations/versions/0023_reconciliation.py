"""Migration 0023_reconciliation."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0023_reconciliation"
down_revision = "0022_credit_withdrawn"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0023_reconciliation.sql")

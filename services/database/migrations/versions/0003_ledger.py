"""Migration 0003_ledger."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0003_ledger"
down_revision = "0002_outbox"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0003_ledger.sql")

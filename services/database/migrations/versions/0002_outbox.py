"""Migration 0002_outbox."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0002_outbox"
down_revision = "0001_roles"


def upgrade() -> None:
    """Apply the checks, the contract they check, and the SQL file of the same name."""
    apply("0002_checks.sql")
    apply("0002_contract.sql")
    apply("0002_outbox.sql")

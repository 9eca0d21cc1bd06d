"""Migration 0002_outbox."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0002_outbox"
down_revision = "0001_roles"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0002_outbox.sql")

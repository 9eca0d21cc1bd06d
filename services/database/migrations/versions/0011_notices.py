"""Migration 0011_notices."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0011_notices"
down_revision = "0009_inbound"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0011_notices.sql")

"""Migration 0001_roles."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0001_roles"
down_revision = None


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0001_roles.sql")

"""Migration 0029_given_up."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0029_given_up"
down_revision = "0028_condition"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0029_given_up.sql")

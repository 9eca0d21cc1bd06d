"""Migration 0017_resolutions."""

from __future__ import annotations

from services.database.migrate import apply

revision = "0017_resolutions"
down_revision = "0016_catalog"


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("0017_resolutions.sql")

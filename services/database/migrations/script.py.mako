"""${message}"""

from __future__ import annotations

from services.database.migrate import apply

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Apply the SQL file of the same name."""
    apply("${up_revision}.sql")

"""PostgreSQL: engines per role, transactions scoped to a tenant, migrations."""

from __future__ import annotations

from services.database.engine import Database, Role, to_driver_url
from services.database.migrate import current_revision, head_revision, migrate

__all__ = ["Database", "Role", "current_revision", "head_revision", "migrate", "to_driver_url"]

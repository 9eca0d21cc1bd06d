"""The edition: QuickBooks Online is part of the Enterprise edition, and the operator says who has it."""

from __future__ import annotations

from sqlalchemy import Connection

from services.mapping import settings
from services.refusals import forbidden


def require(connection: Connection, tenant: str) -> None:
    """Raise `Refusal` `not_entitled` for a tenant whose edition does not include QuickBooks."""
    if not settings.resolve(connection, tenant).entitled:
        raise forbidden(
            "not_entitled",
            "QuickBooks Online is part of the Enterprise edition, and this tenant's edition does not"
            " include it; nothing that was connected or recorded is lost",
        )

"""Waiting without spending attempts: named conditions, held and released without a lost wake-up.

Holder and provider of a condition meet on one advisory lock (functions `wait_hold` and `wait_release` of the
ledger's migration): the holder checks and records under the shared lock, the provider releases under the
exclusive one after making the condition true, so whoever comes second sees what the first committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection

from services.database.statement import Statement
from services.ledger.ports import Condition

_HOLD = Statement("SELECT wait_hold(:operation, :tenant, CAST(:wanted AS text[]), CAST(:about AS text[]))")
_RELEASE = Statement(
    "SELECT wait_release(:tenant, CAST(:wanted AS text[]), CAST(:about AS text[]), CAST(:company AS uuid))"
)


def link_condition(kind: str, document_id: str) -> Condition:
    """The document must be in QuickBooks first, in whichever company; or nothing may be left to bring it there."""
    return Condition("link", f"{kind}/{document_id}")


def hold(connection: Connection, operation_id: UUID, tenant: str, conditions: Sequence[Condition]) -> int:
    """Record the conditions that do not hold; returns their number, 0 when the operation may go on."""
    held: int
    (held,) = _HOLD.one(
        connection,
        {
            "operation": operation_id,
            "tenant": tenant,
            "wanted": [c.condition for c in conditions],
            "about": [c.key for c in conditions],
        },
    )
    return held


def release(
    connection: Connection, tenant: str, condition: str, key: str, *, company_id: UUID | None = None
) -> int:
    """Wake what waited for a condition that the running transaction has made true; returns how many operations.

    `company_id` is given to operations that waited for a company to exist.
    """
    return release_all(connection, tenant, [Condition(condition, key)], company_id=company_id)


def release_all(
    connection: Connection, tenant: str, conditions: Sequence[Condition], *, company_id: UUID | None = None
) -> int:
    """`release` for several conditions in one statement."""
    woken: int
    (woken,) = _RELEASE.one(
        connection,
        {
            "tenant": tenant,
            "wanted": [c.condition for c in conditions],
            "about": [c.key for c in conditions],
            "company": company_id,
        },
    )
    return woken

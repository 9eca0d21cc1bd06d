"""Counting the reads that Intuit meters, per company, month and operation. Writes are free and not counted.

https://developer.intuit.com/app/developer/qbo/docs/learn/rest-api-features#limits-and-throttles
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import Connection, text

from services.database import Database
from services.database.engine import ALL_TENANTS

_COUNT = text(
    """INSERT INTO metered_read AS m (company_id, tenant_id, month, operation, reads)
        SELECT company_id, tenant_id, date_trunc('month', clock_timestamp()), :operation, :reads
          FROM company WHERE company_id = :company
        ON CONFLICT (company_id, month, operation) DO UPDATE SET reads = m.reads + excluded.reads"""
)
_SPENT = text(
    """SELECT operation, reads FROM metered_read
        WHERE company_id = :company
          AND month = date_trunc('month', coalesce(CAST(:day AS timestamp), clock_timestamp()))
        ORDER BY operation"""
)


@dataclass(frozen=True, slots=True)
class Spent:
    """Metered reads of a company in one month, in total and per operation (query, read, changes...)."""

    total: int
    by_operation: dict[str, int]


def spent(connection: Connection, company_id: UUID, day: date | None = None) -> Spent:
    """What a company has cost in the month of `day`, the running one when None."""
    rows = connection.execute(_SPENT, {"company": company_id, "day": day})
    found = {row.operation: row.reads for row in rows}
    return Spent(sum(found.values()), found)


class Meter:
    """The wire's meter. Only reads come here, so an export, which makes none, gains no commit."""

    def __init__(self, database: Database, scope: str = ALL_TENANTS) -> None:
        self._database = database
        self._scope = scope

    def count(self, company: str, reads: int, operation: str) -> None:
        """Add metered reads of a company."""
        if reads <= 0:
            return
        with self._database.transaction(self._scope) as connection:
            connection.execute(_COUNT, {"company": UUID(company), "reads": reads, "operation": operation})

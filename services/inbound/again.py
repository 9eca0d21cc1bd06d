"""Judging objects again that have not changed themselves: a link was made, a customer linked, room has come.

Whoever makes such a thing true marks the object (triggers of the migration, `owners.room_on`); here marks become
operations.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from services.connections import companies
from services.inbound import filing
from services.inbound.filing import JUDGING
from services.ledger import attempts, operations

BATCH = 500

_MARKED = text(
    """SELECT company_id, entity, external_id, tenant_id, version, repairs FROM quickbooks_object
        WHERE judge_at IS NOT NULL ORDER BY judge_at LIMIT :limit FOR UPDATE SKIP LOCKED"""
)
_TAKEN = text(
    """UPDATE quickbooks_object SET judge_at = NULL, repairs = repairs + 1
        WHERE company_id = :company AND entity = :entity AND external_id = :id"""
)


def open_marked(connection: Connection, *, limit: int = BATCH) -> int:
    """Open an operation for every marked object (scope: all tenants); returns how many.

    One of the same version that has failed or not begun gives way to it.
    """
    rows = connection.execute(_MARKED, {"limit": limit}).all()
    known = {row.company_id: companies.get(connection, row.company_id) for row in rows}
    for row in rows:
        company = known[row.company_id]
        step = filing.step(company, row.entity, row.external_id, row.version, row.repairs + 1)
        because = "something around it has changed"
        kinds = {JUDGING[row.entity].kind}
        attempts.supersede(connection, row.tenant_id, step.document_kind, step.document_id, kinds, because)
        operations.insert_all(connection, row.tenant_id, [step])
        connection.execute(_TAKEN, {"company": row.company_id, "entity": row.entity, "id": row.external_id})
    return len(rows)

"""Notices of statements that are not zero: found in the rows that record them, so none is missed."""

from __future__ import annotations

from sqlalchemy import Connection, text

from messages.money import to_decimal
from services.exceptions import notices
from services.inbound.reconcile.store import TYPE

_NEWEST = text(
    """SELECT r.statement_id, r.tenant_id, r.company_id, r.begins, r.ends, r.unexplained, r.result, c.name,
              c.realm_id, n.key,
              (SELECT e.exception_id FROM exception e
                WHERE e.tenant_id = r.tenant_id AND e.type = :type AND e.company_id = r.company_id
                  AND e.state IN ('open', 'in_progress') LIMIT 1) AS exception_id
         FROM (SELECT DISTINCT ON (company_id) * FROM reconciliation
                WHERE state = 'finished' AND started_at > clock_timestamp() - interval '2 days'
                ORDER BY company_id, started_at DESC) AS r
         JOIN company c USING (company_id)
        CROSS JOIN LATERAL (SELECT concat_ws(':', 'reconciliation', r.statement_id)) AS n (key)
        WHERE r.unexplained > 0
          AND NOT EXISTS (SELECT FROM notice t WHERE t.tenant_id = r.tenant_id AND t.key = n.key)
        LIMIT 100"""
)


def tell(connection: Connection) -> int:
    """Write a notice of each company's newest statement if something in it is unexplained (scope: all tenants)."""
    told = 0
    for row in connection.execute(_NEWEST, {"type": TYPE}).all():
        amount, home = row.result["amounts"]["unexplained"], row.result["home_currency"]
        noun = "difference is" if row.unexplained == 1 else "differences are"
        message = (
            f"Receivables of {row.name or row.realm_id} through {row.ends}: {row.unexplained} {noun} unexplained, "
            f"{to_decimal(amount, home)} {home} together.\n\n"
            f"Open the statement {row.statement_id}, settle each item or accept it with a reason, and make it again."
        )
        written = notices.write(
            connection,
            row.tenant_id,
            "reconciliation",
            row.key,
            "Billing and QuickBooks do not agree",
            message,
            details={"statement_id": str(row.statement_id), "unexplained": row.unexplained},
            company_id=row.company_id,
            exceptions=[row.exception_id] if row.exception_id is not None else [],
        )
        told += written is not None
    return told

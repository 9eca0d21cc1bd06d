"""What has waited for a week for a document, or for a company, is shown to people; it goes on waiting meanwhile.

The operation spends no attempt and goes the moment its wait ends; then the exception closes by itself. What waits
because somebody wants it to (automatic sync off, a pause, books handed over as CSV) is nobody's trouble.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row, text

from services.exceptions import desk
from services.ledger import documents
from services.ledger.ports import Problem
from services.outbound import words

log = structlog.get_logger()

WEEK: Final = timedelta(days=7)
TYPE: Final = "accounting_sync_waiting"
CODE: Final = "waiting_long"

_LONG = text(
    """SELECT o.operation_id, o.tenant_id, o.company_id, o.document_kind, o.document_id, o.reason, x.since, x.wanted
         FROM operation o CROSS JOIN LATERAL (
           SELECT min(w.created_at) AS since,
                  array_agg(w.condition || ':' || w.key ORDER BY w.condition, w.key) AS wanted
             FROM wait w WHERE w.operation_id = o.operation_id
              AND (w.condition = 'link' OR w.condition = 'company' AND w.key LIKE 'realm:%')) AS x
        WHERE o.state = 'waiting' AND x.since < clock_timestamp() - CAST(:age AS interval)
          AND NOT EXISTS (SELECT FROM exception e WHERE e.operation_id = o.operation_id AND e.code = :code
                             AND e.state <> 'resolved')
        ORDER BY o.operation_id LIMIT :limit FOR UPDATE OF o SKIP LOCKED"""
)
_OVER = text(
    """SELECT e.exception_id FROM exception e JOIN operation o USING (operation_id)
        WHERE e.code = :code AND e.state IN ('open', 'in_progress') AND o.state <> 'waiting'
        ORDER BY e.exception_id LIMIT :limit"""
)


def report(connection: Connection, *, limit: int = 500, age: timedelta = WEEK) -> Mapping[str, int]:
    """Open an exception for each operation that has waited that long, close those whose wait is over.

    Scope: all tenants, by the clock. Returns how many of each.
    """
    values = {"age": age, "code": CODE, "limit": limit}
    found = connection.execute(_LONG, values).all()
    for row in found:
        _open(connection, row)
    over = connection.execute(_OVER, values).scalars().all()
    closed = sum(desk.resolve_one(connection, one, "what it waited for is there", desk.ACTOR) for one in over)
    done = {"opened": len(found), "closed": closed}
    if any(done.values()):
        log.info("long_waits_reported", **done)
    return done


def _open(connection: Connection, row: Row[Any]) -> None:
    document = documents.get(connection, row.tenant_id, row.document_kind, row.document_id)
    first = row.wanted[0]
    realm = first.removeprefix("company:realm:") if first.startswith("company:") else None
    awaited = (
        f"QuickBooks company {realm} to be connected" if realm else row.reason.removeprefix("waiting for ")
    )
    fix = (
        f"Connect QuickBooks company {realm}, or correct the document in billing so that it names another."
        if realm
        else "See what keeps that document: export it, or link it in the wizard's history step; this then goes by "
        "itself. If it will never come, take this back in billing, and ignore this item with a reason."
    )
    subject = desk.Subject(
        row.tenant_id,
        row.document_kind,
        row.document_id,
        company_id=row.company_id,
        operation_id=row.operation_id,
    )
    problem = Problem(
        type=TYPE,
        code=CODE,
        cause=f"waiting:{first}",
        title=f"{words.title(document)} has waited for more than a week",
        happened=f"Since {row.since:%Y-%m-%d} it waits for {awaited}.",
        why="It can only be entered in QuickBooks after that. Nothing is lost, and no attempt was spent.",
        fix=fix,
        details={"wanted": row.wanted, "since": row.since.isoformat()},
        **words.facts(document),
    )
    desk.report(connection, subject, problem)

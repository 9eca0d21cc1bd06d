"""The brake: when QuickBooks refuses one kind of a company's work again and again, and nothing of it succeeds.

Going on would cost a call and an exception for every further document, and drown what else is on the list. So that
kind of work is stopped by itself, with one exception; other kinds, other companies and other tenants go on. A person
mends the cause and retries one of the refused items, which passes the brake: its success lets all the others go.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy import Connection, Row, text

from services.exceptions import desk
from services.exceptions.desk import ACTOR, Subject
from services.ledger import pauses
from services.ledger.ports import Problem

log = structlog.get_logger()

TYPE: Final = "accounting_sync_brake"
FAILURES: Final = 20
WITHIN: Final = timedelta(minutes=5)

# Refusals by QuickBooks only: what our own checks find (a missing mapping) costs no call and is grouped by its cause.
_FLOODS = text(
    """SELECT f.tenant_id, f.company_id, f.kind, f.reason_code AS code, count(*) AS failures,
              c.realm_id, coalesce(c.name, c.realm_id) AS company_name
         FROM operation f JOIN company c USING (company_id)
        WHERE f.state = 'failed' AND f.updated_at > statement_timestamp() - CAST(:within AS interval)
          AND f.reason_code LIKE 'quickbooks\\_%'
          AND NOT EXISTS (SELECT FROM pause p
                           WHERE p.scope = 'kind' AND p.company_id = f.company_id AND p.kind = f.kind)
        GROUP BY f.tenant_id, f.company_id, f.kind, f.reason_code, c.realm_id, c.name
       HAVING count(*) >= :failures
          AND NOT EXISTS (SELECT FROM operation s
                           WHERE s.state = 'succeeded' AND s.company_id = f.company_id AND s.kind = f.kind
                             AND s.finished_at > statement_timestamp() - CAST(:within AS interval)
                             AND s.finished_at > min(f.updated_at))"""
)
_MENDED = text(
    """SELECT p.tenant_id, p.company_id, p.kind FROM pause p
        WHERE p.scope = 'kind' AND p.actor = :actor
          AND EXISTS (SELECT FROM operation s
                       WHERE s.state = 'succeeded' AND s.company_id = p.company_id AND s.kind = p.kind
                         AND s.finished_at > p.created_at)"""
)
_LEFT = text(
    """SELECT e.exception_id FROM exception e
        WHERE e.type = :type AND e.state IN ('open', 'in_progress')
          AND NOT EXISTS (SELECT FROM pause p WHERE p.scope = 'kind' AND p.tenant_id = e.tenant_id
                             AND p.company_id || '/' || p.kind = e.entity_id)"""
)


def watch(connection: Connection, *, failures: int = FAILURES, within: timedelta = WITHIN) -> dict[str, int]:
    """Pull the brake where it is needed, let it go where the work succeeds again (scope: all tenants).

    Returns how many were `pulled` and `released`.
    """
    floods = connection.execute(_FLOODS, {"within": within, "failures": failures}).all()
    pulled = sum(_pull(connection, flood, within) for flood in floods)
    mended = connection.execute(_MENDED, {"actor": ACTOR}).all()
    for one in mended:
        pauses.resume(
            connection, "kind", actor=ACTOR, tenant=one.tenant_id, company_id=one.company_id, kind=one.kind
        )
    for exception_id in connection.execute(_LEFT, {"type": TYPE}).scalars().all():
        desk.resolve_one(connection, exception_id, "that kind of work goes on", ACTOR)
    return {"pulled": pulled, "released": len(mended)}


def _pull(connection: Connection, flood: Row[object], within: timedelta) -> bool:
    doing, minutes = flood.kind.replace("_", " "), int(within.total_seconds() // 60)
    said = f"{flood.failures} x {doing} refused alike ({flood.code}) within {minutes} minutes, and none succeeded"
    changed = pauses.pause(
        connection,
        "kind",
        actor=ACTOR,
        reason=said,
        tenant=flood.tenant_id,
        company_id=flood.company_id,
        kind=flood.kind,
    )
    if changed:
        log.warning("brake_pulled", tenant=flood.tenant_id, company=str(flood.company_id), kind=flood.kind)
        where = pauses.key("kind", flood.company_id, flood.kind)
        subject = Subject(flood.tenant_id, "company_work", where, company_id=flood.company_id)
        desk.report(connection, subject, _problem(flood, doing, said, where))
    return changed


def _problem(flood: Row[object], doing: str, said: str, where: str) -> Problem:
    return Problem(
        type=TYPE,
        code="brake",
        cause=f"brake:{where}",
        title=f"Stopped by itself: {doing} for {flood.company_name}",
        happened=f"QuickBooks: {said}.",
        why="What refuses all of them is likely to refuse the next ones, at a call and an exception each.",
        fix="Look at one of the refused items, mend what it names, and retry it: it passes this stop, and its success "
        f"lets the others go. Or: algasync resume --tenant {flood.tenant_id} --company {flood.realm_id} "
        f"--kind {flood.kind}",
        details={"refusal": flood.code, "failures": flood.failures, "kind": flood.kind},
    )

"""What deserves a notice: found in the rows that record it, so nothing is missed while no scheduler runs.

Each cause has a key that belongs to it alone, so looking twice, or by two leaders at once, tells it once. Statements
that are not zero are told of by their own room (`services.inbound.reconcile.telling`).
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, text

from services.exceptions import notices
from services.exceptions.attention import CONNECTION_EXPIRED
from services.mapping import settings

CONNECTION_TITLE: Final = "Accounting connection needs attention"
"""The title the product's users know."""

SETTLE: Final = timedelta(minutes=1)  # what happens together is told together
LISTED: Final = 20  # exceptions a digest names; the rest is counted

_EXPIRED = text(
    """SELECT e.exception_id, e.tenant_id, e.company_id, e.title, e.happened, e.fix, c.name
         FROM exception e LEFT JOIN company c USING (company_id)
        WHERE e.type = :type AND e.state IN ('open', 'in_progress')
          AND NOT EXISTS (SELECT FROM notice_exception x WHERE x.exception_id = e.exception_id)
        ORDER BY e.exception_id LIMIT 500"""
)
# A token that has ended is told of as a connection that needs attention.
_TOKENS = text(
    """SELECT n.tenant_id, n.company_id, n.ends_at, n.days, n.hard, c.name, k.key
         FROM token_notice n JOIN company c USING (company_id)
        CROSS JOIN LATERAL (SELECT concat_ws(':', 'token', n.company_id, extract(epoch FROM n.ends_at), n.days)) k (key)
        WHERE n.ends_at > clock_timestamp() AND c.state = 'active'
          AND NOT EXISTS (SELECT FROM notice t WHERE t.tenant_id = n.tenant_id AND t.key = k.key)
        ORDER BY n.told_at LIMIT 500"""
)
_NEWS = text(
    """SELECT e.tenant_id, min(e.created_at) <= clock_timestamp() - CAST(:settle AS interval) AS settled,
              (SELECT max(n.created_at) FROM notice n WHERE n.tenant_id = e.tenant_id AND n.kind = 'digest') AS told_at,
              clock_timestamp() AS now
         FROM exception e
        WHERE e.state IN ('open', 'in_progress')
          AND NOT EXISTS (SELECT FROM notice_exception x WHERE x.exception_id = e.exception_id)
        GROUP BY e.tenant_id"""
)
_NEW_ONES = text(
    """SELECT e.exception_id, e.type, e.title FROM exception e
        WHERE e.tenant_id = :tenant AND e.state IN ('open', 'in_progress')
          AND NOT EXISTS (SELECT FROM notice_exception x WHERE x.exception_id = e.exception_id)
        ORDER BY e.created_at, e.exception_id"""
)
# Work that nothing holds back and that is not done. What waits for a person or a switch has its own place to be seen.
_OLD = text(
    """SELECT DISTINCT ON (o.tenant_id) o.tenant_id, o.created_at, clock_timestamp() AS now,
              count(*) OVER (PARTITION BY o.tenant_id) AS number, o.document_kind, o.document_id, o.kind, o.reason
         FROM operation o
        WHERE o.state IN ('queued', 'scheduled', 'running') AND o.created_at < clock_timestamp() - interval '1 hour'
          AND o.queue NOT IN ('inbound_poll', 'drift_check', 'token_refresh')
        ORDER BY o.tenant_id, o.created_at"""
)


def gather(connection: Connection) -> dict[str, int]:
    """Write the notices that are due (scope: all tenants); returns how many of each kind."""
    return {
        "connection": sum(map(bool, (_expired(connection, row) for row in _connections(connection)))),
        "token": sum(map(bool, (_ending(connection, row) for row in connection.execute(_TOKENS).all()))),
        "digest": _digests(connection),
    }


def gather_backlogs(connection: Connection) -> int:
    """Tell tenants whose oldest work is older than they allow, once a day while it lasts; returns how many."""
    told = 0
    for row in connection.execute(_OLD).all():
        hours = settings.resolve(connection, row.tenant_id).notice_backlog_hours
        age = (row.now - row.created_at).total_seconds() / 3600
        if age >= hours:
            title = f"Accounting sync is behind: the oldest item has waited for {age:.0f} hours"
            message = (
                f"{row.number} items are older than an hour. The oldest is {row.kind} of {row.document_kind}"
                f" {row.document_id}{f': {row.reason}' if row.reason else ''}.\n\n"
                "Nothing is lost. `algasync operations list` shows them, `algasync doctor` what may be in their way."
            )
            key = f"backlog:{row.now:%Y-%m-%d}"
            told += bool(notices.write(connection, row.tenant_id, "backlog", key, title, message))
    return told


def _connections(connection: Connection) -> list[Row[Any]]:
    return list(connection.execute(_EXPIRED, {"type": CONNECTION_EXPIRED}))


def _expired(connection: Connection, row: Row[Any]) -> object:
    return notices.write(
        connection,
        row.tenant_id,
        "connection",
        f"exception:{row.exception_id}",
        CONNECTION_TITLE,
        f"{row.name or row.title}: {row.happened}\n\n{row.fix}",
        company_id=row.company_id,
        exceptions=[row.exception_id],
    )


def _ending(connection: Connection, row: Row[Any]) -> object:
    ends = f"{row.ends_at:%Y-%m-%d}"
    why = (
        "Intuit ends every connection after a fixed time; using it does not help."
        if row.hard
        else "Intuit lets a connection lapse that was not renewed."
    )
    return notices.write(
        connection,
        row.tenant_id,
        "token",
        row.key,
        f"{CONNECTION_TITLE}: {row.name or 'QuickBooks'} ends on {ends}",
        f"The connection to {row.name or 'QuickBooks'} ends on {ends}. {why}\n\n"
        "Click Reconnect QuickBooks before that day; nothing stops then.",
        details={"days": row.days, "ends_at": row.ends_at},
        company_id=row.company_id,
    )


def _digests(connection: Connection) -> int:
    """One digest a tenant and cycle, when something is new that was told nowhere yet."""
    told = 0
    for row in connection.execute(_NEWS, {"settle": SETTLE}).all():
        cycle = timedelta(minutes=settings.resolve(connection, row.tenant_id).poll_interval)
        if not row.settled or (row.told_at is not None and row.now - row.told_at < cycle):
            continue
        found = connection.execute(_NEW_ONES, {"tenant": row.tenant_id}).all()
        if not found:
            continue
        count = len(found)
        lines = [f"- {one.title}" for one in found[:LISTED]]
        if count > LISTED:
            lines.append(f"- and {count - LISTED} more")
        title = f"{count} new accounting sync exception{'s' if count > 1 else ''}"
        told += bool(
            notices.write(
                connection,
                row.tenant_id,
                "digest",
                f"digest:{found[0].exception_id}",
                title,
                "\n".join(
                    [*lines, "", "The list of exceptions says of each what happened and how to fix it."]
                ),
                details={"count": count, "types": dict(Counter(one.type for one in found))},
                exceptions=[one.exception_id for one in found],
            )
        )
    return told

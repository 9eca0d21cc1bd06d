"""Notices before an authorization ends: 14, 7 and 2 days ahead, each once a token, so that nobody is surprised.

A token ends when it was not used for about 100 days, and for good after Intuit's five years. The first is moved by
every refresh; only a reconnect moves the second.
https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/oauth-2.0
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from services.connections import companies

BATCH = 200

# Lifetimes come as seconds from now, so the same end differs a little after every refresh: an end less than a day away
# is the same one. Who missed a band, because nothing ran, hears of the one that is due only.
_TELL = text(
    """INSERT INTO token_notice AS n (company_id, tenant_id, ends_at, days, hard)
       SELECT t.company_id, t.tenant_id, e.ends_at, b.days, coalesce(t.hard_expires_at = e.ends_at, false)
         FROM company_token t JOIN company c USING (company_id)
        CROSS JOIN LATERAL (SELECT least(t.refresh_expires_at, t.hard_expires_at) AS ends_at) e
        CROSS JOIN LATERAL (SELECT min(d.days) AS days FROM unnest(ARRAY[14, 7, 2]) AS d (days)
                             WHERE e.ends_at <= clock_timestamp() + make_interval(days => d.days)) b
        WHERE c.state = 'active' AND e.ends_at > clock_timestamp() AND b.days IS NOT NULL
          AND NOT EXISTS (SELECT FROM token_notice seen
                           WHERE seen.company_id = t.company_id AND seen.days <= b.days
                             AND seen.ends_at > e.ends_at - interval '1 day'
                             AND seen.ends_at < e.ends_at + interval '1 day')
        ORDER BY e.ends_at LIMIT :limit
       RETURNING n.company_id, n.days, n.hard, n.ends_at, n.told_at"""
)
_TOLD = text(
    """SELECT n.days, n.hard, n.ends_at, n.told_at FROM token_notice n JOIN company_token t USING (company_id)
        WHERE n.company_id = :company
          AND n.ends_at > least(t.refresh_expires_at, t.hard_expires_at) - interval '1 day'
          AND n.ends_at < least(t.refresh_expires_at, t.hard_expires_at) + interval '1 day'
        ORDER BY n.days DESC"""
)


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice about the token in force: told when at most so many days were left."""

    days: int
    hard: bool  # Intuit's fixed end; else the end of a token that is not used
    ends_at: datetime
    told_at: datetime


def tell(connection: Connection, *, limit: int = BATCH) -> int:
    """Write the notices that are due and tell billing (scope: all tenants); returns how many."""
    due = connection.execute(_TELL, {"limit": limit}).all()
    for row in due:
        company = companies.get(connection, row.company_id)
        ends = f"{row.ends_at:%Y-%m-%d}"
        why = (
            f"Intuit ends every connection after a fixed time, and this one's is {ends}; using it does not help."
            if row.hard
            else f"Intuit lets a connection lapse that is not used; this one was not renewed and ends on {ends}."
        )
        facts = {
            "reason": "token_expiring",
            "since": row.told_at,
            "title": f"{companies.EXPIRED_TITLE}: {company.label} is disconnected by Intuit on {ends}",
            "fix": f"{why} Click Reconnect QuickBooks before that day; nothing stops then.",
            "expires_at": row.ends_at,
        }
        companies.tell(connection, company, "connection.attention_needed.v1", facts)
        noted = {"ends_at": row.ends_at.isoformat(), "days": row.days, "hard": row.hard}
        companies.note(connection, company, "algasync", "token_expiring", noted)
    return len(due)


def told(connection: Connection, company_id: UUID) -> list[Notice]:
    """What was told about the token in force, first notice first."""
    return [Notice(*row) for row in connection.execute(_TOLD, {"company": company_id})]

"""After a backup was restored: QuickBooks knows more than we do, and must be asked before anything is written to it.

What was exported since the backup stands in QuickBooks without a link here; sending it again under the same
`requestid` is safe only as long as Intuit remembers the id. What was received since then must be read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, text

from services.ledger import pauses, timeline
from services.refusals import invalid

OVERLAP: Final = timedelta(days=1)
"""How long before the backup reading begins: what was under way when it was made is read twice, and known again."""

_FUTURE = text("SELECT CAST(:moment AS timestamptz) > clock_timestamp()")
_LOOK_FIRST = text(
    """UPDATE company SET look_first_until = clock_timestamp() + CAST(:look AS interval)
        WHERE state <> 'disconnected' RETURNING company_id, tenant_id, coalesce(name, realm_id), look_first_until"""
)
_READ_AGAIN = text(
    """UPDATE change_feed SET cursor = least(cursor, CAST(:since AS timestamptz)), due_at = clock_timestamp(),
              swept_at = least(swept_at, CAST(:since AS timestamptz)), cause = 'request'"""
)
# A call whose answer the backup does not know: whoever takes it next asks QuickBooks first, however young it is.
_ASK_FIRST = text(
    """UPDATE operation SET reason_code = 'read_back', updated_at = clock_timestamp()
        WHERE outcome IN ('intended', 'unknown') AND state IN ('queued', 'running', 'waiting', 'scheduled')"""
)


@dataclass(frozen=True, slots=True)
class Restored:
    """What was set for a company."""

    tenant_id: str
    name: str
    look_first_until: datetime


def begin(
    connection: Connection, restored_to: datetime, *, look: timedelta, actor: str, reason: str
) -> list[Restored]:
    """Pause the fleet, read changes again from before `restored_to`, and look before creating for the time of `look`.

    Scope: all tenants. Doing it again changes nothing but the end of that time. Raises `Refusal` for a moment that is
    still to come.
    """
    if connection.execute(_FUTURE, {"moment": restored_to}).scalar_one():
        raise invalid(
            "restored_to", f"{restored_to.isoformat()} is still to come; give the moment of the backup"
        )
    pauses.pause(connection, "fleet", actor=actor, reason=reason)
    connection.execute(_READ_AGAIN, {"since": restored_to - OVERLAP})
    connection.execute(_ASK_FIRST)
    found = []
    for company_id, tenant, name, until in connection.execute(_LOOK_FIRST, {"look": look}).all():
        told = {"restored_to": restored_to.isoformat(), "look_first_until": until.isoformat()}
        timeline.append(connection, tenant, "company", str(company_id), actor, "backup_restored", told)
        found.append(Restored(tenant, name, until))
    return found

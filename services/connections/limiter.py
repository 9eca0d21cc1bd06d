"""Keeping a company within Intuit's call limits, shared by every process through one row in PostgreSQL.

Limits: https://developer.intuit.com/app/developer/qbo/docs/learn/rest-api-features#limits-and-throttles
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from services.database import Database
from services.database.engine import ALL_TENANTS
from services.database.statement import Statement
from services.ledger.take import LONGEST_SLOT_WAIT
from services.mapping.settings import Settings
from services.quickbooks.errors import Throttled
from services.quickbooks.ports import Kind

CALLS = 500  # a minute and company; Intuit also says 10 a second, which evenly spaced calls cannot reach
BATCHES = 40  # a minute and company

MARGIN = 0.01
"""Part of the limit left unused, because calls arrive at Intuit with other gaps than they leave us with."""

HORIZON = LONGEST_SLOT_WAIT
"""Seconds ahead up to which a slot is taken. Who is told of a later one comes back instead of holding it."""

_SHARE = Settings.model_fields["limiter_share"].default

_RESERVE = Statement(
    """SELECT limiter_reserve_v1(l.company_id, :batch, :call_interval / s.share, :batch_interval / s.share,
                                 :horizon, CAST(:moment AS timestamptz))
         FROM company_limiter l
        CROSS JOIN LATERAL (SELECT coalesce(
                (SELECT (value #>> '{}')::float8 FROM setting
                  WHERE tenant_id = l.tenant_id AND scope = 'company:' || l.company_id
                    AND name = 'limiter_share'),
                :share) AS share) s
        WHERE l.company_id = :company"""
)
_PAUSE = text(
    """UPDATE company_limiter
          SET paused_reason = :reason,
              paused_until = greatest(paused_until, clock_timestamp() + make_interval(secs => :seconds))
        WHERE company_id = :company"""
)


def interval(per_minute: int) -> float:
    """Seconds between two calls so that any minute, wherever it begins, holds fewer than the limit."""
    return 60 / (per_minute * (1 - MARGIN))


def reserve(
    connection: Connection, company_id: UUID, kind: Kind = "call", *, moment: datetime | None = None
) -> float:
    """Take the company's next slot inside the caller's transaction; seconds from now until it comes.

    More than `HORIZON` seconds: no slot was taken, come back then. `moment` replaces the database's clock.
    Raises LookupError for a company that was never connected.
    """
    found = _RESERVE.first(
        connection,
        {
            "company": company_id,
            "batch": kind == "batch",
            "call_interval": interval(CALLS),
            "batch_interval": interval(BATCHES),
            "share": _SHARE,
            "horizon": HORIZON,
            "moment": moment,
        },
    )
    if found is None:
        raise LookupError(f"company {company_id} was never connected")
    seconds: float = found[0]
    return seconds


def pause(connection: Connection, company_id: UUID, seconds: float, reason: str) -> None:
    """Let the company rest, from now, for so many seconds; a longer rest under way stays as it is."""
    connection.execute(_PAUSE, {"company": company_id, "seconds": seconds, "reason": reason})


class Limiter:
    """The wire's limiter, for calls that have no slot yet."""

    def __init__(
        self, database: Database, scope: str = ALL_TENANTS, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._database = database
        self._scope = scope
        self._sleep = sleep

    def acquire(self, company: str, kind: Kind) -> None:
        """Block until the company may make one more call; raise `Throttled` when that is too far away."""
        with self._database.transaction(self._scope) as connection:
            seconds = reserve(connection, UUID(company), kind)
        if seconds > HORIZON:
            raise Throttled(
                f"the company's call limit leaves no room for the next {seconds:.0f} s", retry_after=seconds
            )
        if seconds > 0:
            self._sleep(seconds)

    def pause(self, company: str, seconds: float, reason: str) -> None:
        """Let the company rest, because Intuit answered 429."""
        with self._database.transaction(self._scope) as connection:
            pause(connection, UUID(company), seconds, reason)

"""How often a caller may ask: counted in PostgreSQL, so that it holds however many processes serve the API.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

from services.api.keys import Caller

PER_MINUTE: Final = 1_200
"""Requests a minute of a caller for whom nothing else was set."""

_PACE = text("SELECT remaining, wait FROM api_pace_v1(:caller, :tenant, :per_minute)")


@dataclass(frozen=True, slots=True)
class Pace:
    """Where a caller stands: its limit, what is left of it now, and the seconds to wait when nothing is."""

    per_minute: int
    remaining: int
    wait: float

    @property
    def exceeded(self) -> bool:
        """Whether this request is one too many."""
        return self.wait > 0

    def headers(self) -> dict[str, str]:
        """The pace as answers tell it."""
        told = {
            "RateLimit-Policy": f'"minute";q={self.per_minute};w=60',
            "RateLimit": f'"minute";r={self.remaining};t={math.ceil(60 * (1 - self.remaining / self.per_minute))}',
        }
        if self.exceeded:
            told["Retry-After"] = str(math.ceil(self.wait))
        return told


def step(connection: Connection, caller: Caller) -> Pace:
    """Count one request of a caller, in a transaction of its own: waiting callers must not hold each other up."""
    limit = caller.per_minute or PER_MINUTE
    values = {"caller": caller.key_id, "tenant": caller.tenant, "per_minute": limit}
    return Pace(limit, *connection.execute(_PACE, values).one())

"""When a delivery that failed is tried again, and when a destination is left alone.

The waits are those of AlgaPSA's own webhooks. They count for one delivery; a destination that fails for whatever it is
sent rests as a whole, so that what waits for it does not use up its attempts, and is tried with one delivery at a time.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Final

WAITS: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 720))
JITTER: Final = (
    0.1  # part of a wait by which it is longer at most, so that destinations do not fall into step
)
REST_AFTER: Final = 3  # failures in a row
DISABLE_AFTER: Final = timedelta(hours=24)  # of nothing but failures
DISABLE_FAILURES: Final = (
    5  # and at least so many: a destination that is sent little is not judged by one bad day
)
_RESTS: Final = WAITS[:4]


def wait(attempts: int, asked: float | None = None) -> timedelta:
    """How long until the next attempt after so many; `asked` is what the server asked for, in seconds."""
    chosen = WAITS[min(attempts, len(WAITS)) - 1]
    if asked is not None:
        chosen = min(max(chosen, timedelta(seconds=asked)), WAITS[-1])
    return chosen * random.uniform(1, 1 + JITTER)  # noqa: S311 - spreads load, guards nothing


def rest(failures: int) -> timedelta | None:
    """How long a destination rests after so many failures in a row; None: it goes on with its other deliveries."""
    if failures < REST_AFTER:
        return None
    return _RESTS[min(failures - REST_AFTER, len(_RESTS) - 1)]


def is_over(attempts: int, first_attempt: datetime, last_success: datetime | None) -> bool:
    """Whether a delivery is given up: its attempts are used up, while others arrived at the same destination.

    As long as nothing arrives there, it is the destination that fails, and no delivery is to blame.
    """
    return attempts > len(WAITS) and last_success is not None and last_success > first_attempt


def is_dead(failures: int, failing_since: datetime, now: datetime) -> bool:
    """Whether a destination is to be disabled."""
    return failures >= DISABLE_FAILURES and now - failing_since >= DISABLE_AFTER

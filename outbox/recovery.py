"""After the broker lost what it held: publish again, at once, whatever nobody has taken over."""

from __future__ import annotations

from sqlalchemy import Connection, text

_AGAIN = text(
    """UPDATE outbox_event SET due_at = clock_timestamp()
        WHERE due_at > clock_timestamp() AND published_at IS NOT NULL AND exchange = 'billing'"""
)


def publish_again(connection: Connection) -> int:
    """Make every billing event that was published and not taken over due now; returns how many.

    An event that did arrive is taken over once all the same: intake knows it by its id.
    """
    return connection.execute(_AGAIN).rowcount

"""What the workers count. Each process serves its own figures at `/metrics`."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

HANDLED: Final = Counter(
    "algasync_messages_total",
    "Messages by what became of them: ack, reject, requeue, hold, or malformed before any actor had them",
    ["queue", "decision"],
)
DURATION: Final = Histogram("algasync_message_seconds", "Time an actor spent on a message", ["queue"])
FILED: Final = Counter(
    "algasync_letters_filed_total", "Dead letters filed in the database", ["queue", "reason"]
)
UNFILED: Final = Gauge(
    "algasync_letters_unfiled", "Letters the collector holds because they could not be filed"
)
COLLECTING: Final = Gauge("algasync_collector_collecting", "1 while the collector consumes dead letters")
GATE: Final = Gauge(
    "algasync_database_gate_open", "1 while the database answers this process, 0 while it does not"
)

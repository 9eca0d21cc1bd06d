"""What the relay tells Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

OLDEST: Final = Gauge("outbox_oldest_age_seconds", "Age of the oldest event that no relay has published yet.")
UNCONFIRMED: Final = Gauge("outbox_unconfirmed", "Messages given to the broker and not answered for.")
UNDER_WAY: Final = Gauge("outbox_under_way", "Billing events published whose outcome is not recorded yet.")
BLOCKED: Final = Gauge("outbox_broker_blocked", "1 while the broker takes nothing because of an alarm.")
PUBLISHED: Final = Counter("outbox_published_total", "Events a queue has confirmed.", ["exchange"])
REPUBLISHED: Final = Counter(
    "outbox_republished_total", "Events published again because nobody took them over in time."
)
RETURNED: Final = Counter("outbox_returned_total", "Events that no queue takes (unroutable).", ["exchange"])
NACKED: Final = Counter(
    "outbox_nacked_total", "Events that a queue refused, such as a full one.", ["exchange"]
)
UNKNOWN: Final = Counter(
    "outbox_unknown_total", "Events the broker said nothing about; they are published again."
)
SWEPT: Final = Counter("outbox_swept_total", "Billing events forgotten because their outcome is recorded.")

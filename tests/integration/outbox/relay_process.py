"""A relay as a process of its own, for tests that kill it: DATABASE_URL BROKER_URL BATCH as arguments."""

from __future__ import annotations

import sys
import threading

from outbox.lane import Settings
from outbox.relay import Relay

if __name__ == "__main__":
    database_url, broker_url, batch = sys.argv[1:]
    Relay(database_url, broker_url, Settings(batch=int(batch), tenant_limit=100_000)).run(threading.Event())

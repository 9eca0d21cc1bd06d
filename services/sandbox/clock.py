"""The sandbox's own clock, and time stamps written as QuickBooks writes them (Pacific, with offset)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

PACIFIC = ZoneInfo("America/Los_Angeles")
DAY = 86_400


class Clock:
    """Real time plus an offset that only grows: tests skip days without waiting."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        """Skip ahead; a QuickBooks company never travels back, so a negative value is a `ValueError`."""
        if seconds < 0:
            raise ValueError("the sandbox clock only moves forward")
        self.offset += seconds


def stamp(epoch: float) -> str:
    """`MetaData` form: second granularity, for example `2026-05-05T03:11:46-07:00`."""
    return datetime.fromtimestamp(int(epoch), PACIFIC).isoformat()


def envelope_time(epoch: float) -> str:
    """Form of the `time` of a reply: milliseconds, for example `2026-05-05T03:11:46.120-07:00`."""
    return datetime.fromtimestamp(epoch, PACIFIC).isoformat(timespec="milliseconds")


def utc_stamp(epoch: float) -> str:
    """`2025-09-10T21:31:25.179Z`, as webhooks write it."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def today(epoch: float) -> str:
    """The company's date: Pacific, wherever the caller is."""
    return datetime.fromtimestamp(epoch, PACIFIC).date().isoformat()


def parse_stamp(text: str) -> float:
    """Epoch of an ISO 8601 time or date; one without an offset is read as Pacific. Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=PACIFIC)
    return moment.timestamp()

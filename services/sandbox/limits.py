"""Intuit's limits, counted over sliding windows: per company, per company and app, and for batches.

https://developer.intuit.com/app/developer/qbo/docs/learn/limits-and-throttles
"""

from __future__ import annotations

from collections import defaultdict, deque

from services.sandbox.switches import Switches

SECOND = 1.0
MINUTE = 60.0


class Window:
    """The moments of the last `seconds`."""

    __slots__ = ("_moments", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._moments: deque[float] = deque()

    def full(self, now: float, limit: int) -> bool:
        """Whether `limit` requests lie within the window."""
        moments = self._moments
        horizon = now - self._seconds
        while moments and moments[0] <= horizon:
            moments.popleft()
        return len(moments) >= limit

    def add(self, now: float) -> None:
        """Count one request."""
        self._moments.append(now)


class Limits:
    """The windows of all companies and apps. A refused request does not count."""

    def __init__(self) -> None:
        self._second: defaultdict[tuple[str, str], Window] = defaultdict(lambda: Window(SECOND))
        self._minute: defaultdict[str, Window] = defaultdict(lambda: Window(MINUTE))
        self._batch_app: defaultdict[tuple[str, str], Window] = defaultdict(lambda: Window(MINUTE))
        self._batch_realm: defaultdict[str, Window] = defaultdict(lambda: Window(MINUTE))

    def admits(self, switches: Switches, realm: str, app: str, now: float, *, batch: bool) -> bool:
        """Whether one more request is within every limit; counts it if so."""
        pair = (realm, app)
        windows = [
            (self._second[pair], switches.requests_per_second),
            (self._minute[realm], switches.requests_per_minute),
        ]
        if batch:
            windows.append((self._batch_app[pair], switches.batches_per_minute))
            windows.append((self._batch_realm[realm], switches.batches_per_minute_realm))
        if any(window.full(now, limit) for window, limit in windows):
            return False
        for window, _ in windows:
            window.add(now)
        return True

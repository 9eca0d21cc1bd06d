"""What one relay knows of the backlog: which streams have something to publish, from where on, and what is under way.

All of it is a memory of what PostgreSQL said. Losing it costs one look at the whole index, and nothing else.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from threading import Condition
from typing import Final, Literal

from outbox.store import Claim, Position, Stream, Wanted

_STREAMS: Final = 50  # at most in one batch, so that each gets a fair piece of it

DUE: Final = "due"
Work = list[Wanted] | Literal["due"] | None


class Backlog:
    """Hands out work to the lanes, round-robin over streams; safe to use from several threads.

    `limit` is how many billing events of a tenant this relay may have published and not seen taken over. Each stream
    is with one lane at a time. Accounting events leave together every `gather` seconds: while a fleet works they come
    one by one, and a batch for each costs more than the event.
    """

    def __init__(self, limit: int, gather: float) -> None:
        self.limit = limit
        self._gather = gather
        self._changed = Condition()
        self._due = False
        self._ready: deque[Stream] = deque()
        self._gathering: set[Stream] = set()
        self._gathered_at = 0.0
        self._floors: dict[Stream, Position] = {}  # of all known streams, wherever they are
        self._taken: set[Stream] = set()
        self._noticed: dict[Stream, Position] = {}  # while taken
        self._resting: set[Stream] = set()  # read to the end, or contended: to be checked
        self._full: set[Stream] = set()
        self._under_way: dict[str, str] = {}  # event -> tenant, oldest publication first
        self._counts: Counter[str] = Counter()

    def noticed(self, streams: Mapping[Stream, Position]) -> None:
        """Something new was committed in these streams, at or after these positions."""
        with self._changed:
            for stream, position in streams.items():
                if stream in self._taken:
                    self._noticed[stream] = min(position, self._noticed.get(stream, position))
                    continue
                if stream not in self._floors or stream in self._resting:
                    self._resting.discard(stream)
                    self._something_new(stream)
                self._floors[stream] = min(position, self._floors.get(stream, position))
            self._changed.notify_all()

    def gathered(self) -> None:
        """What has been gathered long enough is ready, all of it together. To be called every few milliseconds."""
        with self._changed:
            if self._gathering and self._gathered_at <= time.monotonic():
                self._ready.extend(self._gathering)
                self._gathering.clear()
                self._changed.notify_all()

    def found_due(self) -> None:
        """Rows are due again; one lane shall see to them."""
        with self._changed:
            self._due = True
            self._changed.notify()

    def take(self, batch: int, seconds: float) -> Work:
        """Up to `batch` events' worth of streams, or `DUE`; None when there is nothing to do for `seconds`."""
        with self._changed:
            if not self._due and not self._ready:
                self._changed.wait(seconds)
            if self._due:
                self._due = False
                return DUE
            wanted: list[Wanted] = []
            share = -(-batch // max(1, min(_STREAMS, len(self._ready))))
            while self._ready and len(wanted) < _STREAMS and len(wanted) * share < batch:
                stream = self._ready.popleft()
                room = min(share, self._room(stream))
                if room <= 0:
                    self._full.add(stream)
                    continue
                self._taken.add(stream)
                wanted.append(Wanted(stream, self._floors[stream], room))
            return wanted or None

    def settled(
        self, wanted: Iterable[Wanted], claim: Claim, taken_by_broker: Mapping[str, str], put_back: bool
    ) -> None:
        """A batch is committed: `taken_by_broker` are its confirmed billing events, with their tenants.

        When some were `put_back`, no floor moves.
        """
        with self._changed:
            self._add(taken_by_broker)
            for stream, floor, room in wanted:
                reached = floor if put_back else claim.passed.get(stream, floor)
                self._floors[stream] = min(reached, self._noticed.get(stream, reached))
                self._taken.discard(stream)
                noticed = self._noticed.pop(stream, None) is not None
                if put_back or claim.counts.get(stream) == room:
                    self._ready.append(stream)
                elif noticed:
                    self._something_new(stream)
                else:
                    self._resting.add(stream)
            self._changed.notify_all()

    def given_back(self, wanted: Iterable[Wanted]) -> None:
        """A batch was rolled back: everything is as before it was taken."""
        self.settled(wanted, Claim(), {}, put_back=True)

    def resting(self) -> dict[Stream, Position]:
        """Return streams of which to check whether anything is left, with their floors."""
        with self._changed:
            return {stream: self._floors[stream] for stream in self._resting}

    def checked(self, asked: Iterable[Stream], left: set[Stream]) -> None:
        """Of the resting streams `asked` about, `left` have something; the others are forgotten until noticed."""
        with self._changed:
            for stream in self._resting.intersection(asked):
                self._resting.discard(stream)
                if stream in left:
                    self._ready.append(stream)
                else:
                    del self._floors[stream]
            self._changed.notify_all()

    # --- published and not yet taken over ---

    def reload(self, under_way: Mapping[str, str], limit: int) -> None:
        """Start to count afresh from what the database says, with this share of the tenants' limit."""
        with self._changed:
            self.limit = limit
            self._under_way.clear()
            self._counts.clear()
            self._add(under_way)
            self._release()

    def published(self, events: Mapping[str, str]) -> None:
        """Billing events were published again."""
        with self._changed:
            self._add(events)

    def oldest_under_way(self, count: int) -> list[str]:
        """Return the next events to ask about; asked again only after all others."""
        with self._changed:
            asked = [event for event, _ in zip(self._under_way, range(count), strict=False)]
            for event in asked:
                self._under_way[event] = self._under_way.pop(event)
            return asked

    def arrived(self, events: Iterable[str]) -> int:
        """Forget events whose outcome is recorded; returns how many were known."""
        forgotten = 0
        with self._changed:
            for event in events:
                tenant = self._under_way.pop(event, None)
                if tenant is not None:
                    self._counts[tenant] -= 1
                    forgotten += 1
                    if not self._counts[tenant]:
                        del self._counts[tenant]
            self._release()
        return forgotten

    @property
    def under_way(self) -> int:
        """Billing events published and not yet seen to be taken over."""
        return len(self._under_way)

    @property
    def busy(self) -> bool:
        """Whether lanes have work, so that looking for more is not urgent."""
        return bool(self._ready)

    def lowest_floor(self) -> Position | None:
        """Where the oldest unpublished event may be; None when there is none."""
        with self._changed:
            return min(self._floors.values(), default=None)

    # --- inside the lock ---

    def _something_new(self, stream: Stream) -> None:
        if stream.exchange == "accounting":
            if not self._gathering:
                self._gathered_at = time.monotonic() + self._gather
            self._gathering.add(stream)
        else:
            self._ready.append(stream)

    def _room(self, stream: Stream) -> int:
        return self.limit - self._counts[stream.tenant] if stream.exchange == "billing" else 1 << 30

    def _add(self, events: Mapping[str, str]) -> None:
        for event, tenant in events.items():
            if event not in self._under_way:
                self._under_way[event] = tenant
                self._counts[tenant] += 1

    def _release(self) -> None:
        free = [stream for stream in self._full if self._room(stream) > 0]
        if free:
            self._full.difference_update(free)
            self._ready.extend(free)
            self._changed.notify_all()

"""What was asked of each company: requests by method, entity and operation, metered reads, creates."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

KEPT_REQUESTS = 20_000


class Request(NamedTuple):
    """One line of the request log; `status` 0 means the connection was cut or hung."""

    at: float
    realm: str
    app: str
    method: str
    entity: str
    operation: str
    path: str
    requestid: str
    status: int
    tid: str
    replayed: bool


@dataclass(slots=True)
class Tally:
    """The counters of one company (or of the OAuth endpoints)."""

    requests: Counter[str] = field(default_factory=Counter)  # "METHOD entity operation"
    statuses: Counter[int] = field(default_factory=Counter)
    creates: Counter[str] = field(default_factory=Counter)
    metered_reads: int = 0  # answered reads: every GET, query, change feed and batch
    replays: int = 0
    unmodelled: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """Plain names and numbers."""
        return {
            "requests": dict(self.requests),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "creates": dict(self.creates),
            "metered_reads": self.metered_reads,
            "replays": self.replays,
            "unmodelled": dict(self.unmodelled),
        }


class Counters:
    """All tallies and the last requests."""

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.log: deque[Request] = deque(maxlen=KEPT_REQUESTS)

    def of(self, realm: str) -> Tally:
        """The tally of a company."""
        tally = self.tallies.get(realm)
        if tally is None:
            tally = self.tallies[realm] = Tally()
        return tally

    def note(self, request: Request, *, metered: bool) -> None:
        """Count one finished request."""
        tally = self.of(request.realm)
        tally.requests[f"{request.method} {request.entity} {request.operation}"] += 1
        tally.statuses[request.status] += 1
        if metered and 200 <= request.status < 300:
            tally.metered_reads += 1
        if request.replayed:
            tally.replays += 1
        self.log.append(request)

    def clear(self) -> None:
        """Start counting again."""
        self.tallies.clear()
        self.log.clear()

"""The change feed: what changed since an instant, and whether the answer holds all of it.

One answer carries at most 1000 objects over all entities, without pages and without saying that it was cut. It
looks back 30 days. Deleted objects appear here and nowhere else, as a stub.
https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/change-data-capture
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.quickbooks import entities
from services.quickbooks.entities import Entity
from services.quickbooks.reply import Reply

CAP = 1000
"""Objects in one answer; as many or more mean that there may be others."""

LOOK_BACK = datetime.timedelta(days=30)
"""How far back the feed reaches."""

OVERLAP = datetime.timedelta(minutes=5)
"""How much of the past to ask for again: the feed lags, and its clock runs behind the objects' own."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What is left of a deleted object. `time` is when it was deleted, None when the stub does not say."""

    entity: str
    id: str
    time: datetime.datetime | None


@dataclass(frozen=True, slots=True)
class Changes:
    """One answer of the feed. `counts` has every object by entity, deleted ones too; `time` is the server's clock.

    When not `complete` some changes are missing: enumerate the window by query, and deletions by asking for
    fewer entities at once, before the cursor moves.
    """

    changed: Mapping[str, tuple[Entity, ...]]
    deleted: tuple[Deleted, ...]
    counts: Mapping[str, int]
    complete: bool
    time: datetime.datetime | None

    @property
    def total(self) -> int:
        """Objects over all entities."""
        return sum(self.counts.values())


def parse(reply: Reply, cap: int = CAP) -> Changes:
    """Read the reply to `calls.changes`."""
    changed: dict[str, list[Entity]] = {}
    deleted: list[Deleted] = []
    counts: Counter[str] = Counter()
    announced = 0
    for response in _responses(reply.data):
        announced += int(response.get("totalCount") or 0)
        for name, rows in response.items():
            if not isinstance(rows, list):
                continue  # startPosition, maxResults, totalCount; all may be absent
            counts[name] += len(rows)
            for row in rows:
                entity = entities.parse(name, row)
                if entity.status == "Deleted":
                    meta = entity.meta_data
                    deleted.append(Deleted(name, entity.id, meta.last_updated_time if meta else None))
                else:
                    changed.setdefault(name, []).append(entity)
    total = sum(counts.values())
    return Changes(
        changed={name: tuple(rows) for name, rows in changed.items()},
        deleted=tuple(deleted),
        counts=dict(counts),
        complete=total < cap and announced <= total,
        time=reply.time,
    )


def _responses(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for part in data["CDCResponse"]:
        yield from part.get("QueryResponse") or ()  # absent when nothing changed at all

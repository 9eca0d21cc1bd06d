"""What an answer of QuickBooks shows: objects as they are now, and stubs of deleted ones, raw.

Nothing is read deeper than needed to file it, so that one object nobody can read never keeps the others away.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.quickbooks import body
from services.quickbooks.reply import Reply

_ID = re.compile(r"[!-~]{1,50}")


@dataclass(frozen=True, slots=True)
class Sighting:
    """One object as an answer showed it. `raw` is None when it is deleted, `token` its SyncToken.

    An object without a usable Id gets one made of its content (`unreadable`).
    """

    entity: str
    id: str
    token: str | None
    changed_at: datetime | None
    raw: Mapping[str, Any] | None
    unreadable: bool = False

    @property
    def deleted(self) -> bool:
        """Whether it is gone for good."""
        return self.raw is None

    @property
    def note(self) -> str:
        """Its private note, in which documents of ours carry their marker."""
        return str((self.raw or {}).get("PrivateNote") or "")

    @property
    def customer_id(self) -> str | None:
        """QuickBooks' id of the customer it belongs to."""
        return reference((self.raw or {}).get("CustomerRef"))


def of_feed(reply: Reply) -> list[Sighting]:
    """Every object in an answer of the change feed."""
    found = []
    for part in reply.data["CDCResponse"]:
        for response in part.get("QueryResponse") or ():
            for entity, rows in response.items():
                if isinstance(rows, list):  # startPosition and the like are numbers
                    found += [shown(entity, row) for row in rows]
    return found


def announced(reply: Reply) -> int:
    """How many objects an answer of the change feed says that there are; 0 when it does not say."""
    return sum(
        int(response.get("totalCount") or 0)
        for part in reply.data["CDCResponse"]
        for response in part.get("QueryResponse") or ()
    )


def of_query(reply: Reply) -> list[Sighting]:
    """Every row in an answer to a query."""
    entity = reply.call.entity
    return [shown(entity, row) for row in reply.data["QueryResponse"].get(entity) or ()]


def gone(entity: str, ids: Iterator[str] | list[str]) -> list[Sighting]:
    """Objects that were looked for and are not there any more."""
    return [Sighting(entity, one, None, None, None) for one in ids]


def reference(value: Any) -> str | None:
    """The id in a reference such as CustomerRef."""
    found = value.get("value") if isinstance(value, Mapping) else None
    return str(found) if found not in (None, "") else None


def instant(value: Any) -> datetime | None:
    """A time stamp with its offset; None for anything else."""
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return time if time.utcoffset() is not None else None


def shown(entity: str, row: Any) -> Sighting:
    """One row of an answer."""
    raw = row if isinstance(row, Mapping) else {"": row}
    id_ = raw.get("Id")
    if isinstance(id_, bool) or not isinstance(id_, (str, int)) or not _ID.fullmatch(str(id_)):
        digest = hashlib.sha256(body.dump(raw).encode()).hexdigest()
        return Sighting(entity, f"unreadable-{digest[:16]}", None, None, raw, unreadable=True)
    meta = raw.get("MetaData")
    changed_at = instant(meta.get("LastUpdatedTime")) if isinstance(meta, Mapping) else None
    if raw.get("status") == "Deleted":
        return Sighting(entity, str(id_), None, changed_at, None)
    return Sighting(entity, str(id_), str(raw.get("SyncToken", ""))[:50], changed_at, raw)

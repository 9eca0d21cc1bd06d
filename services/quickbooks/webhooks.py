"""Intuit's webhooks: is this post from Intuit, and what does it say.

Two formats are in use, the older one and CloudEvents (announced to replace it in 2026); one post may speak of
several companies, and is held back and repeated whole when it is not answered with 200. So an event that
cannot be read is set aside, and the others are taken.
https://developer.intuit.com/app/developer/qbo/docs/develop/webhooks
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, cast

from services.quickbooks import body
from services.quickbooks.entities import ENTITIES

Verb = Literal["created", "updated", "deleted", "voided", "merged", "emailed"]

_VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "create": "created",
        "update": "updated",
        "delete": "deleted",
        "void": "voided",
        "merge": "merged",
        "emailed": "emailed",
    }
)
# CloudEvents names are in lower case; these are Intuit's spellings, ours and those of other objects it announces.
_NAMES = {
    name.lower(): name
    for name in (
        *ENTITIES,
        *("Bill", "BillPayment", "Budget", "Deposit", "Employee", "Estimate", "JournalCode", "JournalEntry"),
        *("Purchase", "PurchaseOrder", "SalesReceipt", "TaxAgency", "TimeActivity", "Transfer", "Vendor"),
        *("VendorCredit",),
    )
}
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_TYPE = re.compile(r"qbo\.(?P<entity>[a-z]+)\.(?P<verb>[a-z]+)\.v\d+")
_FRACTION = re.compile(r"\.(\d+)")


@dataclass(frozen=True, slots=True)
class Event:
    """One change at Intuit. `operation` is the CloudEvents word, in both formats.

    `time` has microseconds; `nanoseconds` since 1970 has all that Intuit sent. `event_id` is Intuit's, or made
    from the event's content where the older format has none: the same event sent again has the same one.
    `deleted_id` is the object that a merge made vanish.
    """

    realm: str
    entity: str
    id: str
    operation: Verb
    time: datetime.datetime
    nanoseconds: int
    event_id: str
    deleted_id: str | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """What one post holds: the events, and a sentence for each that could not be read."""

    events: tuple[Event, ...]
    rejected: tuple[str, ...]


def verified(raw: bytes, signature: str | None, verifier_token: str) -> bool:
    """Tell whether Intuit signed these very bytes: the header `intuit-signature` against the verifier token.

    Raises `ValueError` for an empty token, under which everybody could sign.
    """
    if not verifier_token:
        raise ValueError("verifier_token: it is empty, so every signature could be forged")
    digest = hmac.new(verifier_token.encode(), raw, hashlib.sha256).digest()
    return hmac.compare_digest(base64.b64encode(digest), (signature or "").encode())


def parse(raw: bytes) -> Notification:
    """Read a post of either format; never raises, whatever the bytes."""
    try:
        data = body.load(raw.decode("utf-8"))
    except (RecursionError, ValueError):
        return Notification((), ("the post is no JSON",))
    events: list[Event] = []
    rejected: list[str] = []
    for place, read in _items(data):
        try:
            events.append(read())
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as failure:
            rejected.append(f"{place}: {type(failure).__name__} {failure}")
    if not events and not rejected:
        rejected.append("the post holds no event")
    return Notification(tuple(events), tuple(rejected))


def _items(data: Any) -> Iterator[tuple[str, Callable[[], Event]]]:
    """Yield where each event stands, and how to read it."""
    if isinstance(data, Mapping) and "specversion" in data:
        data = [data]
    if isinstance(data, list):
        for number, item in enumerate(data):
            yield f"event {number}", partial(_cloud_event, item)
        return
    notices = data.get("eventNotifications") if isinstance(data, Mapping) else None
    for number, notice in enumerate(notices if isinstance(notices, list) else ()):
        place = f"notification {number}"
        try:
            realm, changed = _text(notice["realmId"]), list(notice["dataChangeEvent"]["entities"])
        except (KeyError, TypeError, ValueError) as failure:
            yield place, partial(_unreadable, failure)
            continue
        for index, item in enumerate(changed):
            yield f"{place}, entity {index}", partial(_older_event, realm, item)


def _cloud_event(item: Mapping[str, Any]) -> Event:
    kind = _TYPE.fullmatch(item["type"])
    if kind is None or kind["verb"] not in _VERBS.values():
        raise ValueError(f"unknown type {item['type']!r}")
    time, nanoseconds = _instant(item["time"])
    deleted = (item.get("data") or {}).get("deletedid")
    return Event(
        realm=_text(item["intuitaccountid"]),
        entity=_NAMES.get(kind["entity"], kind["entity"]),
        id=_text(item["intuitentityid"]),
        operation=cast(Verb, kind["verb"]),
        time=time,
        nanoseconds=nanoseconds,
        event_id=_text(item["id"]),
        deleted_id=None if deleted is None else _text(deleted),
    )


def _older_event(realm: str, item: Mapping[str, Any]) -> Event:
    time, nanoseconds = _instant(item["lastUpdated"])
    entity, id_, operation = _text(item["name"]), _text(item["id"]), _VERBS[item["operation"].lower()]
    deleted = item.get("deletedId")
    content = "\n".join((realm, entity, id_, operation, str(nanoseconds), str(deleted)))
    return Event(
        realm=realm,
        entity=entity,
        id=id_,
        operation=operation,
        time=time,
        nanoseconds=nanoseconds,
        event_id=hashlib.sha256(content.encode()).hexdigest(),
        deleted_id=None if deleted is None else _text(deleted),
    )


def _unreadable(failure: Exception) -> Event:
    raise failure


def _instant(text: str) -> tuple[datetime.datetime, int]:
    """Return an instant to the microsecond, and as nanoseconds since 1970 with every digit sent."""
    time = datetime.datetime.fromisoformat(text)
    if time.utcoffset() is None:
        raise ValueError("the time has no offset")
    fraction = _FRACTION.search(text)
    seconds = (time.replace(microsecond=0) - _EPOCH) // datetime.timedelta(seconds=1)
    return time, seconds * 10**9 + int((fraction[1] if fraction else "0").ljust(9, "0")[:9])


def _text(value: object) -> str:
    """Return an id as text; QuickBooks' ids are opaque, also when one comes as a number."""
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise ValueError("an id or a name is missing")
    return str(value)

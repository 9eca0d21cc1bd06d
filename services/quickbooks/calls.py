"""The calls one can make, each a pure function from what is wanted to the exact bytes.

Bodies are given as typed entities or as mappings with Intuit's names. What QuickBooks would refuse, or what
would silently lose data there, raises `InvalidCall` here.
https://developer.intuit.com/app/developer/qbo/docs/learn/rest-api-features
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from services.quickbooks import body, writable
from services.quickbooks.call import Call, Operation
from services.quickbooks.entities import ENTITIES, Entity
from services.quickbooks.errors import InvalidCall
from services.quickbooks.query import Select

MINOR_VERSION = "75"
"""Versions below were discontinued on 2025-08-01; it is sent always so that nothing is left to a default."""

BATCH_LIMIT = 25
"""Items in one batch: Intuit's pages say 30 here and 10 there."""

Fields = Entity | Mapping[str, Any]

_ENTITY = re.compile(r"[A-Z][A-Za-z]*")
_REQUESTID = re.compile(r"[!-~]+")
_BID = re.compile(r"[A-Za-z0-9]{1,10}")
# Longer than this a query goes in the body: addresses have limits, bodies do not.
_LONGEST_ADDRESS = 4000
_NO_CHANGE_FEED = frozenset({"JournalCode", "TaxAgency", "TimeActivity", "TaxCode", "TaxRate"})
_BATCHABLE: Mapping[Operation, str] = {"create": "create", "update": "update", "delete": "delete"}


def create(entity: str, fields: Fields, *, requestid: str, allow_duplicate_number: bool = False) -> Call:
    """Make an object. `allow_duplicate_number` takes a DocNumber that is in use already (otherwise 6140)."""
    wire = _wire(fields)
    for name in ("Id", "SyncToken"):
        if name in wire:
            raise InvalidCall(f"create {entity}: {name} is set, QuickBooks would update that object instead")
    include = {"include": "allowduplicatedocnum"} if allow_duplicate_number else {}
    return _write("create", entity, wire, requestid, include)


def update_sparse(
    entity: str,
    changes: Fields,
    *,
    id: str,  # noqa: A002 - the field's name
    sync_token: str,
    requestid: str,
    current: Fields | None = None,
    dropped_lines: Sequence[str] = (),
) -> Call:
    """Change some fields and keep all others.

    Lines replace all lines there are: with them `current`, the object as last read, is needed, and every line
    of it must be among them unless named in `dropped_lines` (by Id, or by link like "Invoice:71"). A Payment
    needs CustomerRef and TotalAmt even if they stay. No field can be emptied this way.
    """
    was = None if current is None else _wire(current)
    fields = writable.sparse(entity, _without_identity(_wire(changes)), was, dropped_lines)
    return _write(
        "update", entity, {**_identity(entity, id, sync_token), "sparse": True, **fields}, requestid
    )


def update_full(entity: str, fields: Fields, *, requestid: str) -> Call:
    """Replace an object by the one given: as read, changed where wanted. What is left out is emptied."""
    wire = _wire(fields)
    identity = _identity(entity, wire.get("Id", ""), wire.get("SyncToken", ""))
    return _write("update", entity, {**writable.full(entity, wire), **identity}, requestid)


def void(
    entity: str,
    *,
    id: str,  # noqa: A002 - the field's name
    sync_token: str,
    requestid: str,
    current: Fields | None = None,
) -> Call:
    """Void an Invoice, or a Payment given whole as `current` (documented without, refused so in practice).

    The reply may still show the old amounts; only a later read or the change feed shows the void.
    """
    identity = _identity(entity, id, sync_token)
    if entity == "Invoice":
        return _write("void", entity, identity, requestid, {"operation": "void"})
    if entity != "Payment":
        raise InvalidCall(f"QuickBooks cannot void a {entity} by its API; delete it, or void it by hand")
    if current is None:
        raise InvalidCall(
            "void Payment: pass the payment as last read as `current`; QuickBooks wants it whole"
        )
    wire = {**writable.full(entity, _wire(current)), **identity, "sparse": True}
    return _write("void", entity, wire, requestid, {"operation": "update", "include": "void"})


def delete(
    entity: str,
    *,
    id: str,  # noqa: A002 - the field's name
    sync_token: str,
    requestid: str,
) -> Call:
    """Delete a transaction for good. A list entry cannot be deleted: update `Active` to false."""
    if entity in ENTITIES and not ENTITIES[entity].deletable:
        raise InvalidCall(f"QuickBooks does not delete a {entity}; make it inactive instead")
    return _write("delete", entity, _identity(entity, id, sync_token), requestid, {"operation": "delete"})


def read(entity: str, id: str = "") -> Call:  # noqa: A002 - the field's name
    """Read one object; CompanyInfo by the realm id, Preferences without an id."""
    if not id and entity != "Preferences":
        raise InvalidCall(f"read {entity}: no id given")
    path = f"{_path(entity)}/{quote(id, safe='')}" if id else _path(entity)
    return Call("GET", entity, "read", path, _params({}), reads=1)


def pdf_link(entity: str, id: str) -> Call:  # noqa: A002 - the field's name
    """Fetch the document as QuickBooks prints it; the reply's `content` is the PDF."""
    if not id:
        raise InvalidCall(f"pdf_link {entity}: no id given")
    return Call("GET", entity, "pdf_link", f"{_path(entity)}/{quote(id, safe='')}/pdf", _params({}), reads=1)


def query(select: Select) -> Call:
    """Ask for one page of rows."""
    return _query("query", select)


def count(select: Select) -> Call:
    """Ask how many rows a query has."""
    return _query("count", select.count())


def changes(entities: Iterable[str], since: datetime.datetime) -> Call:
    """Ask what changed since an instant, at most 30 days ago; `changes.parse` reads the reply."""
    names = list(dict.fromkeys(entities))
    if not names:
        raise InvalidCall("changes: name at least one entity")
    for name in names:
        if name in _NO_CHANGE_FEED or not _ENTITY.fullmatch(name):
            raise InvalidCall(f"changes: the change feed does not know {name!r}")
    if since.utcoffset() is None:
        raise InvalidCall("changes: `since` needs its offset; QuickBooks does not say how it reads others")
    # Changes are dated to the second, so the feed is asked from the start of that second.
    instant = since.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    params = {"entities": ",".join(names), "changedSince": instant}
    return Call("GET", ",".join(names), "changes", "cdc", _params(params), reads=1)


def batch(items: Mapping[str, Call], *, requestid: str, limit: int = BATCH_LIMIT) -> Call:
    """Put creates, updates, deletes and queries into one call, by their `bId`; `batch.outcomes` reads the reply.

    The batch has the one request id (at most 36 characters); those of its items are not sent. Whoever makes it
    again needs the same `bId`s too, at most 10 characters each. Intuit counts a batch among the metered reads, by
    call or by item it does not say: every item is counted.
    """
    if not 1 <= len(items) <= limit:
        raise InvalidCall(f"batch: 1 to {limit} items, not {len(items)}")
    # Spliced as text, so that every number keeps its digits.
    texts = [_batch_item(name, item) for name, item in items.items()]
    params = {"requestid": _checked(requestid, 36)}
    text = f'{{"BatchItemRequest":[{",".join(texts)}]}}'
    return Call("POST", "", "batch", "batch", _params(params), text, requestid, reads=len(items))


def batchable(call: Call) -> bool:
    """Whether a call can be part of a batch; one with an option such as a duplicate number is made alone."""
    return call.operation == "query" or (call.operation in _BATCHABLE and "include" not in dict(call.params))


def _batch_item(name: str, item: Call) -> str:
    if not _BID.fullmatch(name):
        raise InvalidCall(f"batch: bId {name!r} must be 1 to 10 letters or digits")
    if not batchable(item):
        raise InvalidCall(f"batch: item {name}, {item.label}, cannot be part of a batch; call it alone")
    if item.operation == "query":
        select = dict(item.params).get("query", item.body)
        return body.dump({"bId": name, "Query": select})
    return f'{{"bId":"{name}","operation":"{_BATCHABLE[item.operation]}","{item.entity}":{item.body}}}'


def _query(operation: Operation, select: Select) -> Call:
    text = select.text
    if len(quote(text, safe="")) <= _LONGEST_ADDRESS:
        return Call("GET", select.entity, operation, "query", _params({"query": text}), reads=1)
    return Call("POST", select.entity, operation, "query", _params({}), body=text, reads=1)


def _write(
    operation: Operation,
    entity: str,
    wire: Mapping[str, Any],
    requestid: str,
    params: Mapping[str, str] | None = None,
) -> Call:
    path = _path(entity)
    try:
        text = body.dump(wire)
    except (TypeError, ValueError) as failure:
        raise InvalidCall(f"{operation} {entity}: {failure}") from failure
    named = _params({**(params or {}), "requestid": _checked(requestid, 50)})
    return Call("POST", entity, operation, path, named, text, requestid)


def _wire(fields: Fields) -> dict[str, Any]:
    return fields.to_wire() if isinstance(fields, Entity) else dict(fields)


def _identity(entity: str, id_: str, sync_token: str) -> dict[str, str]:
    if not id_ or not sync_token:
        raise InvalidCall(f"{entity}: Id and SyncToken are both needed to change it")
    return {"Id": id_, "SyncToken": sync_token}


def _without_identity(wire: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wire.items() if name not in {"Id", "SyncToken"}}


def _checked(requestid: str, longest: int) -> str:
    if not _REQUESTID.fullmatch(requestid) or len(requestid) > longest:
        raise InvalidCall(f"requestid: {requestid!r} must be 1 to {longest} plain characters without spaces")
    return requestid


def _params(params: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return (*params.items(), ("minorversion", MINOR_VERSION))


def _path(entity: str) -> str:
    if not _ENTITY.fullmatch(entity):
        raise InvalidCall(f"{entity!r} is no entity's name; write it as Intuit does, like CreditMemo")
    return entity.lower()

"""The calls one can make, each a pure function from what is wanted to the exact bytes.

Bodies are given as typed entities or as mappings with Intuit's names. What QuickBooks would refuse, or what
would silently lose data there, raises `InvalidCall` here.
https://developer.intuit.com/app/developer/qbo/docs/learn/rest-api-features
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from services.quickbooks import body
from services.quickbooks.call import Call, Operation
from services.quickbooks.entities import Entity
from services.quickbooks.errors import InvalidCall
from services.quickbooks.query import Select

MINOR_VERSION = "75"
"""Versions below were discontinued on 2025-08-01; it is sent always so that nothing is left to a default."""

Fields = Entity | Mapping[str, Any]

_ENTITY = re.compile(r"[A-Z][A-Za-z]*")
_REQUESTID = re.compile(r"[!-~]{1,50}")
# Longer than this a query goes in the body: addresses have limits, bodies do not.
_LONGEST_ADDRESS = 4000


def create(entity: str, fields: Fields, *, requestid: str, allow_duplicate_number: bool = False) -> Call:
    """Make an object. `allow_duplicate_number` takes a DocNumber that is in use already (otherwise 6140)."""
    wire = to_wire(fields)
    for name in ("Id", "SyncToken"):
        if name in wire:
            raise InvalidCall(f"create {entity}: {name} is set, QuickBooks would update that object instead")
    include = {"include": "allowduplicatedocnum"} if allow_duplicate_number else {}
    return _write("create", entity, wire, requestid, include)


def query(select: Select) -> Call:
    """Ask for one page of rows."""
    return _query("query", select)


def count(select: Select) -> Call:
    """Ask how many rows a query has."""
    return _query("count", select.count())


def to_wire(fields: Fields) -> dict[str, Any]:
    """Return the fields under Intuit's names."""
    return fields.to_wire() if isinstance(fields, Entity) else dict(fields)


def _query(operation: Operation, select: Select) -> Call:
    text = select.text
    if len(quote(text, safe="")) <= _LONGEST_ADDRESS:
        return Call("GET", select.entity, operation, "query", _params({"query": text}), reads=1)
    return Call("POST", select.entity, operation, "query", _params({}), body=text, reads=1)


def _write(
    operation: Operation, entity: str, wire: Mapping[str, Any], requestid: str, params: Mapping[str, str]
) -> Call:
    path = _path(entity)
    try:
        text = body.dump(wire)
    except (TypeError, ValueError) as failure:
        raise InvalidCall(f"{operation} {entity}: {failure}") from failure
    return Call(
        "POST",
        entity,
        operation,
        path,
        _params({**params, "requestid": checked_requestid(requestid, 50)}),
        body=text,
        requestid=requestid,
    )


def checked_requestid(requestid: str, longest: int) -> str:
    """Return the request id, or raise InvalidCall when QuickBooks would (2130)."""
    if not _REQUESTID.fullmatch(requestid) or len(requestid) > longest:
        raise InvalidCall(f"requestid: {requestid!r} must be 1 to {longest} plain characters without spaces")
    return requestid


def _params(params: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return (*params.items(), ("minorversion", MINOR_VERSION))


def _path(entity: str) -> str:
    if not _ENTITY.fullmatch(entity):
        raise InvalidCall(f"{entity!r} is no entity's name; write it as Intuit does, like CreditMemo")
    return entity.lower()

"""Checks of single fields: kinds, lengths and shapes, and the fields that may be written at all.

A checker takes the field's path and its value and returns the value to keep, `IGNORED` for a read-only field
(Intuit overwrites those silently), or raises a `Refusal`. A null is an absent field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from services.sandbox import faults
from services.sandbox.amounts import cents, plain

Obj = dict[str, Any]
Checker = Callable[[str, Any], Any]
Fields = Mapping[str, Checker]

IGNORED: Any = object()
MAX_DIGITS = 15
_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})(?:T.*|Z|[+-]\d{2}:\d{2})?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def checked(spec: Fields, body: Any, path: str = "") -> Obj:
    """Every field of `body` checked; unknown ones are refused with 2010, read-only ones dropped."""
    if not isinstance(body, dict):
        raise faults.malformed(f"{path or 'the body'} must be an object")
    kept: Obj = {}
    for name, value in body.items():
        checker = spec.get(name)
        where = f"{path}.{name}" if path else name
        if checker is None:
            raise faults.unknown_property(where)
        if value is None:
            continue
        result = checker(where, value)
        if result is not IGNORED:
            kept[name] = result
    return kept


def text(limit: int) -> Checker:
    """A string of at most `limit` characters; numbers are taken as text, as Intuit's reader does."""

    def check(path: str, value: Any) -> str:
        if isinstance(value, Decimal):
            value = format(value, "f")
        if not isinstance(value, str):
            raise faults.invalid_string(path, f"{path} must be a string")
        if len(value) > limit:
            raise faults.too_long(path, limit, len(value))
        return value

    return check


def number(value: Any, path: str) -> Decimal:
    """The value as a finite decimal of at most fifteen digits."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite():
        raise faults.invalid_number(path, value)
    shape = value.as_tuple()
    if len(shape.digits) + max(0, int(shape.exponent)) > MAX_DIGITS or value.adjusted() > MAX_DIGITS:
        raise faults.invalid_number(path, value)
    return value


def money(path: str, value: Any) -> Decimal:
    """An amount, kept with two decimals."""
    return cents(number(value, path))


def quantity(path: str, value: Any) -> Decimal:
    """A quantity, price, percentage or rate: at most seven decimals."""
    return plain(number(value, path))


def flag(path: str, value: Any) -> bool:
    """A boolean, or its word."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise faults.malformed(f"{path} must be true or false")


def day(path: str, value: Any) -> Any:
    """A calendar date; a time after it is cut off, as Intuit does. An empty one is an absent field (seen in SDKs)."""
    if value == "":
        return IGNORED
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise faults.invalid_date(path, value)
    try:
        return date.fromisoformat(match[1]).isoformat()
    except ValueError:
        raise faults.invalid_date(path, value) from None


def choice(*words: str) -> Checker:
    """One word of an enumeration; an empty one is an absent field (seen in SDKs)."""

    def check(path: str, value: Any) -> Any:
        if value == "":
            return IGNORED
        if value not in words:
            raise faults.invalid_choice(path, value)
        return str(value)

    return check


def email(limit: int) -> Checker:
    """An e-mail address, or several with commas, with an @ and a dot each."""
    length = text(limit)

    def check(path: str, value: Any) -> str:
        address = str(length(path, value))
        for part in address.split(","):
            local, at, domain = part.strip().partition("@")
            if address and not (local and at and "." in domain):
                raise faults.invalid_email(path)
        return address

    return check


def ref(path: str, value: Any) -> Obj:
    """A reference `{"value": id, "name": ...}`; the name is the company's own, so what was sent is dropped."""
    if not isinstance(value, dict):
        raise faults.malformed(f"{path} must be an object with a value")
    key = value.get("value")
    if isinstance(key, Decimal):
        key = str(key)
    if not isinstance(key, str) or not key:
        raise faults.required(f"{path}.value")
    unknown = value.keys() - {"value", "name", "type"}
    if unknown:
        raise faults.unknown_property(f"{path}.{unknown.pop()}")
    return {"value": key}


def group(spec: Fields) -> Checker:
    """A nested object."""
    return lambda path, value: checked(spec, value, path)


def rows(spec: Fields) -> Checker:
    """A list of nested objects."""

    def check(path: str, value: Any) -> list[Obj]:
        if not isinstance(value, list):
            raise faults.malformed(f"{path} must be a list")
        return [checked(spec, row, path) for row in value]

    return check


def read_only(_path: str, _value: Any) -> Any:
    """A field that QuickBooks computes: silently overwritten."""
    return IGNORED


def not_modelled(why: str) -> Checker:
    """A field that QuickBooks acts upon in a way the sandbox does not know: refused, unless empty."""

    def check(path: str, value: Any) -> Any:
        if value in ([], {}, "", False):
            return IGNORED
        raise faults.NotModelled(f"{path}: {why}")

    return check


def links(*kept: str) -> Checker:
    """Links that QuickBooks keeps by itself are overwritten silently; asking for one of another type is refused."""

    def check(path: str, value: Any) -> Any:
        for row in value if isinstance(value, list) else [value]:
            kind = row.get("TxnType") if isinstance(row, dict) else None
            if kind not in kept:
                raise faults.NotModelled(f"{path} to {kind}")
        return IGNORED

    return check


ADDRESS: Fields = {
    "Id": read_only,
    **{f"Line{row}": text(500) for row in range(1, 6)},
    "City": text(255),
    "Country": text(255),
    "CountryCode": text(255),
    "CountrySubDivisionCode": text(255),
    "County": text(255),
    "PostalCode": text(30),
    "PostalCodeSuffix": text(30),
    "Note": text(255),
    "Lat": text(30),
    "Long": text(30),
    "Tag": text(255),
}
PHONE: Fields = {"FreeFormNumber": text(21)}
MEMO: Fields = {"value": text(1000)}
EMAIL_ADDRESS: Fields = {"Address": email(100)}
COPY_ADDRESS: Fields = {"Address": email(200)}
WEB: Fields = {"URI": text(1000)}
BASE: Fields = {
    "Id": text(50),
    "SyncToken": text(50),
    "sparse": flag,
    "domain": read_only,
    "status": read_only,
    "MetaData": read_only,
}


def clone(value: Any) -> Any:
    """A copy that can be changed without touching the stored version."""
    if isinstance(value, dict):
        return {name: clone(part) for name, part in value.items()}
    if isinstance(value, list):
        return [clone(part) for part in value]
    return value

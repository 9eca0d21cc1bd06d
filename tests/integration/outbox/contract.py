"""The billing contract as rows for PostgreSQL, read off the pydantic models.

Emit in SQL refuses what the models refuse. What it knows of them stands in migration 0002; when a model
changes, the test of this module prints the statements a new migration needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from messages import CATALOG, EventType, shape
from messages.invoices import Document
from messages.money import EXPONENTS

_KINDS: Final[tuple[tuple[Any, str], ...]] = (
    (shape.Minor, "minor"),
    (shape.PositiveMinor, "minor_above_0"),
    (shape.NotNegativeMinor, "minor_from_0"),
    (shape.DecimalText, "decimal"),
    (shape.Rate, "rate"),
    (shape.ExchangeRate, "exchange_rate"),
    (shape.Currency, "currency"),
    (shape.Date, "date"),
    (shape.Instant, "instant"),
    (shape.Text, "text"),
    (shape.OptionalText, "text"),
    (shape.Name, "name"),
    (shape.Identifier, "identifier"),
    (shape.OptionalIdentifier, "identifier"),
    (bool, "boolean"),
)


class Field(NamedTuple):
    """One row of `event_field`."""

    shape: str
    field: str
    kind: str
    presence: str  # required, optional (may be null) or default (may be left out)
    part: str | None = None  # shape of an object or of each row
    allowed: tuple[str, ...] | None = None


class Type(NamedTuple):
    """One row of `event_type`."""

    type: str
    exchange: str
    document_kind: str | None  # None when the data itself says it
    id_field: str | None
    shape: str | None  # None for accounting events, which only our own Python emits
    adds_up: str | None


def types() -> list[Type]:
    """Every event of the catalog."""
    return [_type(entry) for entry in CATALOG.values()]


def fields() -> list[Field]:
    """Every field of every shape that billing sends."""
    return list(dict.fromkeys(field for rows in _shapes().values() for field in rows))


def currencies() -> list[str]:
    """Every currency the models take."""
    return sorted(EXPONENTS)


def statements() -> str:
    """The contract as SQL, fields of one shape that follow the same rule on one line."""
    type_rows = ",\n".join(f"  ({', '.join(map(_literal, row))})" for row in types())
    lines: dict[tuple[str | None, ...], list[str]] = {}
    for row in fields():
        allowed = " ".join(row.allowed) if row.allowed and row.kind == "literal" else None
        lines.setdefault((row.shape, row.kind, row.presence, row.part, allowed), []).append(row.field)
    field_rows = ",\n".join(
        f"  ({', '.join(map(_literal, (*rule, ' '.join(names))))})" for rule, names in lines.items()
    )
    return (
        f"INSERT INTO event_type VALUES\n{type_rows};\n\n"
        "INSERT INTO event_field\n"
        "SELECT r.shape, f.field, r.kind, r.presence, r.part, string_to_array(r.allowed, ' ')\n"
        f"  FROM (VALUES\n{field_rows}\n"
        ") AS r (shape, kind, presence, part, allowed, fields), string_to_table(r.fields, ' ') AS f (field);\n\n"
        "UPDATE event_field SET allowed = string_to_array(\n"
        f"{_wrapped(currencies())}, ' ')\n WHERE kind = 'currency';\n"
    )


def _type(entry: EventType) -> Type:
    model = entry.model
    if entry.room != "billing":
        return Type(entry.routing_key, entry.room, None, None, None, None)
    adds_up = None
    if issubclass(model, Document):
        adds_up = "document"
    elif "allocations" in model.model_fields:
        adds_up = "allocations"
    return Type(
        entry.routing_key, entry.room, entry.kind, model.id_field, _shapes()[model.__name__][0].shape, adds_up
    )


@cache
def _shapes() -> dict[str, list[Field]]:
    """Fields by model; a model with the very fields of an earlier one shares its shape."""
    found: dict[str, list[Field]] = {}
    for entry in CATALOG.values():
        if entry.room == "billing":
            _collect(entry.model, found)
    first: dict[tuple[tuple[Any, ...], ...], list[Field]] = {}
    return {name: first.setdefault(tuple(row[1:] for row in rows), rows) for name, rows in found.items()}


def _collect(model: type[BaseModel], found: dict[str, list[Field]]) -> None:
    if model.__name__ in found:
        return
    rows = found[model.__name__] = []
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        kind, nullable, part, allowed = _kind(hints[name])
        presence = "required" if field.is_required() else "optional" if nullable else "default"
        rows.append(
            Field(
                model.__name__, field.alias or name, kind, presence, part.__name__ if part else None, allowed
            )
        )
        if part is not None:
            _collect(part, found)


def _kind(hint: Any) -> tuple[str, bool, type[BaseModel] | None, tuple[str, ...] | None]:
    """Kind, whether null is taken, the model of a part, the values of a literal."""
    for known, kind in _KINDS:
        if _is(hint, known):
            allowed = tuple(currencies()) if kind == "currency" else None
            nullable = known in (shape.OptionalText, shape.OptionalIdentifier)
            return kind, nullable, None, allowed
    inner = list(_stripped(hint))
    nullable = type(None) in inner
    inner = [part for part in inner if part is not type(None)]
    if len(inner) != 1:
        raise NotImplementedError(f"{hint}: say how SQL checks it")
    (core,) = inner
    if nullable:
        kind, _, part, allowed = _kind(core)
        return kind, True, part, allowed
    if isinstance(core, type) and issubclass(core, BaseModel):
        return "object", False, core, None
    if get_origin(core) is tuple:
        return "rows", False, get_args(core)[0], None
    if get_origin(core) is Literal:
        return "literal", False, None, get_args(core)
    raise NotImplementedError(f"{hint}: say how SQL checks it")


def _is(hint: Any, known: Any) -> bool:
    """Whether a hint is the known type, perhaps with more annotations after it (an alias)."""
    if not hasattr(known, "__metadata__"):
        return bool(hint == known)
    inner, *annotations = get_args(known)
    return get_args(hint)[:1] == (inner,) and list(get_args(hint)[1:])[: len(annotations)] == annotations


def _stripped(hint: Any) -> Iterator[Any]:
    """The members of a union, or the hint itself without its annotations."""
    if get_origin(hint) is not None and type(None) in get_args(hint):
        yield from get_args(hint)
    else:
        yield get_args(hint)[0] if hasattr(hint, "__metadata__") else hint


def _literal(value: str | None) -> str:
    return "NULL" if value is None else f"'{value}'"


def _wrapped(words: list[str]) -> str:
    lines = [" ".join(words[start : start + 28]) for start in range(0, len(words), 28)]
    return "\n".join(f"  '{line} '" for line in lines[:-1]) + f"\n  '{lines[-1]}'"

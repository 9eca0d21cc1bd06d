"""The common shape of everything said on the wire, and the types its fields are made of.

Each type reads what JSON can carry and also takes the Python value itself, so that the same models read an
event and make one. Every refusal says what came, what is wrong with it and how to write it right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, NamedTuple, NoReturn, TypeVar
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from messages.errors import Problem
from messages.money import EXPONENTS, LIMIT

T = TypeVar("T")


class Shape(BaseModel):
    """A part of a message: immutable, exact about types, tolerant of fields it does not know."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    def plain(self) -> dict[str, Any]:
        """Return JSON values in the order of the fields; what was left out stays out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class DocumentKey(NamedTuple):
    """What an event is about. Events of one key are numbered and processed in order."""

    kind: str
    id: str


class EventData(Shape):
    """The data of an event, about one document."""

    kind: ClassVar[
        str
    ]  # of document: invoice, credit_note, credit_application, credit, payment, refund, client
    id_field: ClassVar[str] = "id"

    @property
    def key(self) -> DocumentKey:
        """Kind and id of the document this event is about; the id is the event's subject."""
        return DocumentKey(self.kind, str(getattr(self, self.id_field)))


def refuse(problems: Sequence[Problem]) -> None:
    """Raise what a validator of a whole shape found; fields are named relative to that shape."""
    if problems:
        raise PydanticCustomError(
            "contract",
            "{sentences}",
            {"sentences": "; ".join(map(str, problems)), "problems": tuple(problems)},
        )


def reject(sentence: str) -> NoReturn:
    """Refuse one value, in a sentence that continues its field's name."""
    raise PydanticCustomError("contract", "{sentences}", {"sentences": sentence})


def shown(value: object) -> str:
    """Return a refused value in a form and length fit for a sentence."""
    match value:
        case None | True | False:
            return {None: "null", True: "true", False: "false"}[value]
        case dict():
            return "an object"
        case list() | tuple():
            return "an array"
        case str():
            text = ascii(value[:60])
        case int() if value.bit_length() > 200:  # Python refuses to print integers of thousands of digits
            return "an integer of many digits"
        case int() | float() | Decimal() | date():
            text = str(value)
        case _:
            text = type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."


# --- money and numbers ---


_SEND_MINOR_UNITS: Final = "send an integer of minor units: 12.50 USD is 1250"


def _minor(value: object) -> int:
    if type(value) is not int:
        if isinstance(value, float):
            reject(f"is {shown(value)}, a number with a fraction; {_SEND_MINOR_UNITS}")
        reject(f"is {shown(value)}; {_SEND_MINOR_UNITS}")
    if not -LIMIT <= value <= LIMIT:
        reject("is beyond 2**53 - 1 minor units, where readers of JSON lose cents; check the amount")
    return value


def _positive(value: int) -> int:
    if value <= 0:
        reject(f"is {value}; send an amount above 0")
    return value


def _not_negative(value: int) -> int:
    if value < 0:
        reject(f"is {value}; send 0 or more")
    return value


def _minor_schema(minimum: int, description: str) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "integer", "minimum": minimum, "maximum": LIMIT, "description": description}
    )


Minor = Annotated[
    int, PlainValidator(_minor), _minor_schema(-LIMIT, "Minor units of the document's currency.")
]
"""Money in minor units of the currency that the same message names."""

PositiveMinor = Annotated[
    int,
    PlainValidator(lambda value: _positive(_minor(value))),
    _minor_schema(1, "Minor units of the document's currency, above 0."),
]
NotNegativeMinor = Annotated[
    int,
    PlainValidator(lambda value: _not_negative(_minor(value))),
    _minor_schema(0, "Minor units of the document's currency, 0 or more."),
]

_DECIMAL: Final = r"-?[0-9]{1,15}(\.[0-9]{1,10})?"
_decimal = re.compile(_DECIMAL).fullmatch


def _to_decimal(value: object) -> Decimal:
    if type(value) is Decimal and value.is_finite():
        value = format(value, "f")
    if type(value) is not str:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            reject(f'is the JSON number {shown(value)}; send a decimal string, for example "{shown(value)}"')
        reject(f'is {shown(value)}; send a decimal string such as "12.5"')
    if not _decimal(value):
        reject(
            f'is {shown(value)}; send a decimal string such as "12.5": '
            "at most 15 digits before the point and 10 after it, no exponent, no thousands separators"
        )
    return Decimal(value)


def _to_positive_decimal(value: object) -> Decimal:
    number = _to_decimal(value)
    if number <= 0:
        reject(f"is {shown(value)}; send a number above 0")
    return number


def _to_rate(value: object) -> Decimal:
    number = _to_decimal(value)
    if number < 0:
        reject(f"is {shown(value)}; send 0 or more")
    return number


_as_text = PlainSerializer(lambda value: format(value, "f"), return_type=str, when_used="json-unless-none")

DecimalText = Annotated[
    Decimal,
    PlainValidator(_to_decimal),
    _as_text,
    WithJsonSchema({"type": "string", "pattern": f"^{_DECIMAL}$"}),
]
"""A quantity or price: a decimal string on the wire, because JSON numbers become floats on the way."""

Rate = Annotated[
    Decimal,
    PlainValidator(_to_rate),
    _as_text,
    WithJsonSchema({"type": "string", "pattern": f"^{_DECIMAL.removeprefix('-?')}$"}),
]
"""A percentage, 0 or more, as a decimal string."""

ExchangeRate = Annotated[
    Decimal,
    PlainValidator(_to_positive_decimal),
    _as_text,
    WithJsonSchema({"type": "string", "pattern": f"^{_DECIMAL.removeprefix('-?')}$"}),
]
"""Home units for one foreign unit, above 0, as a decimal string."""


def _currency(value: object) -> str:
    if type(value) is str and value in EXPONENTS:
        return value
    reject(f"is {shown(value)}; send an ISO 4217 currency code in capitals such as USD")


Currency = Annotated[
    str, PlainValidator(_currency), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$"})
]


def _count(value: object) -> int:
    if type(value) is not int or not 0 < value <= LIMIT:
        reject(f"is {shown(value)}; send an integer from 1")
    return value


Count = Annotated[
    int, PlainValidator(_count), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": LIMIT})
]
"""The number of an event within its document, from 1 and without gaps."""

# --- dates and instants ---

_date = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII).fullmatch
_instant = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
).fullmatch
_looks_like_an_instant = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d", re.ASCII).match


def _to_date(value: object) -> date:
    if type(value) is date:
        return value
    if isinstance(value, datetime) or (type(value) is str and _looks_like_an_instant(value)):
        reject(
            f"is {shown(value)}, an instant; send the date alone, such as 2026-03-31, "
            "as the document itself shows it"
        )
    if type(value) is str and _date(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            reject(f"is {shown(value)}, which no calendar has; correct the day or month")
    reject(f"is {shown(value)}; send an ISO date such as 2026-03-31")


def _to_instant(value: object) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    if type(value) is str and _instant(value):
        try:
            return datetime.fromisoformat(value.upper())
        except ValueError:
            reject(f"is {shown(value)}, which no clock shows; correct it")
    reject(
        f"is {shown(value)}; send an instant with its offset from UTC, such as "
        "2026-03-31T19:00:00-07:00 or 2026-04-01T02:00:00Z"
    )


_idle_zeros = re.compile(r"(\.\d+?)0+(?=[Z+-])")


def _instant_text(value: datetime) -> str:
    text = value.isoformat().replace("+00:00", "Z")
    return _idle_zeros.sub(r"\1", text) if value.microsecond else text


Date = Annotated[
    date,
    PlainValidator(_to_date),
    PlainSerializer(date.isoformat, return_type=str, when_used="json-unless-none"),
    WithJsonSchema({"type": "string", "format": "date", "pattern": r"^\d{4}-\d{2}-\d{2}$"}),
]
Instant = Annotated[
    datetime,
    PlainValidator(_to_instant),
    PlainSerializer(_instant_text, return_type=str, when_used="json-unless-none"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]

# --- words ---

TEXT_PATTERN: Final = r"^[^\x00]*$"
NAME_PATTERN: Final = r"^[^\x00]*[^\x00\s][^\x00]*$"
IDENTIFIER_PATTERN: Final = r"^[^\s\x00-\x1f\x7f]+( +[^\s\x00-\x1f\x7f]+)*$"


def _blank_is_absent(value: object) -> object:
    return None if type(value) is str and not value.strip() else value


Text = Annotated[str, StringConstraints(pattern=TEXT_PATTERN)]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Text that must say something."""

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=IDENTIFIER_PATTERN)]
"""An id or a document number: 1 to 200 characters, nothing invisible at either end, one line."""

OptionalText = Annotated[Text | None, BeforeValidator(_blank_is_absent)]
"""Blank means left out, because forms send "" for what nobody filled in."""

OptionalIdentifier = Annotated[Identifier | None, BeforeValidator(_blank_is_absent)]

# --- ids of ours ---


def _to_uuid(value: object) -> UUID:
    if isinstance(value, UUID):
        return value
    if type(value) is str:
        try:
            return UUID(value)
        except ValueError:
            pass
    reject(f"is {shown(value)}; send a UUID such as 0190c3a8-7d3e-7a10-8c5e-2f6b1d9e4a01")


Uuid = Annotated[
    UUID,
    PlainValidator(_to_uuid),
    PlainSerializer(str, return_type=str, when_used="json-unless-none"),
    WithJsonSchema({"type": "string", "format": "uuid"}),
]

# --- rows ---

Rows = Annotated[tuple[T, ...], Field(strict=False)]
"""A JSON array, kept as a tuple so that a message cannot change after it was checked."""

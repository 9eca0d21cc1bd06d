"""The query language: built from parts, so that no client's name can break out of its quotes.

Only what QuickBooks offers can be built: `= < > <= >= IN LIKE` joined by AND, over one entity. There is no
OR, no NOT, no join: whatever else is asked for raises `InvalidCall`.
https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/data-queries
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from services.quickbooks.errors import InvalidCall

Operator = Literal["=", "<", ">", "<=", ">=", "IN", "LIKE"]
Scalar = str | bool | int | Decimal | datetime.date | datetime.datetime

PAGE = 1000
"""The most rows one query answers."""

IN_LIMIT = 100
"""The most values one IN takes: Intuit names no limit, addresses have one."""

_OPERATORS = frozenset({"=", "<", ">", "<=", ">=", "IN", "LIKE"})
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(\.[A-Za-z][A-Za-z0-9]*)*")
# Fields one would look for by, which Intuit refuses with 4001.
_NOT_FILTERABLE = frozenset({"PrivateNote", "DepartmentRef", "AccountRef"})


@dataclass(frozen=True, slots=True)
class Select:
    """A query over one entity. Every method returns a new one; `text` is what is sent.

    Without a `page` it asks for the first thousand rows: left to itself QuickBooks would answer a hundred.
    """

    entity: str
    conditions: tuple[str, ...] = ()
    order: str = ""
    start: int = 1
    size: int = PAGE
    counting: bool = False

    def where(self, field: str, operator: Operator, value: Scalar | Iterable[Scalar]) -> Select:
        """Add a condition. IN takes up to 100 values (`each_in` splits more); LIKE knows only `%`.

        Raises InvalidCall naming the field for what QuickBooks would refuse.
        """
        _check(self.entity, field, operator)
        if operator == "IN":
            values = [literal(item) for item in _several(field, value)]
            if not values or len(values) > IN_LIMIT:
                raise InvalidCall(f"{field} IN takes 1 to {IN_LIMIT} values, not {len(values)}; use each_in")
            return self._and(f"{field} IN ({', '.join(values)})")
        if not isinstance(value, (str, bool, int, Decimal, datetime.date)):
            raise InvalidCall(f"{field} {operator} takes one value; several need IN")
        return self._and(f"{field} {operator} {literal(value)}")

    def each_in(self, field: str, values: Iterable[Scalar]) -> Iterator[Select]:
        """Yield as many queries as it takes to ask for all values, a hundred at a time, each value once."""
        distinct = list(dict.fromkeys(values))
        for first in range(0, len(distinct), IN_LIMIT):
            yield self.where(field, "IN", distinct[first : first + IN_LIMIT])

    def with_inactive(self) -> Select:
        """Include inactive rows of a list, which QuickBooks otherwise leaves out."""
        return self.where("Active", "IN", (True, False))

    def changed(self, since: datetime.datetime, until: datetime.datetime | None = None) -> Select:
        """Narrow to rows last changed at or after `since` and before `until`."""
        window = self.where("MetaData.LastUpdatedTime", ">=", since)
        return window.where("MetaData.LastUpdatedTime", "<", until) if until else window

    def order_by(self, field: str, direction: Literal["ASC", "DESC"] = "ASC") -> Select:
        """Sort. By Id is what paging needs: rows that change while one reads keep their place."""
        if not _NAME.fullmatch(field) or direction not in {"ASC", "DESC"}:
            raise InvalidCall(f"cannot sort by {field!r} {direction!r}")
        return replace(self, order=f"{field} {direction}")

    def page(self, start: int, size: int = PAGE) -> Select:
        """Ask for rows from the 1-based position `start`, at most `size` (1 to 1000) of them."""
        if start < 1 or not 1 <= size <= PAGE:
            raise InvalidCall(f"a page starts at 1 or later and has 1 to {PAGE} rows, not {start} and {size}")
        return replace(self, start=start, size=size)

    def count(self) -> Select:
        """Ask how many rows there are instead of for the rows."""
        return replace(self, counting=True)

    @property
    def text(self) -> str:
        """The query as it is sent."""
        parts = ["SELECT", "COUNT(*)" if self.counting else "*", "FROM", self.entity]
        if self.conditions:
            parts.append("WHERE " + " AND ".join(self.conditions))
        if not self.counting:
            if self.order:
                parts.append(f"ORDERBY {self.order}")
            parts.append(f"STARTPOSITION {self.start} MAXRESULTS {self.size}")
        return " ".join(parts)

    def _and(self, condition: str) -> Select:
        return replace(self, conditions=(*self.conditions, condition))


def select(entity: str) -> Select:
    """Start a query over an entity, for example `select("Invoice").where("DocNumber", "=", "1042")`."""
    if not _NAME.fullmatch(entity) or "." in entity:
        raise InvalidCall(f"{entity!r} is no entity's name")
    return Select(entity)


def literal(value: Scalar) -> str:
    """Write a value as the query language wants it; a quote and a backslash are escaped by a backslash."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        if value.utcoffset() is None:
            raise InvalidCall(
                "a time in a query needs its offset; QuickBooks does not say how it reads others"
            )
        return f"'{value.isoformat(timespec='milliseconds')}'"
    if isinstance(value, datetime.date):
        return f"'{value.isoformat()}'"
    if isinstance(value, Decimal):
        return f"'{value:f}'"
    text = str(value)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidCall("a text in a query holds half a character (a lone surrogate), which cannot be sent")
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _check(entity: str, field: str, operator: str) -> None:
    if not _NAME.fullmatch(field):
        raise InvalidCall(f"{field!r} is no field's name")
    if operator not in _OPERATORS:
        raise InvalidCall(
            f"{field}: QuickBooks has no {operator!r}; it knows {', '.join(sorted(_OPERATORS))}"
        )
    if field == "Id" and operator not in {"=", "IN"}:
        raise InvalidCall(f"Id can be asked for by = and IN only, not {operator}")
    if field in _NOT_FILTERABLE:
        raise InvalidCall(
            f"{field} cannot be queried (QuickBooks answers 4001); filter what it answers instead"
        )
    if field == "Active" and entity == "TaxCode":
        raise InvalidCall("Active cannot be asked of a TaxCode: TAX and NON have none and would be left out")


def _several(field: str, value: Scalar | Iterable[Scalar]) -> Iterable[Scalar]:
    if isinstance(value, (str, bool, int, Decimal, datetime.date)):
        raise InvalidCall(f"{field} IN takes a list of values")
    return value

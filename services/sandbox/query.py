r"""The query language: SELECT ... FROM ... WHERE ... ORDERBY ... STARTPOSITION ... MAXRESULTS.

Only AND joins conditions, only filterable fields may stand in them, strings are quoted with ' and escaped
with \'. https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/data-queries
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from services.sandbox import books, faults
from services.sandbox.clock import parse_stamp
from services.sandbox.entities import ENTITIES, UNMODELLED, Entity, Type
from services.sandbox.fields import Obj, day
from services.sandbox.store import Company

PAGE = 100
MAX_PAGE = 1000
_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<word>[A-Za-z_][\w.]*)"
    r"|(?P<sign><=|>=|[=<>(),*]))"
)
_BOOLEANS = {"true": True, "false": False}
_ESCAPE = re.compile(r"\\(.)")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}


@dataclass(slots=True)
class Condition:
    """`field operator value`; `value` is a list for IN."""

    field: str
    operator: str
    value: Any


@dataclass(slots=True)
class Query:
    """A parsed statement."""

    entity: Entity
    fields: list[str] = field(default_factory=list)  # empty: all
    count: bool = False
    conditions: list[Condition] = field(default_factory=list)
    order: list[tuple[str, bool]] = field(default_factory=list)  # (field, descending)
    start: int = 1
    limit: int = PAGE


def run(company: Company, text: str) -> Obj:
    """The `QueryResponse` of a statement; refusals 4000 (grammar) and 4001 (fields)."""
    query = Parser(text).parse()
    rows = _matching(company, query)
    if query.count:
        return {"totalCount": len(rows)}
    _sort(company, query, rows)
    page = rows[query.start - 1 : query.start - 1 + query.limit]
    if not page:
        return {}
    name = query.entity.name
    shown = [_projected(query, books.shown(company, name, row)) for row in page]
    return {name: shown, "startPosition": query.start, "maxResults": len(shown)}


class Parser:
    """Recursive descent over the tokens of one statement."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        position = 0
        text = text.strip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise _grammar(f'Encountered "{text[position : position + 20]}" at column {position + 1}')
            kind = str(match.lastgroup)
            self._tokens.append((kind, match[kind]))
            position = match.end()
        self._at = 0

    def parse(self) -> Query:
        """The whole statement."""
        self._word("SELECT")
        fields, count = self._selection()
        self._word("FROM")
        query = Query(_entity(self._take("word")), fields=fields, count=count)
        for name in fields:
            _field_type(query.entity, name, selecting=True)
        if self._keyword("WHERE"):
            query.conditions.append(self._condition(query.entity))
            while self._keyword("AND"):
                query.conditions.append(self._condition(query.entity))
        if self._keyword("ORDERBY") or self._keyword("ORDER", "BY"):
            query.order.append(self._order(query.entity))
            while self._sign(","):
                query.order.append(self._order(query.entity))
        if self._keyword("STARTPOSITION"):
            query.start = self._whole()
            if query.start < 1:
                raise faults.query_refused("4001", "QueryValidationError: startposition must be 1 or greater")
        if self._keyword("MAXRESULTS"):
            query.limit = self._whole()
            if not 1 <= query.limit <= MAX_PAGE:
                raise faults.query_refused(
                    "4001",
                    f"QueryValidationError: value {query.limit} for maxresults is not in 1..{MAX_PAGE}",
                )
        if self._at < len(self._tokens):
            raise _grammar(f'Encountered "{self._tokens[self._at][1]}"')
        return query

    def _selection(self) -> tuple[list[str], bool]:
        if self._keyword("COUNT"):
            for sign in "(*)":
                if not self._sign(sign):
                    raise _grammar("COUNT takes (*)")
            return [], True
        everything = self._sign("*")
        fields = [] if everything else [self._take("word")]
        while self._sign(","):
            fields.append(self._take("word"))
        return ([] if everything else fields), False

    def _condition(self, entity: Entity) -> Condition:
        name = self._take("word")
        kind = _field_type(entity, name)
        if self._keyword("IN"):
            if not self._sign("("):
                raise _grammar("IN takes a list in parentheses")
            values = [self._value(name, kind)]
            while self._sign(","):
                values.append(self._value(name, kind))
            if not self._sign(")"):
                raise _grammar("IN takes a list in parentheses")
            return Condition(name, "IN", values)
        if self._keyword("LIKE"):
            if kind != "string":
                raise faults.query_refused("4001", f"QueryValidationError: LIKE is not supported for {name}")
            return Condition(name, "LIKE", self._value(name, kind))
        operator = self._take("sign")
        if operator not in _COMPARE:
            raise _grammar(f'Encountered "{operator}"')
        if kind in ("id", "bool", "ref") and operator != "=":
            raise faults.query_refused(
                "4001", f"QueryValidationError: {operator} is not supported for {name}"
            )
        return Condition(name, operator, self._value(name, kind))

    def _value(self, name: str, kind: Type) -> Any:
        token, text = self._next()
        if token == "string":  # noqa: S105 - a kind of token, not a password
            text = _ESCAPE.sub(r"\1", text[1:-1])
        elif token == "word" and text.lower() not in ("true", "false"):  # noqa: S105 - as above
            raise _grammar(f'Encountered "{text}" where a value was expected')
        try:
            if kind == "number":
                return Decimal(text)
            if kind == "time":
                return parse_stamp(text)
            if kind == "date":
                if not text:
                    raise ValueError("no day")
                return day(name, text)
            if kind == "bool":
                return _BOOLEANS[text.lower()]
        except (ArithmeticError, ValueError, KeyError, faults.Refusal):
            raise faults.query_refused(
                "4001", f"QueryValidationError: invalid value '{text}' for property {name}"
            ) from None
        return text

    def _whole(self) -> int:
        text = self._take("number")
        if "." in text:
            raise _grammar(f'Encountered "{text}" where a whole number was expected')
        return int(text)

    def _order(self, entity: Entity) -> tuple[str, bool]:
        name = self._take("word")
        _field_type(entity, name)
        descending = self._keyword("DESC")
        if not descending:
            self._keyword("ASC")
        return name, descending

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise _grammar("Encountered the end of the statement")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, kind: str) -> str:
        found, text = self._next()
        if found != kind:
            raise _grammar(f'Encountered "{text}"')
        return text

    def _word(self, word: str) -> None:
        if not self._keyword(word):
            raise _grammar(f"{word} expected")

    def _keyword(self, *words: str) -> bool:
        """Take the words if they come next."""
        ahead = self._tokens[self._at : self._at + len(words)]
        if [text.upper() for kind, text in ahead if kind == "word"] != list(words):
            return False
        self._at += len(words)
        return True

    def _sign(self, sign: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == ("sign", sign):
            self._at += 1
            return True
        return False


def _grammar(detail: str) -> faults.Refusal:
    return faults.query_refused("4000", f"QueryParserError: {detail}")


def _entity(name: str) -> Entity:
    for entity in ENTITIES.values():
        if entity.name.lower() == name.lower():
            return entity
    if name.lower() in {known.lower() for known in UNMODELLED}:
        raise faults.NotModelled(f"queries on {name}")
    raise faults.query_refused("4000", f"QueryParserError: Invalid context declaration: {name}")


def _field_type(entity: Entity, name: str, *, selecting: bool = False) -> Type:
    kind = entity.filters.get(name)
    if kind is not None:
        return kind
    known = name in entity.fields or name == "MetaData"
    if selecting and known:
        return "string"
    if known:
        raise faults.query_refused("4001", f"QueryValidationError: Property {name} is not queryable")
    raise faults.query_refused(
        "4001", f"QueryValidationError: Property {name} not found for Entity {entity.name}"
    )


def _matching(company: Company, query: Query) -> list[Obj]:
    name = query.entity.name
    rows = list(_candidates(company, query))
    if lag := company.switches.query_lag_seconds:
        horizon = company.clock.now() - lag
        rows = [row for row in rows if company.stamps[name, row["Id"]].at <= horizon]
    if "Active" in query.entity.filters and not any(x.field == "Active" for x in query.conditions):
        rows = [row for row in rows if row.get("Active", True)]
    for condition in query.conditions:
        accepts = _predicate(company, query.entity, condition)
        rows = [row for row in rows if accepts(row)]
    return rows


def _candidates(company: Company, query: Query) -> list[Obj]:
    """Everything, or what an index knows to hold the matches."""
    name = query.entity.name
    objects = company.objects[name]
    for condition in query.conditions:
        keys: list[str] | None = None
        if condition.field == "Id":
            keys = condition.value if condition.operator == "IN" else [condition.value]
        elif (
            condition.field == "DocNumber"
            and condition.operator == "="
            and not company.switches.query_ignores_case
        ):
            keys = [key for kind, key in company.numbers.get(condition.value, ()) if kind == name]
        elif condition.field == "CustomerRef":
            owners = condition.value if condition.operator == "IN" else [condition.value]
            keys = [k for owner in owners for kind, k in company.by_customer.get(owner, ()) if kind == name]
        if keys is not None:
            return [objects[key] for key in dict.fromkeys(keys) if key in objects]
    return list(objects.values())


def _predicate(company: Company, entity: Entity, condition: Condition) -> Callable[[Obj], bool]:
    get = _getter(company, entity, condition.field)
    kind = entity.filters[condition.field]
    fold = kind == "string" and company.switches.query_ignores_case
    value = condition.value
    if condition.operator == "LIKE":
        pattern = ".*".join(re.escape(part) for part in value.split("%"))
        expression = re.compile(pattern, re.IGNORECASE | re.DOTALL if fold else re.DOTALL)
        return lambda row: (text := get(row)) is not None and expression.fullmatch(text) is not None
    if condition.operator == "IN":
        wanted = {text.casefold() for text in value} if fold else set(value)
        return lambda row: (found := get(row)) is not None and (found.casefold() if fold else found) in wanted
    compare = _COMPARE[condition.operator]
    wanted_value = value.casefold() if fold else value

    def accepts(row: Obj) -> bool:
        found = get(row)
        return found is not None and compare(found.casefold() if fold else found, wanted_value)

    return accepts


def _getter(company: Company, entity: Entity, name: str) -> Callable[[Obj], Any]:
    if name == "MetaData.LastUpdatedTime":
        return lambda row: parse_stamp(row["MetaData"]["LastUpdatedTime"])
    if name == "MetaData.CreateTime":
        return lambda row: parse_stamp(row["MetaData"]["CreateTime"])
    if entity.filters[name] == "ref":
        return lambda row: row.get(name, {}).get("value")
    if entity.name == "Customer" and name == "Balance":
        return lambda row: company.balances[row["Id"]]
    return lambda row: row.get(name)


def _sort(company: Company, query: Query, rows: list[Obj]) -> None:
    newest = query.entity.kind == "transaction" and company.switches.query_default_order == "newest"
    rows.sort(key=_id_order, reverse=newest)
    for name, descending in reversed(query.order):
        if name == "Id":
            rows.sort(key=_id_order, reverse=descending)
            continue
        rows.sort(key=_order_of(_getter(company, query.entity, name)), reverse=descending)


def _order_of(get: Callable[[Obj], Any]) -> Callable[[Obj], tuple[bool, Any]]:
    return lambda row: _order_key(get(row))


def _order_key(value: Any) -> tuple[bool, Any]:
    return (value is not None, value.casefold() if isinstance(value, str) else value)


def _id_order(row: Obj) -> tuple[bool, int | str]:
    key = row["Id"]
    return (False, int(key)) if key.isdigit() else (True, key)


def _projected(query: Query, row: Obj) -> Obj:
    if not query.fields:
        return row
    tops = {name.partition(".")[0] for name in query.fields}
    return {name: value for name, value in row.items() if name in tops | {"Id", "domain", "sparse"}}

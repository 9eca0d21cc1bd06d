"""The query builder, judged by a parser of the query language written apart from it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.quickbooks.errors import InvalidCall
from services.quickbooks.query import IN_LIMIT, select

_OPERATORS = ("<=", ">=", "=", "<", ">", "IN ", "LIKE ")


@dataclass
class Parsed:
    """What a reader of the language finds in a query."""

    what: str
    entity: str
    conditions: list[tuple[str, str, list[str]]]
    rest: str


def parse(text: str) -> Parsed:
    """Read a query character by character, as the server does: quotes end where no backslash stands before."""
    words, position = text, 0

    def skip() -> None:
        nonlocal position
        while position < len(words) and words[position] == " ":
            position += 1

    def word() -> str:
        nonlocal position
        skip()
        end = position
        while end < len(words) and words[end] not in " =<>,)":
            end += 1
        found, position = words[position:end], end
        return found

    def value() -> str:
        nonlocal position
        skip()
        if words[position] != "'":
            return word()
        position += 1
        found = ""
        while words[position] != "'":
            if words[position] == "\\":
                position += 1
            found += words[position]
            position += 1
        position += 1
        return found

    def values() -> list[str]:
        nonlocal position
        skip()
        if words[position] != "(":
            return [value()]
        position += 1
        found = [value()]
        skip()
        while words[position] == ",":
            position += 1
            found.append(value())
            skip()
        assert words[position] == ")"
        position += 1
        return found

    assert word() == "SELECT"
    what = words[position + 1 : words.index(" FROM ")]
    position = words.index(" FROM ") + 6
    entity = word()
    conditions = []
    skip()
    if words.startswith("WHERE ", position):
        position += 6
        while True:
            field = word()
            skip()
            operator = next(o for o in _OPERATORS if words.startswith(o, position))
            position += len(operator)
            conditions.append((field, operator.strip(), values()))
            skip()
            if not words.startswith("AND ", position):
                break
            position += 4
    return Parsed(what, entity, conditions, words[position:].strip())


@given(name=st.text(), number=st.text())
def test_any_text_survives_its_quotes(name: str, number: str) -> None:
    """Whatever a client is called, the server reads that name and no other condition."""
    query = select("Customer").where("DisplayName", "=", name).where("Notes", "LIKE", number)
    parsed = parse(query.text)
    assert parsed.conditions == [("DisplayName", "=", [name]), ("Notes", "LIKE", [number])]
    assert parsed.rest == "STARTPOSITION 1 MAXRESULTS 1000"


def test_an_apostrophe_is_escaped_by_a_backslash() -> None:
    r"""Intuit documents \' for a quote in a text; doubling it finds nothing (D19)."""
    query = select("Customer").where("DisplayName", "=", "O'Brien & Söhne")
    assert query.text == (
        r"SELECT * FROM Customer WHERE DisplayName = 'O\'Brien & Söhne' STARTPOSITION 1 MAXRESULTS 1000"
    )


@given(st.lists(st.text(min_size=1), min_size=1, max_size=350))
def test_each_value_is_asked_for_once_a_hundred_at_a_time(values: list[str]) -> None:
    """However many ids are wanted, every one is in exactly one query and no query has over a hundred."""
    asked: list[str] = []
    for query in select("Invoice").each_in("Id", values):
        ((field, operator, some),) = parse(query.text).conditions
        assert (field, operator) == ("Id", "IN")
        assert len(some) <= IN_LIMIT
        asked += some
    assert asked == list(dict.fromkeys(values))


def test_values_are_written_as_quickbooks_wants_them() -> None:
    """Booleans stand bare, dates and exact numbers in quotes, times with their offset."""
    since = datetime.datetime(
        2026, 5, 5, 3, 11, 46, 809_000, tzinfo=datetime.timezone(-datetime.timedelta(hours=7))
    )
    query = (
        select("Invoice")
        .with_inactive()
        .where("TxnDate", ">=", datetime.date(2026, 5, 5))
        .where("TotalAmt", ">", Decimal("1E+2"))
        .changed(since, since + datetime.timedelta(hours=1))
    )
    assert query.text == (
        "SELECT * FROM Invoice WHERE Active IN (true, false) AND TxnDate >= '2026-05-05' AND TotalAmt > '100'"
        " AND MetaData.LastUpdatedTime >= '2026-05-05T03:11:46.809-07:00'"
        " AND MetaData.LastUpdatedTime < '2026-05-05T04:11:46.809-07:00' STARTPOSITION 1 MAXRESULTS 1000"
    )


def test_a_query_asks_for_a_thousand_rows_unless_told_otherwise() -> None:
    """Left alone QuickBooks answers a hundred rows, and pickers miss the rest (D31)."""
    assert select("Item").text == "SELECT * FROM Item STARTPOSITION 1 MAXRESULTS 1000"
    paged = select("Item").order_by("Id").page(1001, 500)
    assert paged.text == "SELECT * FROM Item ORDERBY Id ASC STARTPOSITION 1001 MAXRESULTS 500"


def test_a_count_has_no_page_and_no_order() -> None:
    """COUNT answers one number; positions and order belong to rows."""
    query = select("Invoice").where("Balance", ">", Decimal(0)).order_by("Id").count()
    assert query.text == "SELECT COUNT(*) FROM Invoice WHERE Balance > '0'"


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (lambda: select("Invoice").where("Id", ">", "5"), "Id"),
        (lambda: select("Invoice").where("Id", "LIKE", "5%"), "Id"),
        (lambda: select("Invoice").where("DocNumber", "!=", "5"), "DocNumber"),
        (lambda: select("Invoice").where("DocNumber", "OR", "5"), "DocNumber"),
        (lambda: select("Invoice").where("PrivateNote", "=", "x"), "PrivateNote"),
        (lambda: select("Invoice").where("x = 'a' AND y", "=", "x"), "field"),
        (lambda: select("Invoice WHERE 1"), "entity"),
        (lambda: select("TaxCode").with_inactive(), "TAX and NON"),
        (lambda: select("Invoice").where("Id", "IN", []), "Id"),
        (lambda: select("Invoice").where("Id", "IN", "123"), "list"),
        (lambda: select("Invoice").where("Id", "IN", [str(i) for i in range(101)]), "each_in"),
        (lambda: select("Invoice").where("Id", "=", ["1"]), "IN"),
        (lambda: select("Invoice").where("DocNumber", "=", "x\ud800"), "surrogate"),
        (lambda: select("Invoice").page(0), "page"),
        (lambda: select("Invoice").page(1, 1001), "page"),
        (lambda: select("Invoice").order_by("Id; DROP"), "sort"),
        (
            lambda: select("Invoice").where(
                "MetaData.CreateTime", ">", datetime.datetime.fromisoformat("2026-01-01")
            ),
            "offset",
        ),
    ],
)
def test_what_quickbooks_refuses_cannot_be_built(build, names: str) -> None:
    """A query that QuickBooks answers with 4000 or 4001 is refused before it is sent, with the place named."""
    with pytest.raises(InvalidCall, match=names):
        build()

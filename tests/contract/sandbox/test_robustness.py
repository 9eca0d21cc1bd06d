"""Whatever is sent, the sandbox answers as an API: a reply or a fault, never a crash, never half a change.

Source: https://developer.intuit.com/app/developer/qbo/docs/develop/troubleshooting/error-codes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.sandbox.books import Books, invoice_body, link, payment_body, sales_line

JOURNAL = "JournalEntryLineDetail"
RECEIVABLE = {
    "PostingType": "Debit",
    "AccountRef": {"value": "7"},
    "Entity": {"Type": "Customer", "EntityRef": {"value": "1"}},
}
INCOME = {"PostingType": "Credit", "AccountRef": {"value": "1"}}
TAX = {
    "TxnTaxCodeRef": {"value": "2"},
    "TotalTax": 8,
    "TaxLine": [
        {"Amount": 8, "DetailType": "TaxLineDetail", "TaxLineDetail": {"TaxRateRef": {"value": "3"}}}
    ],
}
SALE = invoice_body(
    Line=[
        sales_line("100.00", "TAX", Qty=1, UnitPrice=100, ClassRef={"value": "1"}),
        {"DetailType": "DescriptionOnly", "Description": "words"},
        {
            "DetailType": "DiscountLineDetail",
            "DiscountLineDetail": {"PercentBased": True, "DiscountPercent": 5},
        },
    ],
    TxnTaxDetail=TAX,
    SalesTermRef={"value": "4"},
    BillEmail={"Address": "a@b.example"},
    DocNumber="AUTO_GENERATE",
)
SUB_CUSTOMER = {
    "DisplayName": "Someone",
    "Job": True,
    "ParentRef": {"value": "1"},
    "DefaultTaxCodeRef": {"value": "2"},
    "BillAddr": {"Line1": "Street", "City": "Town"},
    "PrimaryEmailAddr": {"Address": "a@b.example"},
}
BODIES: dict[str, dict[str, Any]] = {
    "invoice": SALE,
    "creditmemo": {name: value for name, value in SALE.items() if name != "SalesTermRef"},
    "refundreceipt": {**invoice_body(), "DepositToAccountRef": {"value": "5"}},
    "payment": payment_body("10.00", Line=[link("Invoice", "1", "5.00"), link("CreditMemo", "2", "1.00")]),
    "journalentry": {
        "Line": [{"Amount": 5, "DetailType": JOURNAL, JOURNAL: row} for row in (RECEIVABLE, INCOME)]
    },
    "customer": SUB_CUSTOMER,
    "item": {"Name": "Thing", "Type": "Service", "IncomeAccountRef": {"value": "1"}, "UnitPrice": 5},
    "account": {"Name": "Drawer", "AccountType": "Bank"},
    "term": {"Name": "Soon", "DueDays": 3},
    "class": {"Name": "North", "ParentRef": {"value": "1"}},
    "batch": {"BatchItemRequest": [{"bId": "1", "operation": "create", "Invoice": invoice_body()}]},
}
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**18), 10**18),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=30),
    st.sampled_from(
        ["1", "TAX", "2026-02-30", "NaN", "1E+400", {}, [], [None], [[]], {"value": None}, {"value": "9"}]
    ),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a body."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield (*path, key)
        yield from places(part, (*path, key))


def changed(body: dict[str, Any], place: tuple[Any, ...], junk: Any) -> dict[str, Any]:
    """The body with something else in one place."""
    body = copy.deepcopy(body)
    holder: Any = body
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = junk
    return body


@pytest.fixture(params=["US", "GB"])
def books(request: pytest.FixtureRequest, open_company: Callable[..., Books]) -> Books:
    """A company of each kind, with an invoice, a credit memo and the tax lines of its country."""
    opened = open_company(country=request.param)
    extra = {} if request.param == "US" else {"GlobalTaxCalculation": "TaxExcluded"}
    body = invoice_body(Line=[sales_line("50.00", "NON" if request.param == "US" else "2")], **extra)
    opened.post("/invoice", body)
    opened.post("/creditmemo", body)
    return opened


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_spoiled_bodies_get_an_answer(books: Books, data: st.DataObject) -> None:
    """A body with junk in one place is carried out or refused; a refusal changes nothing; the books still foot.

    [ours]
    """
    name = data.draw(st.sampled_from(sorted(BODIES)))
    body = dict(BODIES[name])
    mode = data.draw(st.sampled_from(["", "TaxExcluded", "NotApplicable"]))
    if mode and name in ("invoice", "creditmemo", "refundreceipt"):
        body["GlobalTaxCalculation"] = mode
    place = data.draw(st.sampled_from(list(places(body))))
    junk = data.draw(JUNK)
    history = f"/companies/{books.realm}/history"
    before = len(books.control("GET", history))
    answer = books.send(f"/{name}", changed(body, place, junk))
    assert answer.status_code in (200, 400), (name, place, junk, answer.text)
    if answer.status_code == 400:
        assert answer.json()["Fault"]["Error"][0]["code"]
        assert len(books.control("GET", history)) == before
    owed = sum(row["TotalAmt"] for row in books.control("GET", f"/companies/{books.realm}/objects/Invoice"))
    owed -= sum(
        row["TotalAmt"] for row in books.control("GET", f"/companies/{books.realm}/objects/CreditMemo")
    )
    owed -= sum(row["TotalAmt"] for row in books.control("GET", f"/companies/{books.realm}/objects/Payment"))
    for entry in books.control("GET", f"/companies/{books.realm}/objects/JournalEntry"):
        for line in entry["Line"]:
            detail = line[JOURNAL]
            owed += (line["Amount"] if detail["PostingType"] == "Debit" else -line["Amount"]) * (
                "Entity" in detail and detail["AccountRef"]["value"] == "7"
            )
    assert books.control("GET", f"/companies/{books.realm}/receivables")["total"] == owed


WORDS = (
    *(
        "SELECT",
        "*",
        "COUNT(*)",
        "FROM",
        "Invoice",
        "Customer",
        "WHERE",
        "Id",
        "DocNumber",
        "TotalAmt",
        "Active",
    ),
    *(
        "=",
        "IN",
        "LIKE",
        "(",
        ")",
        ",",
        "'a'",
        "'1'",
        "5",
        "AND",
        "ORDERBY",
        "DESC",
        "STARTPOSITION",
        "MAXRESULTS",
    ),
    *("true", "2026", "'x\\", "%"),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from(WORDS), max_size=12))
def test_any_statement_gets_an_answer(us: Books, words: list[str]) -> None:
    """Any row of words is answered, or refused with 4000 or 4001 [D-query]."""
    answer = us.raw("GET", "/query", params={"query": "SELECT * FROM Invoice WHERE " + " ".join(words)})
    if answer.status_code != 200:
        assert answer.status_code == 400
        assert answer.json()["Fault"]["Error"][0]["code"] in ("4000", "4001")

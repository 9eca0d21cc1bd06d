"""Documents add up, or are refused with the line that does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages import problems, validate
from messages.invoices import InvoiceFinalized

FINALIZED = "com.algapsa.billing.invoice.finalized.v1"
CREDIT_NOTE = "com.algapsa.billing.credit_note.finalized.v1"

Sample = Callable[..., dict[str, Any]]


def line(number: int, net: int, tax: int = 0, **more: Any) -> dict[str, Any]:
    """Return a line with the fields every line has."""
    return {
        "id": f"l{number}",
        "description": "",
        "quantity": "1",
        "unit_price": "1",
        "net_amount": net,
        "tax_amount": tax,
        "is_taxable": True,
        "is_discount": net < 0,
    } | more


def sentences(found: list[Any]) -> list[str]:
    """Return problems as the API shows them."""
    return [str(problem) for problem in found]


def invoice(sample: Sample, lines: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """Return an invoice over these lines that adds up unless changed."""
    net, tax = sum(row["net_amount"] for row in lines), sum(row["tax_amount"] for row in lines)
    totals = {"subtotal": net, "discount": 0, "tax": tax, "total": net + tax}
    return sample("invoice.finalized.v1", lines=lines, **(totals | changes))


def test_a_total_that_does_not_add_up_is_refused(sample: Sample) -> None:
    """The error names the total, what the lines and tax come to, and what to do."""
    found = problems(FINALIZED, invoice(sample, [line(1, 10000, 875)], total=10876, subtotal=10001))
    assert sentences(found) == [
        (
            "data.total is 10876, but the lines (10000) and the tax (875) add up to 10875; "
            "correct the total or the line that is off"
        )
    ]


@given(
    st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(-(10**8), 10**8)), max_size=8),
    st.integers(-3, 3).filter(bool),
    st.sampled_from(["subtotal", "tax", "total"]),
)
def test_one_unit_off_is_always_found(rows: list[tuple[int, int]], off: int, field: str) -> None:
    """Whatever the lines, an amount of the head that is off by a single minor unit is refused."""
    lines = [line(index, net, tax) for index, (net, tax) in enumerate(rows)]
    net, tax = sum(net for net, _ in rows), sum(tax for _, tax in rows)
    head = {"subtotal": net, "tax": tax, "total": net + tax}
    whole = {
        "id": "i",
        "number": "1",
        "type": "credit_note",
        "invoice_date": "2026-03-31",
        "finalized_at": "2026-03-31T00:00:00Z",
        "currency": "JPY",
        "tax_source": "internal",
        "discount": 0,
        "client": {"id": "c", "name": "n", "tax_exempt": False},
        "lines": lines,
        "actor": {"type": "system"},
        "reason": "r",
    }
    if net + tax > 0:
        whole |= {"type": "standard", "due_date": "2026-03-31"}
    type_name = FINALIZED if net + tax > 0 else CREDIT_NOTE
    assert problems(type_name, whole | head) == []
    assert problems(type_name, whole | head | {field: head[field] + off})


@pytest.mark.parametrize("discount", [1000, -1000])
@pytest.mark.parametrize("subtotal", [10000, 9000])
def test_subtotal_before_or_after_discounts(sample: Sample, discount: int, subtotal: int) -> None:
    """Both habits are taken, and a discount of either sign; the total decides."""
    lines = [line(1, 10000, 900), line(2, -1000, -90, applies_to="l1")]
    data = invoice(sample, lines, discount=discount, subtotal=subtotal)
    assert problems(FINALIZED, data) == []
    assert sentences(problems(FINALIZED, data | {"subtotal": 8000})) == [
        (
            f"data.subtotal is 8000; with tax 810 and discount {discount} it does not lead to the total of 9810, "
            "neither before nor after discounts; correct it"
        )
    ]


def test_line_taxes_add_up_unless_the_tax_comes_from_elsewhere(sample: Sample) -> None:
    """Internal tax is the sum of the lines' tax; external tax may stand on the head alone."""
    lines = [line(1, 10000, 0)]
    data = invoice(sample, lines, tax=875, total=10875)
    assert sentences(problems(FINALIZED, data)) == [
        (
            "data.tax is 875, but the tax_amount of the lines adds up to 0; make them equal, or name the tax_source "
            "if the tax was computed elsewhere"
        )
    ]
    assert problems(FINALIZED, data | {"tax_source": "external"}) == []


def test_a_group_repeating_its_lines_is_named(sample: Sample) -> None:
    """An amount stands in one place: on the grouping line, or on the lines below it."""
    group = line(1, 3000)
    below = [line(2, 1000, parent_id="l1"), line(3, 2000, parent_id="l1")]
    data = invoice(sample, [group, *below], subtotal=3000, total=3000)
    assert sentences(problems(FINALIZED, data)) == [
        (
            "data.lines[0].net_amount is 3000, and the lines below it carry that amount again; "
            "send 0 on the grouping line or on the lines below it"
        )
    ]
    assert problems(FINALIZED, data | {"lines": [group | {"net_amount": 0}, *below]}) == []
    emptied = [row | {"net_amount": 0} for row in below]
    assert problems(FINALIZED, data | {"lines": [group, *emptied]}) == []


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([line(1, 5), line(1, 5)], "data.lines[1].id is also the id of lines[0]; give each its own"),
        (
            [line(1, 5, parent_id="l9")],
            (
                "data.lines[0].parent_id is 'l9', which is not the id of another line of this document; "
                "correct it or leave it out"
            ),
        ),
        (
            [line(1, 5, applies_to="l1")],
            (
                "data.lines[0].applies_to is 'l1', which is not the id of another line of this document; "
                "correct it or leave it out"
            ),
        ),
        (
            [line(1, 5, 3, tax_components=[{"name": "a", "amount": 1}, {"name": "b", "amount": 1}])],
            "data.lines[0].tax_components add up to 2, but the line's tax_amount is 3; make them equal",
        ),
        (
            [line(1, 5, service_period_start="2026-03-02", service_period_end="2026-03-01")],
            (
                "data.lines[0].service_period_end is 2026-03-01, before the period starts on 2026-03-02; "
                "swap or correct them"
            ),
        ),
    ],
)
def test_lines_that_contradict_themselves(sample: Sample, lines: list[dict[str, Any]], sentence: str) -> None:
    """The line and its field are named."""
    assert sentences(problems(FINALIZED, invoice(sample, lines))) == [sentence]


def test_an_invoice_without_lines_or_over_nothing_is_valid(sample: Sample) -> None:
    """Both are facts of billing; what to do about them is decided at the export."""
    assert problems(FINALIZED, invoice(sample, [])) == []
    assert problems(FINALIZED, invoice(sample, [line(1, 0)])) == []


def test_signs_tell_invoices_from_credit_notes(sample: Sample) -> None:
    """A negative invoice and a positive credit note are refused; -100 and +20 is a credit note of 80."""
    assert sentences(problems(FINALIZED, invoice(sample, [line(1, -5)]))) == [
        "data.total is -5; send what is owed to a client as credit_note.finalized"
    ]
    note = sample("credit_note.finalized.v1")
    assert note["subtotal"] == -8000
    turned = {field: -note[field] for field in ("subtotal", "tax", "total")}
    rows = [
        row | {"net_amount": -row["net_amount"], "tax_amount": -row["tax_amount"], "tax_components": []}
        for row in note["lines"]
    ]
    assert sentences(problems(CREDIT_NOTE, note | turned | {"lines": rows})) == [
        "data.total is 8828; a credit note has a negative total and negative lines, as in AlgaPSA"
    ]


def test_a_rate_comes_before_its_date(sample: Sample) -> None:
    """A rate's date without the rate is a mistake; a rate without date is the document's day."""
    data = sample("invoice.finalized.v1.jpy")
    data.pop("exchange_rate_date")
    assert problems(FINALIZED, data) == []
    data.pop("exchange_rate")
    assert problems(FINALIZED, data) == []
    assert sentences(problems(FINALIZED, data | {"exchange_rate_date": "2026-03-31"})) == [
        "data.exchange_rate is missing while exchange_rate_date is given; send both or neither"
    ]


def test_every_missing_field_is_named_at_once(sample: Sample) -> None:
    """The sender sees all that is missing, each with its path, and what the contract says about it."""
    data = sample("invoice.finalized.v1")
    del data["client"]["name"]
    del data["due_date"]
    data["lines"][2] = {}
    found = problems(FINALIZED, data)
    assert {problem.field for problem in found} == {
        "data.client.name",
        "data.due_date",
        *(
            f"data.lines[2].{field}"
            for field in (
                "id",
                "description",
                "quantity",
                "unit_price",
                "net_amount",
                "tax_amount",
                "is_taxable",
                "is_discount",
            )
        ),
    }
    (net,) = (problem for problem in found if problem.field == "data.lines[2].net_amount")
    assert net.message == (
        "is missing; send it: what the line costs before tax. It is never recomputed from quantity and price."
    )


@pytest.mark.parametrize("data", [None, [], "x", 1])
def test_data_must_be_an_object(data: Any) -> None:
    """Whatever stands in data instead of an object is refused under the name data."""
    (problem,) = problems(FINALIZED, data)
    assert problem.field == "data"
    assert problem.message.endswith("; send a JSON object")


def test_class_is_read_and_written_under_its_own_name(sample: Sample) -> None:
    """`class` is a word of Python, not of the wire."""
    read = validate(FINALIZED, sample("invoice.finalized.v1"))
    assert isinstance(read, InvoiceFinalized)
    assert read.lines[0].class_ == "Seattle"
    assert read.plain()["lines"][0]["class"] == "Seattle"


def test_a_draft_asking_for_tax_needs_no_number(sample: Sample) -> None:
    """A draft is asked about before it has a number, and only when its tax is pending."""
    name = "com.algapsa.billing.invoice.tax_requested.v1"
    data = sample("invoice.tax_requested.v1")
    assert "number" not in data
    assert problems(name, data) == []
    assert sentences(problems(name, data | {"tax_source": "internal"})) == [
        "data.tax_source is 'internal'; send 'pending_external'"
    ]

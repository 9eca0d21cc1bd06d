"""The page about messages tells the truth."""

from __future__ import annotations

import re
from pathlib import Path

from messages import errors, parse, problems
from messages.errors import BadMessage

PAGE = (Path(__file__).parents[3] / "docs" / "messages.md").read_text("utf-8")


def test_the_example_is_a_valid_event() -> None:
    """Whoever copies the example has a working event."""
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert parse(example.encode()).document.kind == "payment"


def test_every_reason_is_explained() -> None:
    """An operator who meets a code in the dead letters finds it on the page."""
    reasons = {
        kind.reason
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, BadMessage) and kind is not BadMessage
    }
    table = PAGE.partition("| code | meaning |")[2].partition("## In Python")[0]
    assert reasons == set(re.findall(r"`([a-z_]+)`(?=[^|]*\|[^|]*\|\n)", table))


def test_the_refusals_shown_are_real() -> None:
    """The sentences on the page are those the code writes."""
    line = {
        "id": "1",
        "description": "",
        "quantity": "1",
        "unit_price": "1",
        "net_amount": 10000,
        "tax_amount": 875,
        "is_taxable": True,
        "is_discount": False,
    }
    invoice = {
        "id": "i",
        "number": "1",
        "type": "standard",
        "invoice_date": "2026-03-31",
        "due_date": "2026-03-31",
        "finalized_at": "2026-03-31T00:00:00Z",
        "currency": "USD",
        "tax_source": "internal",
        "subtotal": 10001,
        "discount": 0,
        "tax": 875,
        "total": 10876,
        "client": {"id": "c", "name": "n", "tax_exempt": False},
        "lines": [line],
        "actor": {"type": "system"},
    }
    wrong = invoice | {
        "invoice_date": "2026-03-31T00:00:00Z",
        "lines": [line, line | {"id": "2"}, line | {"id": "3", "net_amount": 12.5}],
    }
    name = "com.algapsa.billing.invoice.finalized.v1"
    shown = re.findall(r"^data\..*$", PAGE, re.MULTILINE)
    found = [str(problem) for data in (wrong, invoice) for problem in problems(name, data)]
    assert sorted(shown) == sorted(found)

"""What a document points at in QuickBooks once it is there: items, tax code, terms, class and department."""

from __future__ import annotations

import copy
from typing import Any

from tests.support.exporting import LINE, Workbench, credit_note, invoice


def test_lines_tax_and_terms_are_those_that_were_mapped(workbench: Workbench) -> None:
    """The invoice in the books names items, tax code and terms as services, region and terms are mapped."""
    workbench.map("item", "svc-2", "4")
    workbench.map("tax_code", "CA", "2")
    workbench.map("term", "net_30", "3")
    lines = [
        copy.deepcopy(LINE) | {"id": "l1", "is_taxable": True, "tax_region": "CA", "tax_amount": 1080},
        copy.deepcopy(LINE) | {"id": "l2", "service_id": "svc-2"},
    ]
    said = invoice("inv-1", net=27000, tax=1080, total=28080, lines=lines, terms="net_30")
    workbench.say("invoice.finalized", said)
    assert workbench.codes() == []
    (made,) = workbench.objects()
    assert [line["SalesItemLineDetail"]["ItemRef"]["value"] for line in sold(made)] == ["3", "4"]
    assert [line["SalesItemLineDetail"]["TaxCodeRef"]["value"] for line in sold(made)] == ["TAX", "NON"]
    assert made["TxnTaxDetail"]["TxnTaxCodeRef"]["value"] == "2"
    assert made["SalesTermRef"]["value"] == "3"
    assert made["TotalAmt"] == 280.8


def test_every_document_carries_the_class_and_department_that_were_set(workbench: Workbench) -> None:
    """Invoice and credit memo alike, so that segment reports balance; the class on each line, as the company has it."""
    workbench.set("default_class", {"id": "1", "name": "Managed"})
    workbench.set("default_department", {"id": "2", "name": "Field"})
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("credit_note.finalized", credit_note("cn-1"))
    for made in (*workbench.objects("Invoice"), *workbench.objects("CreditMemo")):
        assert made["DepartmentRef"]["value"] == "2"
        assert [line["SalesItemLineDetail"]["ClassRef"]["value"] for line in sold(made)] == ["1"]
    assert workbench.codes() == []


def sold(made: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of a document but for its sums."""
    return [line for line in made["Line"] if "SalesItemLineDetail" in line]

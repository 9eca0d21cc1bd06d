"""Tax of a draft: computed by QuickBooks, told to billing per line and component, and the draft gone again."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.support.exporting import LINE, Workbench, credit_note, invoice, voided


def draft(*lines: tuple[str, int, bool], **changes: Any) -> dict[str, Any]:
    """Data of invoice.tax_requested with lines (id, cents, taxable)."""
    rows = [
        copy.deepcopy(LINE)
        | {"id": id_, "quantity": "1", "unit_price": f"{cents / 100:.2f}", "net_amount": cents}
        | {"is_taxable": taxable, "tax_region": "CA" if taxable else None}
        for id_, cents, taxable in lines
    ]
    net = sum(cents for _, cents, _ in lines)
    return invoice("inv-1", net=net, lines=rows, tax_source="pending_external", **changes)


def automated(workbench: Workbench) -> None:
    """Automated Sales Tax is on in the company: 8.25 % by address."""
    workbench.prefer("TaxPrefs", PartnerTaxEnabled=True)


def told(workbench: Workbench) -> dict[str, Any]:
    """What billing was told, once."""
    (data,) = workbench.told("document.tax_computed")
    return data


def test_the_tax_is_told_by_line_and_component_and_the_draft_is_gone(workbench: Workbench) -> None:
    """Remainders go to the largest line; what is not taxable has none; nothing stays in the books, or is read."""
    automated(workbench)
    workbench.say("invoice.tax_requested", draft(("l1", 3333, True), ("l2", 6667, True), ("l3", 5000, False)))
    data = told(workbench)
    assert (data["subtotal"], data["tax"], data["total"]) == (15000, 825, 15825)
    assert [(line["line_id"], line["tax_amount"]) for line in data["lines"]] == [
        ("l1", 274),
        ("l2", 551),
        ("l3", 0),
    ]
    (component,) = data["lines"][0]["components"]
    assert (component["rate"], component["region"], component["amount"]) == ("8.25", "CA", 274)
    assert workbench.objects() == []
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert workbench.timeline("invoice", "inv-1") == [
        "InvoiceTaxRequested",
        "calling",
        "step_done",
        "calling",
        "succeeded",
    ]
    assert workbench.reads == 0


def test_a_discount_lowers_the_tax_of_its_line(workbench: Workbench) -> None:
    """The discount carries its own, negative part."""
    automated(workbench)
    workbench.map("discount_item", "", "8")
    data = draft(("l1", 20000, True), ("l2", -2000, True))
    data["lines"][1] |= {"is_discount": True, "applies_to": "l1", "is_taxable": False}
    workbench.say("invoice.tax_requested", data)
    assert [line["tax_amount"] for line in told(workbench)["lines"]] == [1650, -165]


def test_without_automated_tax_the_region_decides(workbench: Workbench) -> None:
    """Manual sales tax: the mapped code of the region is sent, and QuickBooks computes from it."""
    workbench.say("invoice.tax_requested", draft(("l1", 10000, True)))
    assert workbench.outcome("invoice", "inv-1") == ("failed", "missing_tax_mapping")
    workbench.map("tax_code", "CA", "2")
    workbench.replay(workbench.last("invoice", "inv-1"))
    assert told(workbench)["tax"] == 800


def test_then_the_invoice_is_finalized_with_it(workbench: Workbench) -> None:
    """The finalized total is billing's, as computed before: QuickBooks takes it as it is."""
    automated(workbench)
    workbench.map("tax_code", "CA", "2")
    workbench.say("invoice.tax_requested", draft(("l1", 10000, True)))
    final = draft(("l1", 10000, True), tax=825, total=10825) | {"tax_source": "external"}
    final["lines"][0]["tax_amount"] = 825
    workbench.say("invoice.finalized", final)
    (made,) = workbench.objects()
    assert (made["DocNumber"], made["TotalAmt"]) == ("INV-1", 108.25)
    assert workbench.exceptions() == []


def test_a_neighbour_keeps_the_tax_of_its_own(workbench: Workbench) -> None:
    """One leaves its tax to QuickBooks, the next has been taxed by billing: nobody decides for the other."""
    automated(workbench)
    workbench.map("tax_code", "CA", "2")
    taxed = draft(("l1", 10000, True), tax=700, total=10700) | {"id": "inv-2", "number": "INV-2"}
    taxed |= {"tax_source": "external"}
    taxed["lines"][0]["tax_amount"] = 700
    workbench.say("invoice.tax_requested", draft(("l1", 10000, True)), settle=False)
    workbench.say("invoice.finalized", taxed)
    assert told(workbench)["tax"] == 825
    (made,) = workbench.objects()
    assert (made["DocNumber"], made["TotalAmt"], made["TxnTaxDetail"]["TotalTax"]) == ("INV-2", 107, 7)
    assert workbench.exceptions() == []


def test_a_second_request_replaces_the_first(workbench: Workbench) -> None:
    """Each request is answered by the draft as it then was; no draft stays."""
    automated(workbench)
    workbench.say("invoice.tax_requested", draft(("l1", 10000, True)))
    workbench.say("invoice.tax_requested", draft(("l1", 20000, True)))
    assert [data["tax"] for data in workbench.told("document.tax_computed")] == [825, 1650]
    assert workbench.objects() == []


@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("kind", ["cut_before", "cut_after", "hang_after"])
def test_lost_answers_leave_no_draft(workbench: Workbench, kind: str, skip: int) -> None:
    """Whether the entering or the removing loses its answer: told once, and nothing stays."""
    automated(workbench)
    workbench.trouble(kind, entity="invoice", method="POST", skip=skip, times=1)
    workbench.say("invoice.tax_requested", draft(("l1", 10000, True)))
    assert told(workbench)["tax"] == 825
    assert workbench.objects() == []


def test_a_draft_that_cannot_be_removed_parks_the_invoice_until_it_is(workbench: Workbench) -> None:
    """The invoice is not exported beside its own draft, whatever comes next."""
    automated(workbench)
    workbench.map("tax_code", "CA", "2")
    refusal = {"code": "6000", "fault_type": "ValidationFault"}
    workbench.trouble("fault", entity="invoice", operation="delete", **refusal)
    workbench.say("invoice.tax_requested", draft(("l1", 10000, True)))
    assert workbench.last("invoice", "inv-1").state == "failed"
    final = draft(("l1", 10000, True), tax=825, total=10825) | {"tax_source": "external"}
    workbench.say("invoice.finalized", final)
    assert workbench.last("invoice", "inv-1").state == "waiting"
    workbench.no_more_troubles()
    workbench.replay(workbench.operations("inv-1")[0])
    (made,) = workbench.objects()
    assert made["DocNumber"] == "INV-1"


def test_a_draft_that_somebody_deleted_is_gone(workbench: Workbench) -> None:
    """The bookkeeper was faster."""
    automated(workbench)
    workbench.say("invoice.tax_requested", draft(("l1", 10000, True)), settle=False)
    workbench.run(workbench.last("invoice", "inv-1"))
    (made,) = workbench.objects()
    workbench.bookkeeper("delete", entity="Invoice", id=made["Id"])
    workbench.settle()
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)


def test_no_draft_where_credits_are_applied_automatically(workbench: Workbench) -> None:
    """The draft would eat a client's open credit: refused before the call, by name."""
    automated(workbench)
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=True)
    workbench.say("credit_note.finalized", credit_note("cn-1"))
    workbench.say("invoice.tax_requested", draft(("l1", 10000, True)))
    assert workbench.outcome("invoice", "inv-1") == ("failed", "credits_are_applied_automatically")
    assert workbench.objects("CreditMemo")[0]["RemainingCredit"] == 80.0


def test_finalized_or_voided_meanwhile_nobody_waits_for_the_tax(workbench: Workbench) -> None:
    """A request that was not sent is superseded."""
    automated(workbench)
    workbench.say("invoice.tax_requested", draft(("l1", 10000, True)), settle=False)
    workbench.say("invoice.voided", voided("inv-1"))
    assert [one.reason_code for one in workbench.operations("inv-1")] == ["superseded", "never_exported"]
    assert workbench.told("document.tax_computed") == []


def test_tax_computed_after_finalization_is_reported(workbench: Workbench) -> None:
    """A finalized invoice that leaves its tax to QuickBooks: the books differ by it, and a person is told."""
    automated(workbench)
    workbench.say("invoice.finalized", draft(("l1", 10000, True)))
    assert workbench.codes() == ["total_differs"]
    assert "108.25" in workbench.exceptions()[0].happened


def test_tax_is_asked_for_even_when_automatic_sync_is_off(workbench: Workbench) -> None:
    """Somebody waits for it to finalize; nothing is exported by it."""
    automated(workbench)
    workbench.set("auto_sync", False, "tenant")
    workbench.say("invoice.tax_requested", draft(("l1", 10000, True)))
    assert told(workbench)["tax"] == 825

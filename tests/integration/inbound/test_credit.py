"""Credit that settles invoices in QuickBooks is told as credit, never as cash; and our own is recognised."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from tests.support.exporting import TENANT, invoice
from tests.support.inbound import InboundBench


def memo(bench: InboundBench, amount: float, customer: str = "2") -> str:
    """A credit memo that a bookkeeper made."""
    detail = {"ItemRef": {"value": "3"}, "TaxCodeRef": {"value": "NON"}}
    line = {"DetailType": "SalesItemLineDetail", "Amount": amount, "SalesItemLineDetail": detail}
    body = {"CustomerRef": {"value": customer}, "TxnDate": "2026-10-01", "Line": [line]}
    return str(bench.bookkeeper("create", entity="CreditMemo", body=body)["Id"])


def credit_note(bench: InboundBench, document_id: str, amount: int) -> str:
    """A credit note of billing, exported; returns its id in QuickBooks."""
    data = invoice(document_id, net=-amount, type="credit_note", reason="goodwill")
    data["lines"][0] |= {"quantity": "-1", "unit_price": str(amount / 100), "net_amount": -amount}
    bench.say("credit_note.finalized", data)
    return bench.external("credit_note", document_id)


def applied(application_id: str, source_id: str, invoice_id: str, amount: int) -> dict[str, Any]:
    """Data of a credit.applied event."""
    return {
        "application_id": application_id,
        "source_kind": "credit_note",
        "source_id": source_id,
        "invoice_id": invoice_id,
        "amount": amount,
        "currency": "USD",
        "date": "2026-11-03",
    }


def test_a_bookkeepers_credit_is_told_as_credit(bench: InboundBench) -> None:
    """A legacy credit memo on our invoice: one application, no cash, no drift, nobody asked."""
    qb = bench.invoice("inv-1", 15000)
    legacy = memo(bench, 150)
    bench.bookkeeper("apply-credit", memo=legacy, invoice=qb, amount="150.00")
    bench.poll()
    (told,) = bench.told("credit.applied_in_quickbooks")
    assert told["credit"] == {
        "kind": "credit_note",
        "quickbooks_type": "CreditMemo",
        "quickbooks_id": legacy,
        "url": f"https://app.sandbox.qbo.intuit.com/app/creditmemo?txnId={legacy}",
    }
    assert (told["invoice"]["billing_id"], told["amount"], told["automatic"]) == ("inv-1", 15000, False)
    assert bench.told("payment.received") == []
    assert bench.told("document.drifted") == []
    assert bench.exceptions() == []
    assert bench.due("inv-1") == [0]


def test_credit_and_cash_in_one_payment(bench: InboundBench) -> None:
    """70 of cash and 30 of credit settle an invoice of 100: each is told as what it is, and nothing is left."""
    qb = bench.invoice("inv-1")
    legacy = memo(bench, 30)
    bench.receive("70.00", {qb: "100.00"}, credits={legacy: "30.00"})
    bench.poll()
    (cash,), (credit,) = bench.told("payment.received"), bench.told("credit.applied_in_quickbooks")
    assert (cash["payment"]["amount"], cash["payment"]["allocations"][0]["amount"]) == (7000, 7000)
    assert credit["amount"] == 3000
    assert bench.due("inv-1") == [0]


def test_credit_that_applies_itself_is_told_as_automatic(bench: InboundBench) -> None:
    """QuickBooks' own habit is named."""
    bench.prefer("SalesFormsPrefs", AutoApplyCredit=True)
    memo(bench, 40)
    bench.invoice("inv-1")
    bench.poll()
    (told,) = bench.told("credit.applied_in_quickbooks")
    assert (told["amount"], told["automatic"]) == (4000, True)
    assert bench.due("inv-1") == [6000]


def test_credit_taken_off_again(bench: InboundBench) -> None:
    """The application is deleted: billing hears that it is gone, under the name it was told; nobody is asked."""
    qb = bench.invoice("inv-1")
    legacy = memo(bench, 100)
    joined = bench.bookkeeper("apply-credit", memo=legacy, invoice=qb, amount="100.00")["Id"]
    bench.poll()
    (told,) = bench.told("credit.applied_in_quickbooks")
    bench.bookkeeper("delete", entity="Payment", id=joined)
    bench.poll()
    (gone,) = bench.told("credit.withdrawn_in_quickbooks")
    assert (gone["application_id"], gone["reason"]) == (told["application_id"], "deleted")
    assert (gone["invoice_id"], gone["amount"], gone["credit"]["quickbooks_id"]) == ("inv-1", 10000, legacy)
    assert bench.exceptions() == []
    assert bench.due("inv-1") == [10000]


def test_credit_moved_to_another_invoice(bench: InboundBench) -> None:
    """One is taken back and the other told; a smaller amount is told again under the same name."""
    first, second = bench.invoice("inv-1"), bench.invoice("inv-2")
    legacy = memo(bench, 100)
    joined = bench.bookkeeper("apply-credit", memo=legacy, invoice=first, amount="100.00")["Id"]
    bench.poll()

    def join(amounts: dict[str, float]) -> None:
        lines = [("Invoice", id_, amount) for id_, amount in amounts.items()]
        lines.append(("CreditMemo", legacy, sum(amounts.values())))
        changes = {
            "CustomerRef": {"value": "2"},
            "TotalAmt": 0,
            "Line": [
                {"Amount": amount, "LinkedTxn": [{"TxnId": id_, "TxnType": type_}]}
                for type_, id_, amount in lines
            ],
        }
        bench.bookkeeper("edit", entity="Payment", id=joined, changes=changes)
        bench.poll()

    join({second: 100})
    assert bench.due("inv-1", "inv-2") == [10000, 0]
    (gone,) = bench.told("credit.withdrawn_in_quickbooks")
    assert (gone["invoice_id"], gone["reason"]) == ("inv-1", "changed")
    join({second: 60})
    assert bench.due("inv-1", "inv-2") == [10000, 4000]
    again, smaller = bench.told("credit.applied_in_quickbooks")[1:]
    assert again["application_id"] == smaller["application_id"]
    assert smaller["amount"] == 6000
    assert bench.exceptions() == []


def test_our_own_application_is_an_echo(bench: InboundBench) -> None:
    """Billing applied the credit itself: the zero payment that we made is told to nobody."""
    bench.invoice("inv-1")
    credit_note(bench, "cn-1", 4000)
    bench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 4000))
    bench.poll()
    assert bench.told("credit.applied_in_quickbooks") == []
    assert bench.told("document.drifted") == []
    assert bench.due("inv-1") == [6000]


def test_our_own_application_taken_off(bench: InboundBench) -> None:
    """A bookkeeper deletes it: the invoice is open again, and billing is asked to take the credit back."""
    bench.invoice("inv-1")
    credit_note(bench, "cn-1", 4000)
    bench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 4000))
    bench.bookkeeper("delete", entity="Payment", id=bench.external("credit_application", "app-1"))
    bench.poll()
    (gone,) = bench.told("document.drifted")
    assert gone["document"]["billing_id"] == "app-1"
    assert bench.codes() == ["credit_application_gone"]
    assert bench.due("inv-1") == [10000]
    bench.say("credit.unapplied", applied("app-1", "cn-1", "inv-1", 4000))
    assert bench.exceptions() == []


def test_our_own_application_made_anew_by_hand(bench: InboundBench) -> None:
    """Taken off and applied again in QuickBooks: it is ours again, and the question is settled."""
    bench.invoice("inv-1")
    credit_note(bench, "cn-1", 4000)
    bench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 4000))
    bench.bookkeeper("delete", entity="Payment", id=bench.external("credit_application", "app-1"))
    bench.poll()
    ours, theirs = bench.external("credit_note", "cn-1"), bench.external("invoice", "inv-1")
    joined = bench.bookkeeper("apply-credit", memo=ours, invoice=theirs, amount="40.00")["Id"]
    bench.poll()
    assert bench.external("credit_application", "app-1") == joined
    assert bench.told("credit.applied_in_quickbooks") == []
    assert bench.exceptions() == []
    assert bench.due("inv-1") == [6000]


def test_the_same_application_on_both_sides_is_linked(bench: InboundBench) -> None:
    """QuickBooks applied what billing was about to apply: linked, not told, and never sent."""
    bench.invoice("inv-1")
    credit_note(bench, "cn-1", 4000)
    bench.trouble("throttle", entity="payment")
    bench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 4000), settle=False)
    ours, theirs = bench.external("credit_note", "cn-1"), bench.external("invoice", "inv-1")
    joined = bench.bookkeeper("apply-credit", memo=ours, invoice=theirs, amount="40.00")["Id"]
    bench.wake()
    bench.open_due()
    bench.drain()
    bench.no_more_troubles()
    bench.settle()
    assert bench.external("credit_application", "app-1") == joined
    assert bench.told("credit.applied_in_quickbooks") == []
    assert len(bench.objects("Payment")) == 1
    assert bench.exceptions() == []
    assert bench.due("inv-1") == [6000]


def test_the_same_credit_by_another_amount_asks_a_person(bench: InboundBench) -> None:
    """Billing applied 40, QuickBooks 25 of the same memo: never both by themselves; a person takes QuickBooks' over."""
    bench.invoice("inv-1")
    credit_note(bench, "cn-1", 4000)
    bench.trouble("throttle", entity="payment")
    bench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 4000), settle=False)
    ours, theirs = bench.external("credit_note", "cn-1"), bench.external("invoice", "inv-1")
    joined = bench.bookkeeper("apply-credit", memo=ours, invoice=theirs, amount="25.00")["Id"]
    bench.wake()
    bench.open_due()
    bench.drain()
    (open_,) = bench.exceptions()
    assert open_.code == "credit_conflict"
    assert bench.told("credit.applied_in_quickbooks") == []
    with bench.fleet.transaction(TENANT) as connection:
        connection.execute(text("UPDATE document SET state = 'voided' WHERE document_id = 'app-1'"))
    bench.decide(bench.last_of("Payment", joined), "take_over")
    (told,) = bench.told("credit.applied_in_quickbooks")
    assert told["amount"] == 2500
    assert bench.due("inv-1") == [7500]


def test_credit_of_billing_on_a_native_invoice_is_held(bench: InboundBench) -> None:
    """Credit that billing gave settles an invoice it does not know: the customer's exception says so."""
    ours = credit_note(bench, "cn-1", 4000)
    bench.bookkeeper("apply-credit", memo=ours, invoice=bench.native(50), amount="40.00")
    bench.poll()
    (open_,) = bench.exceptions()
    assert open_.entity_kind == "quickbooks_customer"
    assert bench.told("credit.applied_in_quickbooks") == []

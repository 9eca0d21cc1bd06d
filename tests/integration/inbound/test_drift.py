"""Documents of ours that somebody touched in QuickBooks: told once, with both versions, and settled by themselves."""

from __future__ import annotations

import json

import pytest

from services.inbound import filing, resolutions, sightings
from services.quickbooks import body
from services.refusals import Refusal
from tests.support.exporting import TENANT, invoice, voided
from tests.support.inbound import InboundBench


def line(amount: float, description: str = "Managed workstation") -> dict[str, object]:
    """A line as a bookkeeper leaves it."""
    return {
        "Id": "1",
        "DetailType": "SalesItemLineDetail",
        "Amount": amount,
        "Description": description,
        "SalesItemLineDetail": {"ItemRef": {"value": "3"}, "TaxCodeRef": {"value": "NON"}},
    }


def state(bench: InboundBench, document_id: str = "inv-1") -> str:
    """State of the link of an invoice."""
    link = bench.link("invoice", document_id)
    assert link is not None
    return link.state


def show(bench: InboundBench, external_id: str, **fields: object) -> None:
    """A version of an invoice as QuickBooks would show it, with fields that the sandbox company does not keep."""
    row = body.load(json.dumps({**bench.object("Invoice", external_id), **fields}))
    with bench.fleet.transaction(TENANT) as connection:
        filing.file(connection, bench.company, None, [sightings.shown("Invoice", row)])
    bench.settle()


def test_a_changed_total_is_told_with_both_versions(bench: InboundBench) -> None:
    """Field by field, what billing has and what QuickBooks has, and whose it is; both versions are kept."""
    qb = bench.invoice("inv-1")
    bench.bookkeeper("edit", entity="Invoice", id=qb, changes={"Line": [line(90)]})
    bench.poll()
    (told,) = bench.told("document.drifted")
    assert (told["change"], told["total"], told["quickbooks_total"]) == ("changed", 10000, 9000)
    fields = {
        one["field"]: (one.get("billing_value"), one.get("quickbooks_value")) for one in told["differences"]
    }
    assert tuple(float(value or 0) for value in fields["total"]) == (100, 90)
    assert {one["owner"] for one in told["differences"]} == {"billing"}
    (open_,) = bench.exceptions()
    assert (open_.type, open_.code, open_.entity_id) == ("accounting_sync_drift", "total_changed", "inv-1")
    assert state(bench) == "drift"
    agreed, observed = bench.rows("SELECT agreed ->> 'TotalAmt' a, observed ->> 'TotalAmt' o FROM drift")[0]
    assert (float(agreed), float(observed)) == (100, 90)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"DocNumber": "X-1"}, "number"),
        ({"TxnDate": "2026-10-30"}, "date"),
        ({"DueDate": "2026-12-31"}, "due date"),
        ({"CustomerMemo": {"value": "please pay"}}, "memo to the customer"),
    ],
)
def test_every_field_of_billing_counts(bench: InboundBench, changes: dict[str, object], field: str) -> None:
    """Not only the total (D28)."""
    qb = bench.invoice("inv-1")
    bench.bookkeeper("edit", entity="Invoice", id=qb, changes=changes)
    bench.poll()
    (told,) = bench.told("document.drifted")
    assert field in {one["field"] for one in told["differences"]}


def test_what_quickbooks_owns_and_what_payments_move_is_silent(bench: InboundBench) -> None:
    """A note, a payment on it and its removal: no drift, and our next write is not stale."""
    qb = bench.invoice("inv-1")
    bench.bookkeeper("edit", entity="Invoice", id=qb, changes={"PrivateNote": "called them"})
    paid = bench.receive("40.00", {qb: "40.00"})
    bench.poll()
    bench.bookkeeper("delete", entity="Payment", id=paid)
    bench.poll()
    assert bench.told("document.drifted") == []
    assert state(bench) == "synced"
    link = bench.link("invoice", "inv-1")
    assert link is not None
    assert link.sync_token == bench.object("Invoice", qb)["SyncToken"]


def test_a_deposit_on_an_invoice_is_told_and_not_exported_over(bench: InboundBench) -> None:
    """Money that QuickBooks takes off an invoice without a payment never hides: only a person can book it."""
    qb = bench.invoice("inv-1")
    show(bench, qb, SyncToken="7", Deposit=30.5)
    (told,) = bench.told("document.drifted")
    assert [one["field"] for one in told["differences"]] == ["deposit"]
    (open_,) = bench.exceptions()
    assert "receive it as a payment" in open_.fix
    assert open_.details["actions"] == ["accept", "ignore"]
    with bench.fleet.transaction(TENANT) as connection:
        place = (connection, bench.company_id, "invoice", "inv-1")
        with pytest.raises(Refusal, match="cannot take off"):
            resolutions.re_export(*place, actor="dana", reason="ours is right")
    show(bench, qb, SyncToken="8", Deposit=0)
    assert (bench.exceptions(), state(bench)) == ([], "synced")


@pytest.mark.parametrize(
    ("act", "change", "there"), [("void", "voided", "external_voided"), ("delete", "deleted", "deleted")]
)
def test_void_and_delete_are_told_apart_and_told_once(
    bench: InboundBench, act: str, change: str, there: str
) -> None:
    """Each by its own word; seen again it is no news."""
    qb = bench.invoice("inv-1")
    bench.bookkeeper(act, entity="Invoice", id=qb)
    bench.poll()
    bench.poll()
    (told,) = bench.told("document.drifted")
    assert told["change"] == change
    assert len(bench.exceptions()) == 1
    assert state(bench) == there


def test_an_edit_that_is_undone_settles_itself(bench: InboundBench) -> None:
    """One open exception a document, whatever is edited; back as it was, it closes without anybody."""
    qb = bench.invoice("inv-1")
    bench.bookkeeper("edit", entity="Invoice", id=qb, changes={"DueDate": "2026-12-31"})
    bench.poll()
    bench.bookkeeper("edit", entity="Invoice", id=qb, changes={"DueDate": "2027-01-31"})
    bench.poll()
    assert len(bench.told("document.drifted")) == 2
    assert len(bench.exceptions()) == 1
    bench.bookkeeper("edit", entity="Invoice", id=qb, changes={"DueDate": "2026-11-30"})
    bench.poll()
    assert bench.exceptions() == []
    assert state(bench) == "synced"


def test_void_in_both_books_is_agreement(bench: InboundBench) -> None:
    """Voided by a bookkeeper, then in billing: the question settles itself."""
    qb = bench.invoice("inv-1")
    bench.bookkeeper("void", entity="Invoice", id=qb)
    bench.poll()
    assert bench.codes() == ["external_voided"]
    voided = {"id": "inv-1", "date": "2026-11-01", "reason": "x", "actor": {"type": "system"}}
    bench.say("invoice.voided", voided)
    assert bench.exceptions() == []


@pytest.mark.parametrize("old_amounts", [False, True])
def test_our_own_void_of_an_invoice_over_nothing_is_no_drift(bench: InboundBench, old_amounts: bool) -> None:
    """QuickBooks takes the quantities off what it voids, and its answer may not show it yet."""
    bench.switch(void_reply_shows_old_amounts=old_amounts)
    bench.invoice("inv-1", amount=0)
    voided = {"id": "inv-1", "date": "2026-10-31", "reason": "x", "actor": {"type": "system"}}
    bench.say("invoice.voided", voided)
    bench.poll()
    assert (bench.told("document.drifted"), bench.exceptions()) == ([], [])
    assert state(bench) == "voided"


def test_re_export_puts_billings_version_back(bench: InboundBench) -> None:
    """QuickBooks has billing's total again, the exception is closed, and the echo is silent."""
    qb = bench.invoice("inv-1")
    bench.bookkeeper("edit", entity="Invoice", id=qb, changes={"Line": [line(90)]})
    bench.poll()
    with bench.fleet.transaction(TENANT) as connection:
        resolutions.re_export(
            connection, bench.company_id, "invoice", "inv-1", actor="controller", reason="a slip"
        )
    bench.settle()
    bench.poll()
    assert float(bench.object("Invoice", qb)["TotalAmt"]) == 100
    assert bench.exceptions() == []
    assert state(bench) == "synced"


def test_accept_agrees_on_what_was_shown_and_on_nothing_newer(bench: InboundBench) -> None:
    """The observed version becomes the agreed one; a version nobody looked at is refused."""
    qb = bench.invoice("inv-1")
    bench.bookkeeper("edit", entity="Invoice", id=qb, changes={"DueDate": "2026-12-31"})
    bench.poll()
    with bench.fleet.transaction(TENANT) as connection:
        resolutions.accept(connection, bench.company_id, "invoice", "inv-1", actor="c", reason="agreed")
        with pytest.raises(Refusal, match="settled"):
            resolutions.accept(connection, bench.company_id, "invoice", "inv-1", actor="c", reason="again")
    bench.poll()
    assert bench.exceptions() == []
    assert state(bench) == "synced"


def test_mark_void_and_its_guards(bench: InboundBench) -> None:
    """What is gone cannot be accepted or put back, and a reason is wanted."""
    qb = bench.invoice("inv-1")
    bench.bookkeeper("void", entity="Invoice", id=qb)
    bench.poll()
    with bench.fleet.transaction(TENANT) as connection:
        place = (connection, bench.company_id, "invoice", "inv-1")
        for act in (resolutions.re_export, resolutions.accept):
            with pytest.raises(Refusal, match="voided"):
                act(*place, actor="c", reason="r")
        with pytest.raises(Refusal, match="reason"):
            resolutions.mark_void(*place, actor="c", reason=" ")
        resolutions.mark_void(*place, actor="c", reason="agreed")
    assert bench.exceptions() == []
    assert state(bench) == "voided"


def test_a_deleted_document_is_recreated(bench: InboundBench) -> None:
    """Exported anew under a new request id, and linked to the new object."""
    qb = bench.invoice("inv-1")
    bench.bookkeeper("delete", entity="Invoice", id=qb)
    bench.poll()
    with bench.fleet.transaction(TENANT) as connection:
        resolutions.recreate(connection, bench.company_id, "invoice", "inv-1", actor="c", reason="by mistake")
    bench.settle()
    bench.poll()
    assert bench.external("invoice", "inv-1") != qb
    assert len(bench.objects()) == 1
    assert bench.exceptions() == []


def test_a_voided_document_is_recreated_under_its_own_number(bench: InboundBench) -> None:
    """What was voided keeps the number in QuickBooks, and the new one shares it; a bookkeeper's of it asks."""
    qb = bench.invoice("inv-1")
    bench.bookkeeper("void", entity="Invoice", id=qb)
    bench.poll()
    with bench.fleet.transaction(TENANT) as connection:
        resolutions.recreate(connection, bench.company_id, "invoice", "inv-1", actor="c", reason="by mistake")
    bench.settle()
    bench.poll()
    again = bench.object("Invoice", bench.external("invoice", "inv-1"))
    assert (again["Id"] != qb, again["DocNumber"], again["TotalAmt"]) == (True, "INV-1", 100)
    assert bench.exceptions() == []
    qb = bench.invoice("inv-2")
    bench.bookkeeper("void", entity="Invoice", id=qb)
    bench.poll()
    bench.switch(warn_duplicate_number=False)
    bench.native(100.0, DocNumber="INV-2")
    bench.switch(warn_duplicate_number=True)
    with bench.fleet.transaction(TENANT) as connection:
        resolutions.recreate(connection, bench.company_id, "invoice", "inv-2", actor="c", reason="by mistake")
    bench.settle()
    assert "number_in_use" in bench.codes()
    assert len(bench.objects()) == 4


def test_our_own_correction_is_no_drift(bench: InboundBench) -> None:
    """Billing corrects the invoice; its echo, and a look before the answer is recorded, are silent."""
    bench.invoice("inv-1")
    bench.trouble("cut_after", entity="invoice", times=1)
    bench.say("invoice.corrected", invoice("inv-1", net=12000), settle=False)
    bench.drain()
    bench.wake()
    bench.open_due()
    bench.drain()
    assert bench.told("document.drifted") == []
    bench.settle()
    bench.poll()
    assert bench.told("document.drifted") == []
    assert bench.exceptions() == []


def test_what_was_seen_before_our_own_void_is_no_drift(bench: InboundBench) -> None:
    """A cycle reads an invoice before our void and judges it afterwards: it is older than what we wrote."""
    bench.trouble("cut_after", entity="invoice", times=1)
    bench.bill("inv-1")
    bench.drain()
    bench.wake()
    bench.open_due()
    bench.drain()  # it is seen, and waits for our call that has no answer yet
    bench.say("invoice.voided", voided("inv-1"), settle=False)
    export, void = bench.operations("inv-1")
    for operation in (export, void):
        bench.make_due()
        bench.run(bench.operation(operation.operation_id))
    assert (state(bench), bench.last("invoice", "inv-1").state) == ("voided", "succeeded")
    bench.settle()
    assert bench.told("document.drifted") == []
    assert bench.exceptions() == []
    assert state(bench) == "voided"

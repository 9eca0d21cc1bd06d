"""Corrections of exported documents: only what differs, complete lines, never over somebody's edit, once."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import simplejson

from tests.support.exporting import ACTOR, LINE, Workbench, invoice, payment, voided


def two_lines(second: int = 5000) -> dict[str, Any]:
    """Changes that make `invoice()` one of 135.00 and a second line."""
    lines = [
        copy.deepcopy(LINE),
        copy.deepcopy(LINE)
        | {
            "id": "l2",
            "description": "Server",
            "quantity": "1",
            "unit_price": f"{second / 100:.2f}",
            "net_amount": second,
        },
    ]
    return {"lines": lines, "subtotal": 13500 + second, "total": 13500 + second}


def sold(entity: dict[str, Any]) -> list[tuple[str, str, float]]:
    """Id, description and amount of the sales lines."""
    lines = [line for line in entity["Line"] if line["DetailType"] == "SalesItemLineDetail"]
    return [(line["Id"], line["Description"], line["Amount"]) for line in lines]


def bodies(workbench: Workbench, document_id: str = "inv-1") -> dict[str, Any]:
    """The body of the last call for an invoice."""
    call = workbench.last("invoice", document_id).call
    assert call is not None
    return dict(simplejson.loads(call["body"]))


def test_a_correction_changes_the_invoice_in_place(workbench: Workbench) -> None:
    """A line more: the first keeps its Id, total and link follow, billing is told; nothing is read."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("invoice.corrected", invoice("inv-1", **two_lines()))
    (changed,) = workbench.objects()
    assert sold(changed) == [("1", "Managed workstation", 135.0), ("2", "Server", 50.0)]
    assert changed["TotalAmt"] == 185.0
    link = workbench.link("invoice", "inv-1")
    assert link is not None
    assert (str(link.total), link.sync_token) == ("185.00", "1")
    assert [told["action"] for told in workbench.told("document.synced")] == ["created", "updated"]
    assert workbench.reads == 0


def test_only_what_differs_is_sent(workbench: Workbench) -> None:
    """A new due date is sent alone: nothing else of the invoice can be harmed."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("invoice.corrected", invoice("inv-1", due_date="2026-12-15"))
    assert bodies(workbench).keys() == {"Id", "SyncToken", "sparse", "DueDate"}
    (changed,) = workbench.objects()
    assert changed["DueDate"] == "2026-12-15"
    assert sold(changed) == [("1", "Managed workstation", 135.0)]


def test_a_correction_that_changes_nothing_sends_nothing(workbench: Workbench) -> None:
    """Billing repeats itself: skipped, and it says why."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("invoice.corrected", invoice("inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("skipped", "nothing_changed")
    assert workbench.objects()[0]["SyncToken"] == "0"


def test_a_stale_token_is_read_again_and_the_edit_of_a_memo_does_not_matter(workbench: Workbench) -> None:
    """The bookkeeper added a tracking number: one read, and the correction goes out under the fresh token."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    (made,) = workbench.objects()
    workbench.bookkeeper("edit", entity="Invoice", id=made["Id"], changes={"TrackingNum": "1Z"})
    workbench.say("invoice.corrected", invoice("inv-1", **two_lines()))
    (changed,) = workbench.objects()
    assert (changed["TotalAmt"], changed["TrackingNum"]) == (185.0, "1Z")
    assert workbench.reads == 1
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)


def test_what_a_bookkeeper_changed_is_never_overwritten_silently(workbench: Workbench) -> None:
    """Both sides changed the amount: an exception names both, and overwriting is a decision with a reason."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    (made,) = workbench.objects()
    line = made["Line"][0] | {"Amount": 100, "SalesItemLineDetail": {"ItemRef": {"value": "3"}}}
    workbench.bookkeeper("edit", entity="Invoice", id=made["Id"], changes={"Line": [line]})
    workbench.say("invoice.corrected", invoice("inv-1", **two_lines()))
    assert workbench.outcome("invoice", "inv-1") == ("failed", "edited_in_quickbooks")
    assert workbench.objects()[0]["TotalAmt"] == 100.0
    (exception,) = workbench.exceptions()
    assert "TotalAmt was 135.00 and is 100.00" in exception.happened
    workbench.replay(workbench.last("invoice", "inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("failed", "edited_in_quickbooks"), (
        "a retry decides nothing"
    )
    workbench.decide(workbench.last("invoice", "inv-1"), "overwrite")
    assert workbench.objects()[0]["TotalAmt"] == 185.0
    assert workbench.exceptions() == []
    assert "decided" in workbench.timeline("invoice", "inv-1")


def test_the_same_correction_made_by_hand_is_adopted(workbench: Workbench) -> None:
    """The bookkeeper was faster: nothing is sent again, and the link knows the present token."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    (made,) = workbench.objects()
    workbench.bookkeeper("edit", entity="Invoice", id=made["Id"], changes={"DueDate": "2026-12-15"})
    workbench.say("invoice.corrected", invoice("inv-1", due_date="2026-12-15"))
    link = workbench.link("invoice", "inv-1")
    assert link is not None
    assert (link.sync_token, workbench.objects()[0]["SyncToken"]) == ("1", "1")
    assert workbench.timeline("invoice", "inv-1")[-1] == "adopted"


def test_less_than_what_is_paid_is_refused(workbench: Workbench) -> None:
    """QuickBooks would push the surplus off the payment by itself; a person moves it first."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    (made,) = workbench.objects()
    workbench.bookkeeper("receive-payment", customer="2", amount=135, invoices={made["Id"]: 135})
    workbench.say("invoice.corrected", invoice("inv-1", net=9000))
    assert workbench.outcome("invoice", "inv-1") == ("failed", "paid_more")
    assert workbench.objects()[0]["TotalAmt"] == 135.0
    workbench.say("invoice.corrected", invoice("inv-1", **two_lines()))
    assert workbench.objects()[0]["TotalAmt"] == 185.0, "more than what is paid may be billed"


def test_a_balance_that_was_known_before_money_came_off_is_looked_at_again(workbench: Workbench) -> None:
    """The answer to an earlier correction said that it is paid; that payment is gone, and nobody is asked about it."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    workbench.say("invoice.corrected", invoice("inv-1", due_date="2026-12-15"))
    link = workbench.link("invoice", "inv-1")
    assert link is not None
    assert link.snapshot["Balance"] == 0
    workbench.say("payment.reversed", {"id": "pay-1", "date": "2026-11-05", "reason": "keyed_in_error"})
    workbench.say("invoice.corrected", invoice("inv-1", net=9000))
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert [one["TotalAmt"] for one in workbench.objects()] == [90.0]
    assert workbench.exceptions() == []


def test_what_is_paid_by_now_is_refused_without_a_call(workbench: Workbench) -> None:
    """The balance is as we know it: one look, no write, and a retry looks again."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    workbench.say("invoice.corrected", invoice("inv-1", due_date="2026-12-15"))
    (before,) = workbench.objects()
    for _ in range(2):
        workbench.say("invoice.corrected", invoice("inv-1", net=9000))
        assert workbench.outcome("invoice", "inv-1") == ("failed", "paid_more")
        workbench.replay(workbench.last("invoice", "inv-1"))
        assert workbench.outcome("invoice", "inv-1") == ("failed", "paid_more")
    assert workbench.objects() == [before]


def test_an_invoice_deleted_in_quickbooks_is_not_made_again_by_a_correction(workbench: Workbench) -> None:
    """Somebody deleted it on purpose: a person decides."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    (made,) = workbench.objects()
    workbench.bookkeeper("delete", entity="Invoice", id=made["Id"])
    workbench.say("invoice.corrected", invoice("inv-1", **two_lines()))
    assert workbench.outcome("invoice", "inv-1") == ("failed", "not_there")
    assert workbench.objects() == []


@pytest.mark.parametrize("kind", ["cut_after", "hang_after"])
def test_a_lost_answer_of_a_correction(workbench: Workbench, kind: str) -> None:
    """The correction took effect and its answer was lost: done once, link and token are right."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.trouble(kind, entity="invoice", operation="update", times=1)
    workbench.say("invoice.corrected", invoice("inv-1", **two_lines()))
    (changed,) = workbench.objects()
    link = workbench.link("invoice", "inv-1")
    assert link is not None
    assert (changed["TotalAmt"], changed["SyncToken"], link.sync_token) == (185.0, "1", "1")


def test_a_lost_answer_of_a_correction_whose_request_id_was_forgotten(workbench: Workbench) -> None:
    """The repeated call meets a stale token, its own: what is there is what was wanted, so it is adopted."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.switch(requestid_forgets_after_seconds=1)
    workbench.trouble("cut_after", entity="invoice", operation="update", times=1)
    workbench.say("invoice.corrected", invoice("inv-1", **two_lines()), settle=False)
    workbench.run(workbench.last("invoice", "inv-1"))
    workbench.advance(5)
    workbench.settle()
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    link = workbench.link("invoice", "inv-1")
    assert link is not None
    assert (workbench.objects()[0]["SyncToken"], link.sync_token) == ("1", "1")


def test_a_correction_takes_the_place_of_a_due_date_that_could_not_be_changed(workbench: Workbench) -> None:
    """It carries the due date too: nobody has to mend a change that is overtaken."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.prefer("AccountingInfoPrefs", BookCloseDate="2026-10-31")
    moved = {"id": "inv-1", "date": "2026-12-24", "reason": "agreed", "actor": ACTOR}
    workbench.say("invoice.due_date_changed", moved)
    assert workbench.last("invoice", "inv-1").state == "failed"
    workbench.prefer("AccountingInfoPrefs", BookCloseDate=None)
    workbench.know("AccountingInfoPrefs", BookCloseDate=None)
    workbench.say("invoice.corrected", invoice("inv-1", due_date="2026-12-27", **two_lines()))
    (changed,) = workbench.objects()
    assert (changed["DueDate"], changed["TotalAmt"]) == ("2026-12-27", 185.0)
    assert workbench.exceptions() == []


def test_a_correction_to_nothing_is_never_silent(workbench: Workbench) -> None:
    """QuickBooks cannot keep an invoice without lines and still has its money: a person is asked, a void settles it."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("invoice.corrected", invoice("inv-1", lines=[], subtotal=0, total=0))
    assert workbench.outcome("invoice", "inv-1") == ("failed", "emptied")
    (asked,) = workbench.exceptions()
    assert "over 135.00 USD" in asked.happened
    assert "Void it in billing" in asked.fix
    workbench.say("invoice.voided", voided("inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert workbench.objects()[0]["TotalAmt"] == 0
    assert workbench.exceptions() == []


SAID: dict[str, Any] = {
    "customer_memo": "Thanks",
    "terms": "net_30",
    "client": {
        "id": "cl-1",
        "name": "Cool Cars",
        "tax_exempt": True,
        "billing_email": "ap@cool.example",
        "billing_address": {"line1": "1 Main St", "line2": "Suite 5", "city": "Seattle"},
    },
}


def test_what_billing_takes_away_is_emptied_and_all_else_stays(workbench: Workbench) -> None:
    """Memo, terms and e-mail go, by a full update of the invoice as it stands, with what the bookkeeper added."""
    workbench.map("term", "net_30", "3")
    workbench.say("invoice.finalized", invoice("inv-1", **SAID))
    (made,) = workbench.objects()
    workbench.bookkeeper("edit", entity="Invoice", id=made["Id"], changes={"TrackingNum": "1Z"})
    client = {"id": "cl-1", "name": "Cool Cars", "tax_exempt": True}
    workbench.say(
        "invoice.corrected", invoice("inv-1", client=client | {"billing_address": {"line1": "1 Main St"}})
    )
    sent = bodies(workbench)
    assert "sparse" not in sent
    assert sent.keys().isdisjoint(
        {"CustomerMemo", "SalesTermRef", "BillEmail", "TotalAmt", "Balance", "MetaData"}
    )
    assert (sent["BillAddr"], sent["TrackingNum"]) == ({"Line1": "1 Main St"}, "1Z")
    (left,) = workbench.objects()
    assert left.keys().isdisjoint({"CustomerMemo", "SalesTermRef"})
    assert (left["TotalAmt"], left["DueDate"], left["TrackingNum"]) == (135.0, "2026-11-30", "1Z")
    assert sold(left) == sold(made)
    assert workbench.exceptions() == []
    workbench.say(
        "invoice.corrected", invoice("inv-1", client=client | {"billing_address": {"line1": "1 Main St"}})
    )
    assert workbench.outcome("invoice", "inv-1") == ("skipped", "nothing_changed")


def test_a_service_date_that_is_gone_goes(workbench: Workbench) -> None:
    """A line that lost its period differs, although QuickBooks has all that is left of it."""
    period = {"service_period_start": "2026-10-01", "service_period_end": "2026-10-31"}
    workbench.say("invoice.finalized", invoice("inv-1", lines=[LINE | period]))
    workbench.say("invoice.corrected", invoice("inv-1"))
    (left,) = workbench.objects()
    assert "ServiceDate" not in left["Line"][0]["SalesItemLineDetail"]
    assert sold(left) == [("1", "Managed workstation", 135.0)]


def test_what_the_bookkeeper_wrote_beside_the_agreed_stays(workbench: Workbench) -> None:
    """A correction of the due date undoes no memo, note or mark of an invoice as sent that billing did not change."""
    workbench.say("invoice.finalized", invoice("inv-1", **SAID | {"terms": None}))
    (made,) = workbench.objects()
    note = f"{made['PrivateNote']}\ncalled them twice"
    theirs = {"EmailStatus": "EmailSent", "CustomerMemo": {"value": "See you"}, "PrivateNote": note}
    workbench.bookkeeper("edit", entity="Invoice", id=made["Id"], changes=theirs)
    workbench.say("invoice.corrected", invoice("inv-1", due_date="2026-12-15", **SAID | {"terms": None}))
    assert bodies(workbench).keys() == {"Id", "SyncToken", "sparse", "DueDate"}
    (left,) = workbench.objects()
    assert {name: left[name] for name in theirs} == theirs
    without = SAID | {"terms": None, "customer_memo": None}
    workbench.say("invoice.corrected", invoice("inv-1", due_date="2026-12-15", **without))
    assert workbench.outcome("invoice", "inv-1") == ("skipped", "nothing_changed"), (
        "the memo is not billing's"
    )

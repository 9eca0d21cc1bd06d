"""What nobody knows for certain stays unknown until QuickBooks was asked: nothing is doubled, nothing is lost."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from tests.support.exporting import TENANT, Workbench, credit_note, invoice, payment, voided


def lose_the_answer(workbench: Workbench) -> None:
    """An invoice is made in QuickBooks, and we do not hear of it."""
    workbench.bill("inv-1")
    workbench.trouble("cut_after", entity="invoice", times=1)
    workbench.run(workbench.operations()[0])
    workbench.make_due()
    assert workbench.operations()[0].outcome == "unknown"


@pytest.mark.parametrize("kind", ["throttle", "unauthorized"])
def test_a_later_trouble_does_not_make_an_unknown_outcome_unsent(workbench: Workbench, kind: str) -> None:
    """Throttled or refused entry on the second try: what the first did is as unknown as before.

    Else a mapping mended in between would change the body, with it the request id, and double the invoice.
    """
    lose_the_answer(workbench)
    workbench.trouble(kind, entity="invoice", times=2)
    workbench.run(workbench.operations()[0])
    assert workbench.operations()[0].outcome == "unknown"
    workbench.no_more_troubles()
    workbench.map("item", "svc", "4")
    workbench.reconnect()
    workbench.settle()
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert len(workbench.objects()) == 1


def test_a_refusal_of_a_repeated_call_is_not_believed_before_asking(workbench: Workbench) -> None:
    """QuickBooks forgot the request id and calls the number a duplicate: it is ours, and it is adopted."""
    lose_the_answer(workbench)
    workbench.switch(requestid_forgets_after_seconds=1)
    workbench.advance(5)
    workbench.settle()
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    (made,) = workbench.objects()
    link = workbench.link("invoice", "inv-1")
    assert link is not None
    assert link.external_id == made["Id"]


def test_an_answer_about_a_deleted_object_is_no_answer(workbench: Workbench) -> None:
    """A repeated request id brings the first answer, with an id that is dead when somebody deleted it since.

    Nothing is linked to it; a person decides, and a retry makes it anew under a new request id.
    """
    lose_the_answer(workbench)
    (made,) = workbench.objects()
    workbench.bookkeeper("delete", entity="Invoice", id=made["Id"])
    workbench.settle()
    assert workbench.outcome("invoice", "inv-1") == ("failed", "deleted_meanwhile")
    assert workbench.link("invoice", "inv-1") is None
    workbench.replay(workbench.operations()[0])
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    (again,) = workbench.objects()
    link = workbench.link("invoice", "inv-1")
    assert link is not None
    assert link.external_id == again["Id"] != made["Id"]
    assert workbench.exceptions() == []


def test_what_was_changed_before_we_heard_of_it_is_asked_about(workbench: Workbench) -> None:
    """Somebody edited our invoice: it is not doubled and not linked to what it is now; put right, it is adopted."""
    lose_the_answer(workbench)
    (made,) = workbench.objects()
    line = made["Line"][0] | {"Amount": 200, "SalesItemLineDetail": {"ItemRef": {"value": "3"}}}
    workbench.bookkeeper("edit", entity="Invoice", id=made["Id"], changes={"Line": [line]})
    workbench.settle()
    assert workbench.outcome("invoice", "inv-1") == ("failed", "altered_document")
    workbench.replay(workbench.last("invoice", "inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("failed", "altered_document")
    workbench.bookkeeper("edit", entity="Invoice", id=made["Id"], changes={"Line": made["Line"]})
    workbench.replay(workbench.last("invoice", "inv-1"))
    link = workbench.link("invoice", "inv-1")
    assert link is not None
    assert (link.external_id, link.sync_token, str(link.total)) == (made["Id"], "2", "135.00")
    assert (len(workbench.objects()), workbench.codes()) == (1, [])


def test_an_altered_payment_stays_ours_when_it_is_tried_again(workbench: Workbench) -> None:
    """A retry of a payment that somebody voided meanwhile asks again, instead of recording the money twice."""
    workbench.bill("inv-1")
    workbench.settle()
    workbench.trouble("cut_after", entity="payment", times=1)
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 5000)), settle=False)
    workbench.run(workbench.last("payment", "pay-1"))
    (made,) = workbench.objects("Payment")
    workbench.bookkeeper("void", entity="Payment", id=made["Id"])
    workbench.switch(requestid_remembered=False)
    workbench.settle()
    for _ in range(2):
        assert workbench.outcome("payment", "pay-1") == ("failed", "altered_payment")
        assert len(workbench.objects("Payment")) == 1
        workbench.replay(workbench.last("payment", "pay-1"))
    workbench.bookkeeper("delete", entity="Payment", id=made["Id"])
    workbench.replay(workbench.last("payment", "pay-1"))
    assert workbench.outcome("payment", "pay-1") == ("succeeded", None)
    assert ([one["TotalAmt"] for one in workbench.objects("Payment")], workbench.codes()) == ([50], [])


def test_what_comes_to_pass_after_the_look_is_not_made_twice(workbench: Workbench) -> None:
    """QuickBooks does not show it yet when it is looked for: sent again under the same id, it is the same one."""
    workbench.bill("inv-1")
    workbench.settle()
    workbench.trouble("cut_after", entity="payment", times=1)
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 5000)), settle=False)
    workbench.switch(query_lag_seconds=60)
    workbench.settle()
    (made,) = workbench.objects("Payment")
    link = workbench.link("payment", "pay-1")
    assert link is not None
    assert link.external_id == made["Id"]


def test_a_look_that_is_refused_leaves_the_outcome_unknown(workbench: Workbench) -> None:
    """QuickBooks refuses the question, not the call: nothing is believed to be unsent, and it is asked again."""
    lose_the_answer(workbench)
    workbench.trouble("fault", operation="query", times=1, code="4000", fault_type="ValidationFault")
    workbench.run(workbench.operations()[0])
    (operation,) = workbench.operations()
    assert (operation.state, operation.outcome) == ("scheduled", "unknown")
    workbench.settle()
    assert (workbench.outcome("invoice", "inv-1"), len(workbench.objects())) == (("succeeded", None), 1)


@pytest.mark.parametrize("trouble", ["answer", "before"])
def test_a_refusal_that_follows_a_look_is_looked_into_even_twice(workbench: Workbench, trouble: str) -> None:
    """Stale once, then the answer lost and the id forgotten: that it is gone is what we did ourselves."""
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=False)
    workbench.say("credit_note.finalized", credit_note("cn-1"))
    (memo,) = workbench.objects("CreditMemo")
    note = {"CustomerMemo": {"value": "thank you"}}
    workbench.bookkeeper("edit", entity="CreditMemo", id=memo["Id"], changes=note)
    workbench.switch(requestid_remembered=False)
    kind = {"answer": "cut_after", "before": "cut_before"}[trouble]
    workbench.trouble(kind, entity="creditmemo", method="POST", skip=1, times=1)
    workbench.say("credit_note.voided", voided("cn-1"))
    assert workbench.outcome("credit_note", "cn-1") == ("succeeded", None)
    assert (workbench.objects("CreditMemo"), workbench.codes()) == ([], [])


def test_a_lost_link_is_found_again_before_anything_is_made(workbench: Workbench) -> None:
    """A correction of an invoice whose link row is gone asks first: the invoice is adopted, not doubled."""
    workbench.prefer("SalesFormsPrefs", CustomTxnNumbers=False)
    workbench.bill("inv-1")
    workbench.settle()
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(text("DELETE FROM link"))
    data = invoice("inv-1", customer_memo="thank you")
    workbench.say("invoice.corrected", data)
    (made,) = workbench.objects()
    link = workbench.link("invoice", "inv-1")
    assert link is not None
    assert link.external_id == made["Id"]
    assert "read_back" in workbench.timeline("invoice", "inv-1")


def test_who_was_to_ask_first_still_does_after_a_crash(workbench: Workbench) -> None:
    """The worker dies between the intent to ask and the asking: its successor asks, and makes nothing new."""
    test_a_lost_link_is_found_again_before_anything_is_made(workbench)
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(text("DELETE FROM link"))
        connection.execute(
            text(
                """UPDATE operation SET state = 'running', outcome = 'intended', lease_token = gen_random_uuid(),
                          reason_code = 'read_back', lease_until = clock_timestamp(), finished_at = NULL
                    WHERE revision = 2"""
            )
        )
    workbench.expire_leases()
    workbench.settle()
    assert len(workbench.objects()) == 1
    assert workbench.link("invoice", "inv-1") is not None


def test_asking_that_fails_leaves_the_outcome_unknown(workbench: Workbench) -> None:
    """The read-back itself is throttled: the call is not made anew from fresh data."""
    lose_the_answer(workbench)
    workbench.trouble("throttle", operation="query", times=1)
    workbench.run(workbench.operations()[0])
    assert workbench.operations()[0].outcome == "unknown"
    workbench.settle()
    assert len(workbench.objects()) == 1


def test_a_correction_that_comes_before_the_answer_is_no_difference(workbench: Workbench) -> None:
    """Billing corrects the invoice while the answer to its first export is lost: both go through, nobody is alarmed."""
    lose_the_answer(workbench)
    workbench.say("invoice.corrected", invoice("inv-1", net=18500), settle=False)
    workbench.settle()
    assert [one.state for one in workbench.operations("inv-1")] == ["succeeded", "succeeded"]
    assert workbench.objects()[0]["TotalAmt"] == 185.0
    assert workbench.codes() == []

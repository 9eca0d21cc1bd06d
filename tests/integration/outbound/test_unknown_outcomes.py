"""What nobody knows for certain stays unknown until QuickBooks was asked: nothing is doubled, nothing is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from tests.support.exporting import TENANT, Workbench, invoice


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


def test_a_repeated_create_is_linked_as_it_stands_now(workbench: Workbench) -> None:
    """Somebody edited our invoice before we heard of it: total and token are the present ones, and it is reported."""
    lose_the_answer(workbench)
    (made,) = workbench.objects()
    line = made["Line"][0] | {"Amount": 200, "SalesItemLineDetail": {"ItemRef": {"value": "3"}}}
    workbench.bookkeeper("edit", entity="Invoice", id=made["Id"], changes={"Line": [line]})
    workbench.settle()
    link = workbench.link("invoice", "inv-1")
    assert link is not None
    assert (link.sync_token, str(link.total)) == ("1", "200.00")
    assert workbench.codes() == ["total_differs"]


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
    workbench.run(workbench.operations()[0], workbench.new_runner(replay_within=timedelta(seconds=-1)))
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

"""A credit note from event to QuickBooks: negated, once, to the cent."""

from __future__ import annotations

import copy

import pytest
from sqlalchemy import text

from tests.support.exporting import LINE, REALM, TENANT, Workbench, credit_note


def mixed() -> list[dict[str, object]]:
    """Lines of -100 and +20."""
    line = copy.deepcopy(LINE) | {"quantity": "1"}
    return [
        line | {"id": "l1", "unit_price": "-100.00", "net_amount": -10000},
        line | {"id": "l2", "unit_price": "20.00", "net_amount": 2000},
    ]


def test_a_credit_note_is_negated_never_made_absolute(workbench: Workbench) -> None:
    """-100 and +20 become a credit memo of 80, with number, date, reason, and nothing sent to the client."""
    workbench.say("credit_note.finalized", credit_note("cn-1", number="CM-7", lines=mixed()))
    (memo,) = workbench.objects("CreditMemo")
    amounts = [line["Amount"] for line in memo["Line"] if line["DetailType"] == "SalesItemLineDetail"]
    assert (memo["DocNumber"], memo["TxnDate"], memo["TotalAmt"]) == ("CM-7", "2026-10-31", 80.0)
    assert amounts == [100.0, -20.0]
    assert memo["RemainingCredit"] == 80.0
    assert "Reason: service was down" in memo["PrivateNote"]
    assert (memo["EmailStatus"], memo["PrintStatus"]) == ("NotSet", "NotSet")
    link = workbench.link("credit_note", "cn-1")
    assert link is not None
    assert (link.external_type, link.external_id, str(link.total)) == ("CreditMemo", memo["Id"], "80.00")
    (told,) = workbench.told("document.synced")
    assert (told["total"], told["quickbooks_total"], told["document"]["kind"]) == (
        -8000,
        -8000,
        "credit_note",
    )
    assert workbench.timeline("credit_note", "cn-1") == ["CreditNoteFinalized", "calling", "succeeded"]
    assert workbench.reads == 0


def test_its_tax_is_negated_too(workbench: Workbench) -> None:
    """A credit for a taxed line gives back its tax, to the cent billing says."""
    workbench.map("tax_code", "CA", "2")
    lines = [
        copy.deepcopy(LINE)
        | {"quantity": "1", "unit_price": "-80.00", "net_amount": -8000, "is_taxable": True}
        | {"tax_amount": -641, "tax_region": "CA", "tax_rate": "8"}
    ]
    workbench.say("credit_note.finalized", credit_note("cn-1", lines=lines, tax=-641, total=-8641))
    (memo,) = workbench.objects("CreditMemo")
    assert (memo["TotalAmt"], memo["TxnTaxDetail"]["TotalTax"]) == (86.41, 6.41)
    assert workbench.exceptions() == []


@pytest.mark.parametrize("kind", ["cut_before", "cut_after", "hang_after"])
def test_a_lost_answer_makes_one_memo(workbench: Workbench, kind: str) -> None:
    """Whatever became of the answer: one credit memo, one link."""
    workbench.trouble(kind, entity="creditmemo", times=1)
    workbench.say("credit_note.finalized", credit_note("cn-1"))
    (memo,) = workbench.objects("CreditMemo")
    link = workbench.link("credit_note", "cn-1")
    assert link is not None
    assert link.external_id == memo["Id"]


def test_a_duplicate_event_makes_one_memo(workbench: Workbench) -> None:
    """The same message twice is one credit memo."""
    body = workbench.say("credit_note.finalized", credit_note("cn-1"))
    assert workbench.intake.take_over(body) == "duplicate"
    workbench.settle()
    assert len(workbench.objects("CreditMemo")) == 1


def test_a_missing_mapping_is_named(workbench: Workbench) -> None:
    """Nothing is sent; the exception says which line lacks what."""
    lines = mixed()
    lines[1]["service_id"] = "svc-unmapped"
    workbench.say("credit_note.finalized", credit_note("cn-1", lines=lines))
    assert workbench.outcome("credit_note", "cn-1") == ("failed", "missing_service_mapping")
    (exception,) = workbench.exceptions()
    assert "line 2" in exception.happened
    assert "credit note CN-1 of Cool Cars" in exception.title
    workbench.map("item", "svc-unmapped", "4")
    workbench.replay(workbench.last("credit_note", "cn-1"))
    assert len(workbench.objects("CreditMemo")) == 1
    assert workbench.exceptions() == []


def test_a_number_too_long_is_refused_before_the_call(workbench: Workbench) -> None:
    """A number is never cut: it must be the same in both books."""
    workbench.say("credit_note.finalized", credit_note("cn-1", number="CM-" + "1" * 19))
    assert workbench.outcome("credit_note", "cn-1") == ("failed", "number_too_long")
    assert workbench.objects("CreditMemo") == []


def test_our_memo_without_its_link_is_adopted_by_number(workbench: Workbench) -> None:
    """The link is lost, QuickBooks says that the number is in use: it bears our marker, so it is ours."""
    workbench.say("credit_note.finalized", credit_note("cn-1"))
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(text("DELETE FROM link"))
        connection.execute(
            text(
                """UPDATE operation SET state = 'queued', outcome = 'none', call = NULL, requestid = NULL,
                          generation = 7, finished_at = NULL"""
            )
        )
    workbench.settle()
    (memo,) = workbench.objects("CreditMemo")
    assert workbench.outcome("credit_note", "cn-1") == ("succeeded", None)
    link = workbench.link("credit_note", "cn-1")
    assert link is not None
    assert link.external_id == memo["Id"]
    assert workbench.timeline("credit_note", "cn-1")[-3:] == ["calling", "looked_again", "adopted"]


def test_a_bookkeepers_memo_of_the_same_number_is_left_alone(workbench: Workbench) -> None:
    """The number is taken by somebody else's: a person decides, and after a renumbering ours is made."""
    stranger = {
        "DocNumber": "CN-1",
        "CustomerRef": {"value": "2"},
        "TxnDate": "2026-10-31",
        "Line": [
            {
                "DetailType": "SalesItemLineDetail",
                "Amount": 80,
                "SalesItemLineDetail": {"ItemRef": {"value": "3"}},
            }
        ],
    }
    theirs = workbench.bookkeeper("create", entity="CreditMemo", body=stranger)
    workbench.say("credit_note.finalized", credit_note("cn-1"))
    assert workbench.outcome("credit_note", "cn-1") == ("failed", "number_in_use")
    assert workbench.link("credit_note", "cn-1") is None
    workbench.bookkeeper("edit", entity="CreditMemo", id=theirs["Id"], changes={"DocNumber": "OLD-1"})
    workbench.replay(workbench.last("credit_note", "cn-1"))
    assert workbench.outcome("credit_note", "cn-1") == ("succeeded", None)
    assert workbench.counters()["companies"][REALM]["creates"] == {"CreditMemo": 1}


def test_a_credited_quantity_is_positive_in_quickbooks(workbench: Workbench) -> None:
    """Two pieces taken back at 40 are two pieces at 40 on a credit memo, however billing writes the minus."""
    line = copy.deepcopy(LINE) | {"quantity": "-2", "unit_price": "40.00", "net_amount": -8000}
    workbench.say("credit_note.finalized", credit_note("cn-1", lines=[line]))
    (memo,) = workbench.objects("CreditMemo")
    detail = memo["Line"][0]["SalesItemLineDetail"]
    assert (memo["Line"][0]["Amount"], detail["Qty"], detail["UnitPrice"]) == (80.0, 2, 40.0)

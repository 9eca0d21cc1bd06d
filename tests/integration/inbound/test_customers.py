"""Customers that are renamed, put out of use, deleted or merged; and refund receipts."""

from __future__ import annotations

from tests.support.inbound import InboundBench


def mapped(bench: InboundBench) -> tuple[str, str]:
    """The customer of client cl-1: id and name."""
    (row,) = bench.rows(
        "SELECT external_id, external_name FROM mapping WHERE kind = 'customer' AND key = 'cl-1'"
    )
    return row.external_id, row.external_name


def test_a_rename_refreshes_the_name_and_strangers_are_ignored(bench: InboundBench) -> None:
    """The name people see follows; customers of nobody open nothing."""
    bench.bookkeeper("edit", entity="Customer", id="2", changes={"DisplayName": "Cool Cars Ltd"})
    bench.bookkeeper("edit", entity="Customer", id="3", changes={"DisplayName": "Somebody else"})
    cycle = bench.poll()
    assert mapped(bench) == ("2", "Cool Cars Ltd")
    assert cycle.outcomes["unmapped"] >= 1
    assert bench.exceptions() == []


def test_out_of_use_and_in_use_again(bench: InboundBench) -> None:
    """An exception about the client, closed by itself when the customer is active again (D25)."""
    bench.bookkeeper("edit", entity="Customer", id="2", changes={"Active": False})
    bench.poll()
    (open_,) = bench.exceptions()
    assert (open_.type, open_.code, open_.entity_kind, open_.entity_id) == (
        "accounting_sync_customer_unlinked",
        "inactive",
        "client",
        "cl-1",
    )
    bench.bookkeeper("edit", entity="Customer", id="2", changes={"Active": True})
    bench.poll()
    assert bench.exceptions() == []


def test_the_link_follows_a_merge_and_documents_do_not_drift(bench: InboundBench) -> None:
    """The loser's id is gone, its invoice belongs to the survivor: so does the client, and nobody is asked."""
    bench.invoice("inv-1")
    bench.bookkeeper("merge-customers", loser="2", survivor="3")
    bench.poll()
    assert mapped(bench)[0] == "3"
    assert bench.told("document.drifted") == []
    assert bench.exceptions() == []


def test_what_was_refused_for_a_merge_goes_once_the_merge_is_seen(bench: InboundBench) -> None:
    """Exported between the merge and the poll that shows it: refused, and sent to the survivor by itself afterwards."""
    bench.invoice("inv-1")
    bench.bookkeeper("merge-customers", loser="2", survivor="3")
    bench.bill("inv-2")
    bench.settle()
    assert bench.outcome("invoice", "inv-2")[0] == "failed"
    bench.poll()
    assert bench.outcome("invoice", "inv-2") == ("succeeded", None)
    link = bench.link("invoice", "inv-2")
    assert link is not None
    assert link.snapshot["CustomerRef"]["value"] == "3"
    assert bench.exceptions() == []


def test_a_merge_into_the_customer_of_another_client_asks(bench: InboundBench) -> None:
    """Two clients on one customer is nothing we decide."""
    bench.map("customer", "cl-3", "3")
    bench.invoice("inv-1")
    bench.bookkeeper("merge-customers", loser="2", survivor="3")
    bench.poll()
    assert bench.codes() == ["merged_into_linked"]
    assert mapped(bench)[0] == "2"


def test_a_customer_that_vanished_without_documents(bench: InboundBench) -> None:
    """Nobody can say where it went: a person links the client."""
    bench.bookkeeper("merge-customers", loser="2", survivor="3")
    bench.poll()
    assert bench.codes() == ["deleted"]


def test_a_refund_receipt_is_reported_and_withdrawn(bench: InboundBench) -> None:
    """With amount and date and what to do; deleted, it is no question any more. Strangers' are counted only."""
    detail = {"ItemRef": {"value": "3"}, "TaxCodeRef": {"value": "NON"}}
    line = {"DetailType": "SalesItemLineDetail", "Amount": 25, "SalesItemLineDetail": detail}
    made = []
    for customer in ("2", "3"):
        body = {
            "CustomerRef": {"value": customer},
            "TxnDate": "2026-11-05",
            "DepositToAccountRef": {"value": "5"},
            "Line": [line],
        }
        made.append(bench.bookkeeper("create", entity="RefundReceipt", body=body)["Id"])
    bench.poll()
    (open_,) = bench.exceptions()
    assert (open_.code, open_.amount, open_.client_id) == ("refund_receipt", 2500, "cl-1")
    assert "2026-11-05" in open_.fix
    bench.bookkeeper("delete", entity="RefundReceipt", id=made[0])
    bench.poll()
    assert bench.exceptions() == []

"""Closed books: 6200/6210 for every write into a closed period.

Source: https://developer.intuit.com/app/developer/qbo/docs/develop/troubleshooting/error-codes; which of the two codes
comes when is not documented: a switch.
"""

from __future__ import annotations

from tests.contract.sandbox.books import Books, invoice_body, payment_body, sales_line


def test_writes_into_a_closed_period_are_refused(us: Books) -> None:
    """Create, edit, void and delete of documents dated in the closed period are refused, and moving one into it.

    [D-err]
    """
    invoice, memo, payment = us.invoice(), us.memo(), us.pay("10.00")
    later = us.invoice(TxnDate="2026-06-01")
    us.desk("close-books", {"through": "2026-03-31"})
    assert us.get("/preferences")["Preferences"]["AccountingInfoPrefs"]["BookCloseDate"] == "2026-03-31"
    us.refused("/invoice", invoice_body(), "6210")
    us.refused("/payment", payment_body("1.00"), "6210")
    for path, row in (("/invoice", invoice), ("/creditmemo", memo), ("/payment", payment)):
        us.refused(path, {"Id": row["Id"], "SyncToken": "0"}, "6210", operation="delete")
    edit = {"Id": invoice["Id"], "SyncToken": "0", "sparse": True, "Line": [sales_line("1.00")]}
    us.refused("/invoice", edit, "6210")
    us.refused("/invoice", {"Id": invoice["Id"], "SyncToken": "0"}, "6210", operation="void")
    us.refused(
        "/invoice", {"Id": later["Id"], "SyncToken": "0", "sparse": True, "TxnDate": "2026-03-31"}, "6210"
    )
    us.switch(closed_period_code="6200")
    us.refused("/invoice", invoice_body(), "6200")


def test_open_period_payment_on_a_closed_period_invoice(us: Books) -> None:
    """A payment dated in the open period settles an invoice of the closed one [D-err]."""
    invoice = us.invoice("100.00")
    us.desk("close-books", {"through": "2026-03-31"})
    us.pay("100.00", {invoice["Id"]: "100.00"}, TxnDate="2026-04-01")
    assert us.read("Invoice", invoice["Id"])["Balance"] == 0


def test_the_bookkeeper_may_and_can_reopen(us: Books) -> None:
    """In the browser a person may write into the closed period, and open the books again [D-err]."""
    invoice = us.invoice()
    us.desk("close-books", {"through": "2026-03-31"})
    us.desk("void", {"entity": "Invoice", "id": invoice["Id"]})
    us.desk("close-books", {"through": None})
    us.invoice()

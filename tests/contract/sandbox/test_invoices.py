"""Invoices: required fields, lengths, arithmetic, numbers, updates, void, delete.

Source: https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/invoice
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.contract.sandbox.books import Books, invoice_body, sales_line


def test_create_answers_with_everything_computed(us: Books) -> None:
    """A create needs no read after it: the reply carries Id, SyncToken 0, totals and the subtotal line.

    [D-inv, B-meter]
    """
    invoice = us.invoice("250.00", DocNumber="INV-1")
    assert (invoice["SyncToken"], invoice["TotalAmt"], invoice["Balance"]) == (
        "0",
        Decimal(250),
        Decimal(250),
    )
    assert invoice["CustomerRef"]["name"] == "Amy's Bird Sanctuary"
    assert [line["DetailType"] for line in invoice["Line"]] == ["SalesItemLineDetail", "SubTotalLineDetail"]
    assert "Id" not in invoice["Line"][1]
    assert us.read("Invoice", invoice["Id"]) == invoice


@pytest.mark.parametrize(
    ("change", "code", "element"),
    [
        ({"CustomerRef": None}, "2020", "CustomerRef"),
        ({"Line": None}, "2020", "Line"),
        ({"Line": []}, "2250", "Line"),
        ({"CustomerRef": {"value": "999"}}, "2500", "CustomerRef"),
        ({"DocNumber": "x" * 22}, "2050", "DocNumber"),
        ({"PrivateNote": "x" * 4001}, "2050", "PrivateNote"),
        ({"CustomerMemo": {"value": "x" * 1001}}, "2050", "CustomerMemo.value"),
        ({"BillEmail": {"Address": "nobody"}}, "2210", "BillEmail.Address"),
        ({"TxnDate": "31.03.2026"}, "2060", "TxnDate"),
        ({"TxnDate": "20260331"}, "2060", "TxnDate"),
        ({"TxnDate": "2026-03-311"}, "2060", "TxnDate"),
        ({"TxnDate": "2026-02-30"}, "2060", "TxnDate"),
        ({"EmailStatus": "Perhaps"}, "2170", "EmailStatus"),
        ({"NoSuchField": 1}, "2010", "NoSuchField"),
        ({"TemplateRef": {"value": "1"}}, "sandbox-not-modelled", ""),
    ],
)
def test_bad_field_is_refused_by_name(us: Books, change: dict[str, object], code: str, element: str) -> None:
    """Each invalid field answers its own code by name, one of Intuit's without rules here says so [D-err, XSD]."""
    assert us.refused("/invoice", invoice_body(**change), code)["element"] == element


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ({**sales_line("10.00"), "DetailType": None}, "2020"),
        ({**sales_line("10.00"), "Amount": None}, "2020"),
        ({**sales_line("10.00"), "Description": "x" * 4001}, "2050"),
        (sales_line("10.00", Qty=3, UnitPrice=Decimal("3.33")), "6070"),
        (sales_line("10.00", ItemRef={"value": "999"}), "2500"),
        (sales_line("10.00", ItemRef={"value": "9"}), "6000"),
        (sales_line("-0.01"), "6000"),
        (sales_line("1234567890123456"), "2090"),
        ({**sales_line("10.00"), "Amount": "1_000"}, "2090"),
        ({**sales_line("10.00"), "Amount": "\u0661\u0662"}, "2090"),
    ],
)
def test_bad_line_is_refused(us: Books, line: dict[str, object], code: str) -> None:
    """Missing parts, wrong arithmetic (6070), a category as item, a negative total: refused [D-err]."""
    us.refused("/invoice", invoice_body(Line=[line]), code)


def test_amount_equals_quantity_times_price_after_rounding(us: Books) -> None:
    """Up to seven decimals in UnitPrice are fine when the product rounds to Amount (half up) [D-inv]."""
    line = sales_line("33.33", Qty=3, UnitPrice=Decimal("11.1111111"))
    assert us.invoice(Line=[line])["TotalAmt"] == Decimal("33.33")
    half = sales_line("0.13", Qty=Decimal("0.5"), UnitPrice=Decimal("0.25"))
    assert us.invoice(Line=[half])["TotalAmt"] == Decimal("0.13")


def test_negative_lines_reduce_a_total_that_stays_positive(us: Books) -> None:
    """Discounts as negative lines are accepted while the total is 0 or more; a zero invoice is fine [D-inv]."""
    assert us.invoice(Line=[sales_line("100.00"), sales_line("-30.00")])["TotalAmt"] == 70
    assert us.invoice(Line=[sales_line("100.00"), sales_line("-100.00")])["TotalAmt"] == 0


def test_missing_item_gets_the_default_item(us: Books) -> None:
    """Without ItemRef QuickBooks silently puts its default item (seen live) [seen]."""
    line = sales_line("5.00")
    del line["SalesItemLineDetail"]["ItemRef"]
    assert us.invoice(Line=[line])["Line"][0]["SalesItemLineDetail"]["ItemRef"]["value"] == "1"


def test_discount_line_takes_off_the_total(us: Books) -> None:
    """A positive amount, or a percentage of all lines, reduces the total; wherever it stood, it comes last [D-inv]."""
    percent = {
        "DetailType": "DiscountLineDetail",
        "DiscountLineDetail": {"PercentBased": True, "DiscountPercent": 10},
    }
    fixed = {"DetailType": "DiscountLineDetail", "Amount": 5, "DiscountLineDetail": {"PercentBased": False}}
    assert us.invoice(Line=[sales_line("80.00"), percent])["TotalAmt"] == 72
    assert us.invoice(Line=[sales_line("80.00"), fixed])["TotalAmt"] == 75
    assert us.invoice(Line=[percent, sales_line("80.00")])["TotalAmt"] == 72
    last = us.invoice(Line=[sales_line("80.00"), percent, sales_line("20.00")])
    assert last["TotalAmt"] == 90
    kinds = [line["DetailType"] for line in last["Line"]]
    assert kinds == ["SalesItemLineDetail"] * 2 + ["SubTotalLineDetail", "DiscountLineDetail"]
    us.prefer("SalesFormsPrefs", AllowDiscount=False)
    us.refused("/invoice", invoice_body(Line=[sales_line("80.00"), fixed]), "6090")


def test_inactive_item_is_refused(us: Books) -> None:
    """A reference to something inactive answers 610; by switch 2500, or 6250 for a customer [D-err, switch]."""
    us.desk("edit", {"entity": "Item", "id": "5", "changes": {"Active": False}})
    body = invoice_body(Line=[sales_line("10.00", ItemRef={"value": "5"})])
    us.refused("/invoice", body, "610")
    us.switch(inactive_reference_code="2500")
    us.refused("/invoice", body, "2500")
    us.desk("edit", {"entity": "Customer", "id": "3", "changes": {"Active": False}})
    us.switch(inactive_reference_code="6250")
    us.refused("/invoice", invoice_body(CustomerRef={"value": "3"}), "6250")
    us.refused("/invoice", body, "610")


def test_duplicate_number_is_refused_by_preference(us: Books) -> None:
    """6140 needs custom numbers and the warning switched on; include=allowduplicatedocnum overrides it.

    [D-common, D-inv]
    """
    first = us.invoice(DocNumber="A-1")
    error = us.refused("/invoice", invoice_body(DocNumber="A-1"), "6140")
    assert f"TxnId={first['Id']}" in error["Detail"]
    us.post("/invoice", invoice_body(DocNumber="A-1"), include="allowduplicatedocnum")
    us.memo(DocNumber="A-1")
    us.switch(warn_duplicate_number=False)
    us.invoice(DocNumber="A-1")
    us.switch(warn_duplicate_number=True)
    us.prefer("SalesFormsPrefs", CustomTxnNumbers=False)
    us.invoice(DocNumber="A-1")


def test_missing_number_by_preference(us: Books) -> None:
    """Custom numbers on: a missing DocNumber stays empty; off: the next in sequence; AUTO_GENERATE forces it.

    [D-inv, seen]
    """
    assert "DocNumber" not in us.invoice()
    assert us.invoice(DocNumber="AUTO_GENERATE")["DocNumber"] == "1001"
    us.prefer("SalesFormsPrefs", CustomTxnNumbers=False)
    assert us.invoice()["DocNumber"] == "1002"


def test_due_date_follows_the_term(us: Books) -> None:
    """Without DueDate the term decides: days after, or a day of the month [D-inv]."""
    assert us.invoice(SalesTermRef={"value": "4"})["DueDate"] == "2026-04-01"
    assert us.invoice(SalesTermRef={"value": "6"})["DueDate"] == "2026-03-15"
    assert us.invoice(SalesTermRef={"value": "6"}, TxnDate="2026-03-12")["DueDate"] == "2026-04-15"
    assert us.invoice()["DueDate"] == "2026-03-02"
    assert us.invoice(DueDate="2026-05-05", SalesTermRef={"value": "4"})["DueDate"] == "2026-05-05"


def test_sparse_update_keeps_what_is_not_sent(us: Books) -> None:
    """A sparse update changes the named fields; a Line array replaces all lines, known ids kept [D-rest]."""
    invoice = us.invoice("10.00", PrivateNote="note", DocNumber="S-1")
    body = {"Id": invoice["Id"], "SyncToken": "0", "sparse": True, "CustomerMemo": {"value": "hello"}}
    changed = us.post("/invoice", body)["Invoice"]
    assert (changed["PrivateNote"], changed["TotalAmt"], changed["SyncToken"]) == ("note", 10, "1")
    lines = [sales_line("1.00"), {**sales_line("2.00"), "Id": "1"}]
    body = {"Id": invoice["Id"], "SyncToken": "1", "sparse": True, "Line": lines}
    changed = us.post("/invoice", body)["Invoice"]
    assert [(line.get("Id"), line["Amount"]) for line in changed["Line"]] == [("2", 1), ("1", 2), (None, 3)]


def test_full_update_empties_what_is_not_sent(us: Books) -> None:
    """Without sparse every writable field that is left out is nulled; read-only fields in the body are ignored.

    [D-rest]
    """
    invoice = us.invoice("10.00", PrivateNote="note", DueDate="2026-09-09", DocNumber="F-1")
    body = invoice_body("20.00", Id=invoice["Id"], SyncToken="0", TotalAmt=Decimal(999), Balance=Decimal(1))
    changed = us.post("/invoice", body)["Invoice"]
    assert "PrivateNote" not in changed
    assert "DocNumber" not in changed
    assert (changed["TotalAmt"], changed["Balance"], changed["DueDate"]) == (20, 20, "2026-03-02")
    assert changed["MetaData"]["CreateTime"] == invoice["MetaData"]["CreateTime"]


def test_stale_sync_token_is_refused(us: Books) -> None:
    """An update, void or delete with an old SyncToken answers 5010 and changes nothing [D-rest, D-err]."""
    invoice = us.invoice()
    us.post("/invoice", {"Id": invoice["Id"], "SyncToken": "0", "sparse": True, "PrivateNote": "x"})
    stale = {"Id": invoice["Id"], "SyncToken": "0", "sparse": True}
    us.refused("/invoice", stale, "5010")
    us.refused("/invoice", stale, "5010", operation="void")
    us.refused("/invoice", stale, "5010", operation="delete")
    us.refused("/invoice", {"Id": invoice["Id"], "sparse": True}, "2020")


def test_voided_note_stays_within_its_length(us: Books) -> None:
    """Voiding an invoice with the longest note leaves one that may be sent back [D-inv]."""
    invoice = us.invoice(PrivateNote="x" * 4000)
    voided = us.post("/invoice", {"Id": invoice["Id"], "SyncToken": "0"}, operation="void")["Invoice"]
    assert (len(voided["PrivateNote"]), voided["PrivateNote"][:6]) == (4000, "Voided")
    us.post("/invoice", voided)


def test_unset_fields_of_sdks_are_absent_fields(us: Books) -> None:
    """SDKs send empty dates and words, and zeros as quantity and price, for what was not set [seen]."""
    unset = {"TxnDate": "", "DueDate": "", "ShipDate": "", "DocNumber": "", "PrivateNote": "", "TotalAmt": ""}
    more = {
        "Deposit": 0,
        "Balance": 0,
        "PrintStatus": "",
        "EInvoiceStatus": None,
        "CustomField": [],
        "LinkedTxn": [],
    }
    line = {**sales_line("100.00", Qty=0, UnitPrice=0, ServiceDate=""), "LineNum": 0, "LinkedTxn": []}
    made = us.invoice(**unset, **more, Line=[line])
    assert (made["TotalAmt"], made["PrintStatus"], "ShipDate" in made) == (100, "NotSet", False)
    assert made["DueDate"] == made["TxnDate"]
    body = {"DisplayName": "A", "PreferredDeliveryMethod": "", "Title": "", "Balance": 0, "Notes": ""}
    assert us.post("/customer", body)["Customer"]["PreferredDeliveryMethod"] == "None"


def test_void_empties_the_invoice(us: Books) -> None:
    """Voided: live object, totals and lines at zero, PrivateNote begins with Voided, SyncToken moved on.

    [D-inv, seen]
    """
    invoice = us.invoice(PrivateNote="ours", DocNumber="V-1")
    reply = us.post("/invoice", {"Id": invoice["Id"], "SyncToken": "0"}, operation="void")["Invoice"]
    voided = us.read("Invoice", invoice["Id"])
    assert reply == voided
    assert (voided["TotalAmt"], voided["Balance"], voided["SyncToken"], voided["DocNumber"]) == (
        0,
        0,
        "1",
        "V-1",
    )
    assert voided["PrivateNote"] == "Voided - ours"
    assert {line.get("Amount") for line in voided["Line"]} == {0}


def test_void_reply_may_show_old_amounts(us: Books) -> None:
    """By switch the reply to a void still shows the old amounts and token (recorded live); the books do not [seen]."""
    us.switch(void_reply_shows_old_amounts=True)
    invoice = us.invoice("50.00")
    reply = us.post("/invoice", {"Id": invoice["Id"], "SyncToken": "0"}, operation="void")["Invoice"]
    assert (reply["PrivateNote"], reply["TotalAmt"], reply["SyncToken"]) == ("Voided", 50, "0")
    assert us.read("Invoice", invoice["Id"])["TotalAmt"] == 0


def test_void_of_a_paid_invoice_leaves_the_payment_unapplied(us: Books) -> None:
    """A paid invoice can be voided; its payment stays with everything unapplied (seen live) [seen]."""
    invoice = us.invoice("100.00")
    payment = us.pay("100.00", {invoice["Id"]: "100.00"})
    us.post("/invoice", {"Id": invoice["Id"], "SyncToken": "1"}, operation="void")
    left = us.read("Payment", payment["Id"])
    assert (left["TotalAmt"], left["UnappliedAmt"], left["Line"]) == (100, 100, [])
    assert us.read("Invoice", invoice["Id"])["LinkedTxn"] == []


def test_deleted_invoice_is_gone(us: Books) -> None:
    """Delete answers the short form; afterwards a read answers 610 and a query does not find it [D-inv]."""
    invoice = us.invoice(DocNumber="D-1")
    reply = us.post("/invoice", {"Id": invoice["Id"], "SyncToken": "0"}, operation="delete")
    assert reply["Invoice"] == {"domain": "QBO", "status": "Deleted", "Id": invoice["Id"]}
    answer = us.raw("GET", f"/invoice/{invoice['Id']}")
    assert (answer.status_code, answer.json()["Fault"]["Error"][0]["code"]) == (400, "610")
    assert us.query("SELECT * FROM Invoice WHERE DocNumber = 'D-1'") == {}
    us.refused("/invoice", {"Id": invoice["Id"], "SyncToken": "0"}, "610", operation="void")


def test_smaller_invoice_pushes_the_surplus_off_its_payment(us: Books) -> None:
    """Editing a paid invoice below what is paid leaves a balance of zero and an unapplied rest on the payment.

    [seen]
    """
    invoice = us.invoice("100.00")
    payment = us.pay("100.00", {invoice["Id"]: "100.00"})
    body = {"Id": invoice["Id"], "SyncToken": "1", "sparse": True, "Line": [sales_line("60.00")]}
    changed = us.post("/invoice", body)["Invoice"]
    assert (changed["TotalAmt"], changed["Balance"], len(changed["LinkedTxn"])) == (60, 0, 1)
    assert us.read("Payment", payment["Id"])["UnappliedAmt"] == 40


def test_classes_and_departments_by_preference_and_plan(us: Books) -> None:
    """Tracking off: silently dropped. A plan without the feature: 5030. Unknown class: 2500 [D-inv]."""
    line = sales_line("10.00", ClassRef={"value": "1"})
    tagged = us.invoice(Line=[line], DepartmentRef={"value": "2"}, ClassRef={"value": "1"})
    assert tagged["Line"][0]["SalesItemLineDetail"]["ClassRef"]["name"] == "Managed"
    assert tagged["DepartmentRef"]["name"] == "Field"
    assert "ClassRef" not in tagged
    us.refused("/invoice", invoice_body(Line=[sales_line("10.00", ClassRef={"value": "77"})]), "2500")
    us.prefer("AccountingInfoPrefs", ClassTrackingPerTxnLine=False, TrackDepartments=False)
    dropped = us.invoice(Line=[line], DepartmentRef={"value": "2"})
    assert "ClassRef" not in dropped["Line"][0]["SalesItemLineDetail"]
    assert "DepartmentRef" not in dropped
    us.control("PATCH", f"/companies/{us.realm}", {"plan": "SimpleStart"})
    us.refused("/invoice", invoice_body(Line=[line]), "5030")


def test_unmodelled_parts_are_refused_loudly(us: Books) -> None:
    """What the sandbox does not know is refused by name and listed on the control port, never invented [ours]."""
    estimate = {"LinkedTxn": [{"TxnId": "1", "TxnType": "Estimate"}]}
    own = {"CustomField": [{"DefinitionId": "1", "Type": "StringType", "StringValue": "blue"}]}
    line = {"Line": [{**sales_line("1.00"), **estimate}]}
    for part in (line, estimate, own):
        us.refused("/invoice", invoice_body(**part), "sandbox-not-modelled")
    assert us.control("GET", "/unmodelled")[us.realm] == {
        "Line.LinkedTxn: lines linked to estimates or time": 1,
        "LinkedTxn to Estimate": 1,
        "CustomField: custom fields, which a company defines first": 1,
    }


def test_links_of_payments_are_quickbooks_own(us: Books) -> None:
    """Payment links that are sent back, or left out, change nothing: QuickBooks keeps them [D-inv]."""
    made = us.invoice("50.00")
    payment = us.pay("20.00", {made["Id"]: "20.00"})
    read = us.read("Invoice", made["Id"])
    for changes in ({"LinkedTxn": [{"TxnId": "999", "TxnType": "Payment"}]}, {}):
        body = {"Id": read["Id"], "SyncToken": read["SyncToken"], **invoice_body("50.00"), **changes}
        read = us.post("/invoice", body)["Invoice"]
        assert read["LinkedTxn"] == [{"TxnId": payment["Id"], "TxnType": "Payment"}]
        assert read["Balance"] == 30


def test_pdf_and_sending(us: Books) -> None:
    """An invoice can be had as PDF, and sent: EmailStatus becomes EmailSent; 40 mails a day are the limit [D-inv]."""
    invoice = us.invoice()
    paper = us.raw("GET", f"/invoice/{invoice['Id']}/pdf", headers={"Accept": "application/pdf"})
    assert (paper.headers["content-type"], paper.content[:5]) == ("application/pdf", b"%PDF-")
    us.switch(emails_per_day=1)
    sent = us.raw(
        "POST", f"/invoice/{invoice['Id']}/send", headers={"Content-Type": "application/octet-stream"}
    )
    assert sent.json()["Invoice"]["EmailStatus"] == "EmailSent"
    again = us.raw(
        "POST", f"/invoice/{invoice['Id']}/send", headers={"Content-Type": "application/octet-stream"}
    )
    assert again.json()["Fault"]["Error"][0]["code"] == "6000"

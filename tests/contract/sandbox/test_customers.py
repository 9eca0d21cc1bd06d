"""Customers: names, sub-customers, currency, inactive, merge - and the other lists.

Source: https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/customer
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.contract.sandbox.books import Books, invoice_body, sales_line


def test_name_is_taken_once(us: Books) -> None:
    """6240 without regard to case and blanks, for customers, inactive ones included, and vendors [D-cust, D-err]."""
    created = us.post("/customer", {"DisplayName": " Acme Ltd "})["Customer"]
    assert created["DisplayName"] == "Acme Ltd"
    us.refused("/customer", {"DisplayName": "ACME  ltd"}, "6240")
    us.desk("edit", {"entity": "Customer", "id": created["Id"], "changes": {"Active": False}})
    us.refused("/customer", {"DisplayName": "Acme Ltd"}, "6240")
    us.desk("create", {"entity": "Vendor", "body": {"DisplayName": "Paper Co"}})
    us.refused("/customer", {"DisplayName": "Paper Co"}, "6240")
    us.post("/customer", {"DisplayName": "Acme Ltd."})


def test_inactive_customer_hides_from_queries(us: Books) -> None:
    """A name query finds active rows only; asking for Active IN (true, false) finds all; documents answer 610.

    [D-rest]
    """
    us.desk("edit", {"entity": "Customer", "id": "2", "changes": {"Active": False}})
    assert us.query("SELECT * FROM Customer WHERE DisplayName = 'Cool Cars'") == {}
    found = us.query("SELECT * FROM Customer WHERE DisplayName = 'Cool Cars' AND Active IN (true, false)")
    assert found["Customer"][0]["Id"] == "2"
    us.refused("/invoice", invoice_body(CustomerRef={"value": "2"}), "610")


def test_inactive_name_may_carry_a_suffix(us: Books) -> None:
    """By switch an inactive customer is shown with ' (deleted)'; the name stays taken [switch]."""
    us.switch(inactive_name_suffix=True)
    us.desk("edit", {"entity": "Customer", "id": "2", "changes": {"Active": False}})
    assert us.read("Customer", "2")["DisplayName"] == "Cool Cars (deleted)"
    us.refused("/customer", {"DisplayName": "Cool Cars"}, "6240")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "2020"),
        ({"DisplayName": "a:b"}, "2040"),
        ({"DisplayName": "a\tb"}, "2040"),
        ({"DisplayName": "a\rb"}, "2040"),
        ({"DisplayName": "a", "PreferredDeliveryMethod": "Pigeon"}, "2170"),
        ({"DisplayName": "a", "NoSuchField": "b"}, "2010"),
        ({"DisplayName": "a", "CustomerTypeRef": {"value": "1"}}, "sandbox-not-modelled"),
        ({"DisplayName": "x" * 501}, "2050"),
        ({"DisplayName": "a", "GivenName": "x" * 101}, "2050"),
        ({"DisplayName": "a", "PrimaryEmailAddr": {"Address": "nobody"}}, "2210"),
        ({"DisplayName": "a", "PrimaryPhone": {"FreeFormNumber": "1" * 22}}, "2050"),
        ({"DisplayName": "a", "BillAddr": {"PostalCode": "1" * 31}}, "2050"),
        ({"DisplayName": "a", "Job": True}, "2020"),
        ({"DisplayName": "a", "Job": True, "ParentRef": {"value": "999"}}, "2500"),
        ({"DisplayName": "a", "CurrencyRef": {"value": "EUR"}}, "6000"),
    ],
)
def test_bad_customer_is_refused(us: Books, body: dict[str, object], code: str) -> None:
    """Each rule of names, lengths, parents and currency answers its code; nothing is created [D-err]."""
    us.refused("/customer", body, code)


def test_sub_customers_nest_five_levels(us: Books) -> None:
    """FullyQualifiedName is Parent:Child; the sixth level answers 6180; balances add up at the parent.

    [D-cust, D-err]
    """
    parent = "1"
    for level in range(1, 5):
        body = {"DisplayName": f"Level {level}", "Job": True, "ParentRef": {"value": parent}}
        child = us.post("/customer", body)["Customer"]
        assert child["Level"] == level
        parent = child["Id"]
    assert child["FullyQualifiedName"] == "Amy's Bird Sanctuary:Level 1:Level 2:Level 3:Level 4"
    us.refused("/customer", {"DisplayName": "Level 5", "Job": True, "ParentRef": {"value": parent}}, "6180")
    us.invoice("30.00", CustomerRef={"value": parent})
    top = us.read("Customer", "1")
    assert (top["Balance"], top["BalanceWithJobs"]) == (0, 30)


def test_a_branch_moves_with_its_levels(us: Books) -> None:
    """A customer that moves takes its sub-customers along, names and levels; a sixth level among them answers 6180.

    [D-cust, D-err]
    """
    chain = []
    for level in range(3):
        above = {"Job": True, "ParentRef": {"value": chain[-1]}} if chain else {}
        row = us.post("/customer", {"DisplayName": f"Branch {level}", **above})["Customer"]
        chain.append(row["Id"])
    move = {"Id": chain[0], "SyncToken": "0", "sparse": True, "Job": True}
    us.post("/customer", {**move, "ParentRef": {"value": "2"}})
    lowest = us.read("Customer", chain[2])
    assert lowest["FullyQualifiedName"] == "Cool Cars:Branch 0:Branch 1:Branch 2"
    assert lowest["Level"] == 3
    deep = us.post("/customer", {"DisplayName": "A", "Job": True, "ParentRef": {"value": "3"}})["Customer"]
    deeper = us.post("/customer", {"DisplayName": "B", "Job": True, "ParentRef": {"value": deep["Id"]}})
    parent = {"value": deeper["Customer"]["Id"]}
    us.refused("/customer", {**move, "SyncToken": "1", "ParentRef": parent}, "6180")


@pytest.mark.parametrize("entity", ["Class", "Department", "Account", "Item"])
def test_lists_nest_five_levels(us: Books, entity: str) -> None:
    """A sixth level answers 6180, a row is never below itself, and a new name shows in the names below [D-err, XSD]."""
    path, more = f"/{entity.lower()}", {"Account": {"AccountType": "Bank"}, "Item": {"Type": "Category"}}
    chain = []
    for level in range(5):
        above = {"ParentRef": {"value": chain[-1]["Id"]}} if chain else {}
        chain.append(us.post(path, {"Name": f"N{level}", **more.get(entity, {}), **above})[entity])
    sixth = {"Name": "N5", **more.get(entity, {}), "ParentRef": {"value": chain[-1]["Id"]}}
    us.refused(path, sixth, "6180")
    top = {"Id": chain[0]["Id"], "SyncToken": "0", "sparse": True}
    us.refused(path, {**top, "ParentRef": {"value": chain[1]["Id"]}}, "6000")
    us.refused(path, {**top, "ParentRef": {"value": chain[0]["Id"]}}, "6000")
    us.post(path, {**top, "Name": "Top"})
    second = us.read(entity, chain[1]["Id"])
    assert us.read(entity, chain[4]["Id"])["FullyQualifiedName"] == "Top:N1:N2:N3:N4"
    assert (second["ParentRef"]["name"], second["SyncToken"]) == ("Top", "0")


def test_renaming_shows_everywhere(us: Books) -> None:
    """A new name shows on documents and sub-customers without a new SyncToken on them [D-cust, seen]."""
    invoice = us.invoice()
    body = {"DisplayName": "Branch", "Job": True, "ParentRef": {"value": "1"}}
    branch = us.post("/customer", body)["Customer"]
    us.desk("edit", {"entity": "Customer", "id": "1", "changes": {"DisplayName": "Amy's Birds"}})
    shown = us.read("Invoice", invoice["Id"])
    assert (shown["CustomerRef"]["name"], shown["SyncToken"]) == ("Amy's Birds", "0")
    assert us.read("Customer", branch["Id"])["FullyQualifiedName"] == "Amy's Birds:Branch"


def test_new_names_of_lists_show_on_documents(us: Books) -> None:
    """Items, classes, terms, accounts show a new name wherever they are named, SyncTokens stay [D-rest, seen]."""
    line = {"ItemRef": {"value": "2"}, "ClassRef": {"value": "1"}}
    invoice = us.invoice(Line=[sales_line("9.00", **line)], SalesTermRef={"value": "4"})
    item = us.read("Item", "2")
    names = {
        "Item": ("2", "Time"),
        "Class": ("1", "Care"),
        "Term": ("4", "Month"),
        "Account": ("1", "Income"),
    }
    for entity, (key, name) in names.items():
        edit = {"Id": key, "SyncToken": us.read(entity, key)["SyncToken"], "sparse": True, "Name": name}
        us.post(f"/{entity.lower()}", edit)
    shown = us.read("Invoice", invoice["Id"])
    detail = shown["Line"][0]["SalesItemLineDetail"]
    seen = [detail[name]["name"] for name in ("ItemRef", "ClassRef", "ItemAccountRef")]
    assert [*seen, shown["SalesTermRef"]["name"]] == ["Time", "Care", "Income", "Month"]
    assert us.read("Item", "2")["IncomeAccountRef"]["name"] == "Income"
    assert (shown["SyncToken"], us.read("Item", "3")["SyncToken"]) == ("0", "0")
    assert us.read("Item", "2")["SyncToken"] == str(int(item["SyncToken"]) + 1)


def test_customer_with_balance_stays_active(us: Books) -> None:
    """6220: a name with a balance cannot be made inactive [D-err]."""
    us.invoice()
    us.refused("/customer", {"Id": "1", "SyncToken": "0", "sparse": True, "Active": False}, "6220")


def test_customers_are_not_deleted(us: Books) -> None:
    """List entities have no delete; they become inactive [D-rest]."""
    us.refused("/customer", {"Id": "1", "SyncToken": "0"}, "500", operation="delete")


def test_currency_of_a_customer_is_for_ever(multi: Books) -> None:
    """The currency can change only before the first transaction [D-cust]."""
    euro = multi.post("/customer", {"DisplayName": "Euro GmbH", "CurrencyRef": {"value": "EUR"}})["Customer"]
    change = {"Id": euro["Id"], "SyncToken": "0", "sparse": True, "CurrencyRef": {"value": "GBP"}}
    assert multi.post("/customer", change)["Customer"]["CurrencyRef"]["value"] == "GBP"
    multi.invoice(CustomerRef={"value": euro["Id"]}, CurrencyRef={"value": "GBP"})
    change = {**change, "SyncToken": "1", "CurrencyRef": {"value": "EUR"}}
    multi.refused("/customer", change, "6000")


def test_merge_moves_everything_to_the_survivor(us: Books) -> None:
    """After a merge the loser's id is gone, its documents and balance belong to the survivor [D-hook, seen]."""
    invoice = us.invoice("40.00", CustomerRef={"value": "2"})
    us.desk("merge-customers", {"loser": "2", "survivor": "1"})
    assert us.raw("GET", "/customer/2").json()["Fault"]["Error"][0]["code"] == "610"
    moved = us.read("Invoice", invoice["Id"])
    assert moved["CustomerRef"] == {"value": "1", "name": "Amy's Bird Sanctuary"}
    assert us.read("Customer", "1")["Balance"] == 40
    us.post("/customer", {"DisplayName": "Cool Cars"})


def test_lists_refuse_doubled_names(us: Books) -> None:
    """Names are unique within items, classes, terms and the other lists; required fields are required [D-err, XSD]."""
    us.refused("/item", {"Name": "hours", "Type": "Service", "IncomeAccountRef": {"value": "1"}}, "6240")
    us.refused("/item", {"Name": "New", "Type": "Service"}, "2020")
    us.refused(
        "/item",
        {"Name": "New", "Type": "Inventory", "IncomeAccountRef": {"value": "1"}},
        "sandbox-not-modelled",
    )
    us.refused("/class", {"Name": "Managed"}, "6240")
    us.refused("/term", {"Name": "Net 1000", "DueDays": 1000}, "2090")
    us.refused("/term", {"Name": "Half a day", "DueDays": Decimal("1.5")}, "2090")
    us.refused("/term", {"Name": "Nothing"}, "2020")
    us.refused("/paymentmethod", {"Name": "American Express"}, "2050")
    us.refused("/account", {"Name": "Petty cash"}, "2020")
    item = us.post("/item", {"Name": "New", "Type": "Service", "IncomeAccountRef": {"value": "1"}})["Item"]
    assert (item["FullyQualifiedName"], item["IncomeAccountRef"]["name"]) == ("New", "Services")
    child = us.post("/class", {"Name": "East", "ParentRef": {"value": "1"}})["Class"]
    assert child["FullyQualifiedName"] == "Managed:East"
    assert us.post("/department", {"Name": "East"})["Department"]["Active"]
    assert us.post("/term", {"Name": "Net 45", "DueDays": 45})["Term"]["Type"] == "STANDARD"


def test_inactive_account_carries_a_suffix(us: Books) -> None:
    """An inactive account's name gets ' (deleted)' (seen live) [seen]."""
    account = us.read("Account", "6")
    body = {"Id": "6", "SyncToken": account["SyncToken"], "sparse": True, "Active": False}
    assert us.post("/account", body)["Account"]["Name"] == "Savings (deleted)"


def test_tax_codes_are_not_written_through_the_api(us: Books) -> None:
    """Tax codes come from TaxService, which is not modelled; the bookkeeper can change them [D-tax]."""
    us.refused("/taxcode", {"Name": "X"}, "sandbox-not-modelled")
    us.desk("edit", {"entity": "TaxCode", "id": "3", "changes": {"Active": False}})
    assert us.read("TaxCode", "3")["Active"] is False

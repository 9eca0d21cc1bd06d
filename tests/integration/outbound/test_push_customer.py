"""Client news: recorded always, written to QuickBooks only for tenants that want it."""

from __future__ import annotations

from typing import Any

from tests.support.exporting import REALM, Workbench

NEWS = {
    "id": "cl-1",
    "name": "Cool Cars Inc.",
    "billing_email": "ap@coolcars.example",
    "billing_address": {"line1": "1 New St", "city": "Reno", "region": "NV", "postal_code": "89501"},
    "tax_exempt": False,
}


def customer(workbench: Workbench, id_: str = "2") -> dict[str, Any]:
    """A customer of the sandbox company."""
    return workbench.object("Customer", id_)


def test_nothing_is_written_unless_the_tenant_wants_it(workbench: Workbench) -> None:
    """The event is in the timeline; the bookkeeper's customer is not touched."""
    before = customer(workbench)
    workbench.say("client.updated", NEWS)
    assert workbench.timeline("client", "cl-1") == ["ClientUpdated"]
    assert workbench.operations("cl-1", "client") == []
    assert customer(workbench) == before


def test_changed_fields_are_written(workbench: Workbench) -> None:
    """Company name, e-mail, address and tax; never the name the bookkeeper knows the customer by."""
    workbench.set("push_customer_fields", True)
    before = customer(workbench)
    workbench.say("client.updated", NEWS)
    after = customer(workbench)
    assert after["CompanyName"] == "Cool Cars Inc."
    assert after["PrimaryEmailAddr"]["Address"] == "ap@coolcars.example"
    assert (after["BillAddr"]["City"], after["Taxable"]) == ("Reno", True)
    assert (after["DisplayName"], after["ShipAddr"]) == (before["DisplayName"], before["ShipAddr"])
    assert workbench.told("document.synced")[-1]["document"]["quickbooks_type"] == "Customer"


def test_a_stale_token_is_read_again(workbench: Workbench) -> None:
    """We keep no SyncToken of customers: a wrong guess costs one read, and what differs is written."""
    workbench.set("push_customer_fields", True)
    workbench.bookkeeper("edit", entity="Customer", id="2", changes={"Notes": "pays late"})
    workbench.say("client.updated", NEWS)
    assert (customer(workbench)["CompanyName"], customer(workbench)["Notes"]) == (
        "Cool Cars Inc.",
        "pays late",
    )
    assert workbench.counters()["companies"][REALM]["metered_reads"] == 1
    workbench.say("client.updated", NEWS)
    assert workbench.outcome("client", "cl-1") == ("succeeded", None), "it was so already"


def test_the_customers_of_all_currencies_are_written(workbench: Workbench) -> None:
    """A client has one customer for each currency: each is written once, one call after the other."""
    workbench.set("push_customer_fields", True)
    workbench.map("customer", "cl-1", "3", variant="EUR")
    workbench.trouble("cut_after", entity="customer", skip=1, times=1)
    workbench.say("client.updated", NEWS)
    assert [customer(workbench, id_)["CompanyName"] for id_ in ("2", "3")] == ["Cool Cars Inc."] * 2
    assert [customer(workbench, id_)["SyncToken"] for id_ in ("2", "3")] == ["1", "1"]


def test_a_client_that_is_not_linked_is_skipped(workbench: Workbench) -> None:
    """There is nobody to write to, and it says so."""
    workbench.set("push_customer_fields", True)
    workbench.say("client.updated", NEWS | {"id": "cl-9"})
    assert workbench.outcome("client", "cl-9") == ("skipped", "not_linked")

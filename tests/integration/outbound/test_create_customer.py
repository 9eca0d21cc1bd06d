"""Customers created by themselves, where a tenant wants that: once, before the document, never a second of a name."""

from __future__ import annotations

from typing import Any

import pytest

from services.mapping import mappings
from services.onboarding import assigning, readiness
from services.onboarding.assigning import Wanted
from tests.support.exporting import TENANT, Workbench, invoice

CLIENT = {
    "id": "cl-7",
    "name": "Pinnacle Roofing: West",
    "tax_exempt": True,
    "billing_email": "pay@pinnacle.example",
    "billing_address": {"line1": "1 Ridge", "city": "Tucson"},
}
PROFILE = {"id": "bp-1", "name": "Pinnacle Branch", "bills_separately": True, "parent": "cl-7"}


@pytest.fixture
def creating(workbench: Workbench) -> Workbench:
    """A company in which customers are created by themselves."""
    workbench.set("auto_create_customers", True)
    return workbench


def linked(bench: Workbench, kind: str = "customer", key: str = "cl-7") -> str | None:
    """The customer of a client."""
    with bench.fleet.transaction(TENANT) as connection:
        found = mappings.lookup(connection, bench.company_id, [(kind, key, "")])
    return found[kind, key, ""].external_id if found else None


def named(bench: Workbench, name: str) -> list[dict[str, Any]]:
    """Customers of that name in QuickBooks."""
    return [one for one in bench.objects("Customer") if one["DisplayName"] == name]


def test_off_by_default(workbench: Workbench) -> None:
    """A client without a customer is a question, and nothing is created."""
    workbench.say("invoice.finalized", invoice("inv-1", client=CLIENT))
    assert workbench.codes() == ["missing_customer_mapping"]
    assert named(workbench, "Pinnacle Roofing West") == []


def test_two_invoices_make_one_customer_and_both_arrive(creating: Workbench) -> None:
    """Created with name, address and e-mail, linked, and both documents go on; the next one needs nothing new."""
    for number in (1, 2):
        creating.say("invoice.finalized", invoice(f"inv-{number}", client=CLIENT), settle=False)
    creating.settle()
    (customer,) = named(creating, "Pinnacle Roofing West")
    assert customer["Id"] == linked(creating)
    assert (
        customer["CompanyName"],
        customer["PrimaryEmailAddr"]["Address"],
        customer["BillAddr"]["City"],
    ) == (
        "Pinnacle Roofing: West",
        "pay@pinnacle.example",
        "Tucson",
    )
    assert [creating.outcome("invoice", f"inv-{number}")[0] for number in (1, 2)] == ["succeeded"] * 2
    assert creating.reads == 0
    assert creating.exceptions() == []


def test_nothing_is_created_for_what_cannot_be_exported(creating: Workbench) -> None:
    """Another finding comes first; once it is mended the customer is made."""
    creating.say("invoice.finalized", invoice("inv-1", client=CLIENT, terms="net_30"))
    assert creating.outcome("invoice", "inv-1")[0] == "failed"
    assert named(creating, "Pinnacle Roofing West") == []
    creating.map("term", "net_30", "4")
    creating.replay(creating.last("invoice", "inv-1"))
    assert creating.outcome("invoice", "inv-1")[0] == "succeeded"


def test_a_billing_profile_is_made_below_its_client(creating: Workbench) -> None:
    """The customer above it first, then the sub-customer, then the invoice."""
    creating.say("invoice.finalized", invoice("inv-1", client=CLIENT, billing_profile=PROFILE))
    (branch,) = named(creating, "Pinnacle Branch")
    assert branch["ParentRef"]["value"] == linked(creating)
    assert branch["Id"] == linked(creating, "billing_profile", "bp-1")
    assert creating.outcome("invoice", "inv-1")[0] == "succeeded"


def test_a_customer_of_that_name_is_taken_not_doubled(creating: Workbench) -> None:
    """Refused for its name, looked at once, and linked, because nobody else has it."""
    body = {"DisplayName": "Pinnacle Roofing West"}
    there = creating.bookkeeper("create", entity="Customer", body=body)
    creating.say("invoice.finalized", invoice("inv-1", client=CLIENT))
    assert linked(creating) == str(there["Id"])
    assert len(named(creating, "Pinnacle Roofing West")) == 1
    assert creating.reads == 1
    assert creating.outcome("invoice", "inv-1")[0] == "succeeded"


@pytest.mark.parametrize("whose", ["inactive", "another client's"])
def test_a_name_that_cannot_be_taken_asks_and_a_link_by_hand_mends_it(
    creating: Workbench, whose: str
) -> None:
    """Inactive, or linked to another client: a question with the holder; linking by hand lets the invoice go on."""
    body = {"DisplayName": "Pinnacle Roofing West"}
    there = str(creating.bookkeeper("create", entity="Customer", body=body)["Id"])
    if whose == "inactive":
        creating.bookkeeper("edit", entity="Customer", id=there, changes={"Active": False})
    else:
        creating.map("customer", "cl-other", there)
    creating.say("invoice.finalized", invoice("inv-1", client=CLIENT))
    assert creating.codes() == ["customer_name_in_use"]
    assert there in creating.exceptions()[0].happened
    assert creating.outcome("invoice", "inv-1")[0] == "waiting"
    with creating.fleet.transaction(TENANT) as connection:
        wanted = Wanted("customer", "cl-7", external_id="3")
        assigning.put(connection, TENANT, creating.company_id, wanted, actor="maria", unchecked="no need")
    creating.settle()
    assert creating.outcome("invoice", "inv-1")[0] == "succeeded"
    assert creating.exceptions() == []


@pytest.mark.parametrize("kind", ["cut_after", "cut_before"])
def test_a_lost_answer_makes_no_second_customer(creating: Workbench, kind: str) -> None:
    """The same call under the same request id, whichever way it was lost."""
    creating.trouble(kind, entity="customer", times=1)
    creating.say("invoice.finalized", invoice("inv-1", client=CLIENT))
    assert len(named(creating, "Pinnacle Roofing West")) == 1
    assert creating.outcome("invoice", "inv-1")[0] == "succeeded"


def test_readiness_knows_that_it_will_be_created(creating: Workbench) -> None:
    """A client without a customer is no reason to refuse."""
    (verdict,) = readiness.check(creating.fleet, TENANT, "invoice", [invoice("draft", client=CLIENT)])
    assert verdict.findings == ()


def test_a_mapping_that_was_taken_away_is_made_anew(creating: Workbench) -> None:
    """The client's customer is unlinked later: the next document finds the customer by its name and links it again."""
    creating.say("invoice.finalized", invoice("inv-1", client=CLIENT))
    with creating.fleet.transaction(TENANT) as connection:
        mappings.delete(connection, TENANT, creating.company_id, ("customer", "cl-7", ""), actor="maria")
    creating.say("invoice.finalized", invoice("inv-2", client=CLIENT))
    assert creating.outcome("invoice", "inv-2")[0] == "succeeded"
    assert len(named(creating, "Pinnacle Roofing West")) == 1

"""Mappings checked against the company as it is, many at once, and what they release: the sandbox is QuickBooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from services.connections import catalog
from services.exceptions import causes
from services.ledger.ports import Clients
from services.mapping import mappings, usage
from services.onboarding import assigning, choices, sheets, unmapped
from services.onboarding.assigning import Outcome, Wanted
from services.quickbooks.errors import NotSent
from services.refusals import Refusal
from tests.support.exporting import TENANT, Workbench, invoice, payment

TODAY = datetime.now(UTC).date()


@pytest.fixture
def assign(workbench: Workbench) -> Callable[..., Outcome]:
    """A function that reads what it takes from QuickBooks and sets mappings."""

    def assign(*wanted: Wanted, dry_run: bool = False) -> Outcome:
        unchecked = assigning.read_lists(
            workbench.fleet, lambda: nullcontext(workbench.clients), TENANT, workbench.company_id, wanted
        )
        with workbench.fleet.transaction(TENANT) as connection:
            return assigning.put_all(
                connection,
                TENANT,
                workbench.company_id,
                wanted,
                actor="maria",
                unchecked=unchecked,
                dry_run=dry_run,
            )

    return assign


def listed(bench: Workbench, kind: str) -> dict[str, str]:
    """Labels by id of what can be chosen."""
    lists = choices.needed(kind)
    catalog.read(bench.fleet, bench.clients, TENANT, bench.company_id, lists)
    with bench.fleet.transaction(TENANT) as connection:
        return {one.id: one.label for one in choices.listed(connection, bench.company_id, kind)}


def enter(bench: Workbench, entity: str, *bodies: dict[str, Any]) -> None:
    """Let the bookkeeper enter rows of a list."""
    bench.bookkeeper("create-many", entries=[{"entity": entity, "body": body} for body in bodies])


def test_every_page_of_a_list_is_there_and_read_once(workbench: Workbench) -> None:
    """1,105 items are all to choose from, for two reads; asked again it costs none, refreshed it is new."""
    rows = [{"Name": f"Item {number:04}", "IncomeAccountRef": {"value": "1"}} for number in range(1_097)]
    enter(workbench, "Item", *rows)
    before = workbench.reads
    found = listed(workbench, "item")
    assert len(found) == 1_105  # eight came with the company; its category is not to be chosen
    assert workbench.reads - before == 2
    listed(workbench, "discount_item")
    assert workbench.reads - before == 2
    enter(workbench, "Item", {"Name": "Brand new", "IncomeAccountRef": {"value": "1"}})
    assert "Brand new" not in listed(workbench, "item").values()
    catalog.read(workbench.fleet, workbench.clients, TENANT, workbench.company_id, ["Item"], refresh=True)
    assert "Brand new" in listed(workbench, "item").values()


def test_labels_tell_choices_apart(workbench: Workbench) -> None:
    """Tax codes show their rate, TAX and NON are among them, accounts say type, equal names show their ids."""
    assert listed(workbench, "tax_code") == {
        "2": "California (8%)",
        "3": "Tucson (9.1%)",
        "TAX": "TAX",
        "NON": "NON",
    }
    accounts = listed(workbench, "deposit_account")
    assert accounts["5"] == "Checking (Bank, USD)"
    assert accounts["4"] == "Undeposited Funds (Other Current Asset, USD)"
    assert "7" not in accounts  # receivables take no deposit
    alike = [choices.Choice("1", "Backup", "Backup"), choices.Choice("2", "backup", "backup")]
    assert [one.label for one in choices.distinct(alike)] == ["Backup · id 1", "backup · id 2"]


def test_what_disappears_keeps_its_name_and_cannot_be_chosen(
    workbench: Workbench, assign: Callable[..., Outcome]
) -> None:
    """An item made inactive: still called by its name, no choice any more, and refused by that name."""
    assign(Wanted("item", "backup", external_id="5"))
    workbench.bookkeeper("edit", entity="Item", id="5", changes={"Active": False})
    catalog.read(workbench.fleet, workbench.clients, TENANT, workbench.company_id, ["Item"], refresh=True)
    assert "5" not in listed(workbench, "item")
    with workbench.fleet.transaction(TENANT) as connection:
        kept = mappings.lookup(connection, workbench.company_id, [("item", "backup", "")])
        now = choices.of(connection, workbench.company_id, {("item", "5")})["item", "5"]
    assert kept["item", "backup", ""].external_name == "Cloud Backup"
    assert now.standing == "inactive"
    (trouble,) = assign(Wanted("item", "other", external_id="5")).troubles
    assert "inactive in QuickBooks" in trouble.sentence


@pytest.mark.parametrize(
    ("wanted", "field", "said"),
    [
        (Wanted("item", "svc", external_id="999"), "external_id", "no Item 999"),
        (Wanted("item", "svc", external_id="9"), "external_id", "is a category"),
        (Wanted("item", "svc", external_name="No such"), "external_name", "no Item"),
        (Wanted("item", "svc"), "external_id", "name the QuickBooks id"),
        (Wanted("tax_code", "ca", "zero", "2"), "variant", "in the US"),
        (Wanted("item", "svc", "EUR", "3"), "variant", "no variants"),
        (Wanted("customer", "cl-9", "eur", "1"), "variant", "currency"),
        (Wanted("customer", "cl-9", "EUR", "1"), "external_id", "billed in USD for ever"),
        (Wanted("customer", "cl-9", "", "2"), "external_id", "linked to customer cl-1 already"),
        (Wanted("thing", "x", external_id="1"), "kind", "there is no kind"),
    ],
)
def test_what_does_not_fit_is_named(
    assign: Callable[..., Outcome], wanted: Wanted, field: str, said: str
) -> None:
    """Row, field and sentence; and a good neighbour is not set either."""
    outcome = assign(Wanted("item", "good", external_id="3"), wanted)
    assert [(trouble.row, trouble.field) for trouble in outcome.troubles] == [(2, field)]
    assert said in outcome.troubles[0].sentence
    assert outcome.mappings == []


def test_a_new_item_is_found_at_once(workbench: Workbench, assign: Callable[..., Outcome]) -> None:
    """An id that the list lacks is looked for by itself: one read, and none the next time; nonsense stays nonsense."""
    assign(Wanted("item", "backup", external_id="5"))
    enter(workbench, "Item", {"Name": "Fresh", "IncomeAccountRef": {"value": "1"}})
    before = workbench.reads
    fresh = Wanted("item", "fresh", external_id="10")
    assert assign(fresh).mappings[0].external_name == "Fresh"
    assert workbench.reads - before == 1
    assign(Wanted("item", "fresher", external_id="10"))
    assert workbench.reads - before == 1
    assert "no Item 404" in assign(Wanted("item", "x", external_id="404")).troubles[0].sentence
    assert "5" in listed(workbench, "item")  # nothing is thought gone for that


def test_a_refresh_is_no_way_to_burn_reads(workbench: Workbench) -> None:
    """Asked for again and again, a list is read once in half a minute: reads cost money."""
    before = workbench.reads
    for _ in range(3):
        why = assigning.read_lists(
            workbench.fleet,
            lambda: nullcontext(workbench.clients),
            TENANT,
            workbench.company_id,
            [Wanted("term", "")],
            refresh=True,
        )
        assert why == ""
    assert workbench.reads - before == 1


def test_a_quickbooks_that_is_away_does_not_stand_in_the_way(workbench: Workbench) -> None:
    """What cannot be checked is set, and said to be unchecked."""

    @contextmanager
    def away() -> Iterator[Clients]:
        raise NotSent("nobody there")
        yield workbench.clients

    wanted = [Wanted("item", "svc-2", external_id="17")]
    why = assigning.read_lists(workbench.fleet, away, TENANT, workbench.company_id, wanted)
    assert "nobody there" in why
    with workbench.fleet.transaction(TENANT) as connection:
        outcome = assigning.put_all(
            connection, TENANT, workbench.company_id, wanted, actor="maria", unchecked=why
        )
    assert [one.external_id for one in outcome.mappings] == ["17"]


def test_a_sheet_goes_out_and_comes_back(workbench: Workbench, assign: Callable[..., Outcome]) -> None:
    """Export, read, dry run: nothing would change; a changed cell changes that one; names stand in for ids."""
    assign(
        Wanted("item", "=cmd|calc", external_id="5", details={"class_id": "1"}),
        Wanted("term", "net_30", external_id="4"),
        Wanted("tax_code", "us-ca", external_id="2"),
    )
    with workbench.fleet.transaction(TENANT) as connection:
        sheet = sheets.write(mappings.every(connection, TENANT, workbench.company_id))
    assert "'=cmd|calc" in sheet  # no formula for whoever opens it
    outcome = assign(*sheets.read(sheet), dry_run=True)
    assert {change.does for change in outcome.changes if change.wanted.key not in {"cl-1", "svc"}} == {"same"}
    by_name = "kind,key,quickbooks_name\nterm,net_30,Net 60\nitem,svc-2,cloud backup\n"
    outcome = assign(*sheets.read(by_name))
    assert [(change.does, change.wanted.external_id, change.before) for change in outcome.changes] == [
        ("changed", "5", "4"),
        ("new", "5", ""),
    ]


@pytest.mark.parametrize(
    ("sheet", "said"),
    [
        ("", "names the columns"),
        ("kind,key\nitem,svc\n", "names the columns"),
        ("kind,key,quickbooks_id,colour\nitem,svc,3,red\n", "columns are"),
        ("kind,key,quickbooks_id\nitem,svc,3,4\n", "row 1 has more cells"),
        ('kind,key,quickbooks_id\nitem,"svc,3\n', "is no CSV"),
        ("kind,key,quickbooks_id,details\nitem,svc,3,[1]\n", "JSON object"),
    ],
)
def test_what_is_no_sheet_says_so(sheet: str, said: str) -> None:
    """A broken sheet is refused whole, with the place."""
    with pytest.raises(Refusal, match=said):
        sheets.read(sheet)


def taxed(region: str) -> dict[str, Any]:
    """Changes that tax the one line of an invoice."""
    line = invoice("x")["lines"][0] | {"is_taxable": True, "tax_amount": 1080, "tax_region": region}
    return {"lines": [line], "tax": 1080, "total": 14580}


def line(**changes: Any) -> dict[str, Any]:
    """Changes of the one line of an invoice."""
    return {"lines": [invoice("x")["lines"][0] | changes]}


DISCOUNTED = {
    "lines": [
        invoice("x")["lines"][0],
        invoice("x")["lines"][0]
        | {
            "id": "l2",
            "service_id": None,
            "description": "Discount",
            "quantity": "1",
            "unit_price": "-10.00",
            "net_amount": -1000,
            "is_discount": True,
            "applies_to": "l1",
        },
    ],
    "subtotal": 12500,
    "total": 12500,
}
STRANGER = {"client": {"id": "cl-7", "name": "Stranger", "tax_exempt": True}}
PROFILE = {"billing_profile": {"id": "bp-1", "name": "Branch", "bills_separately": True, "parent": "cl-1"}}


@pytest.mark.parametrize(
    ("changes", "mends"),
    [
        (line(service_id="new-svc"), Wanted("item", "new-svc", external_id="4")),
        (line(service_id=None, category_id="cat"), Wanted("item_category", "cat", external_id="4")),
        (line(service_id="new-svc", category_id="cat"), Wanted("item_category", "cat", external_id="4")),
        (DISCOUNTED, Wanted("discount_item", "", external_id="8")),
        (taxed("us-ca"), Wanted("tax_code", "us-ca", external_id="2")),
        ({"terms": "net_30"}, Wanted("term", "net_30", external_id="4")),
        (line(**{"class": "Seattle"}), Wanted("class", "Seattle", external_id="1")),
        (STRANGER, Wanted("customer", "cl-7", external_id="3")),
        (PROFILE, Wanted("billing_profile", "bp-1", external_id="4")),
    ],
    ids=[
        "item",
        "category",
        "category-of-a-service",
        "discount",
        "tax",
        "term",
        "class",
        "customer",
        "profile",
    ],
)
def test_setting_one_releases_what_failed_for_it(
    workbench: Workbench, assign: Callable[..., Outcome], changes: dict[str, Any], mends: Wanted
) -> None:
    """Every kind: the invoice fails for the lack of it, the mapping starts it again, and it arrives."""
    workbench.say("invoice.finalized", invoice("inv-x", **changes))
    assert workbench.outcome("invoice", "inv-x")[0] == "failed"
    outcome = assign(mends)
    assert outcome.troubles == []
    assert len(outcome.released) == 1
    workbench.settle()
    assert workbench.outcome("invoice", "inv-x")[0] == "succeeded"
    assert workbench.exceptions() == []


def test_what_the_fleet_starts_is_counted_once(
    workbench: Workbench, assign: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than are started in the mapping's own transaction are left to the fleet, and each is named once."""
    monkeypatch.setattr(causes, "AT_ONCE", 1)
    for number in ("inv-x", "inv-y"):
        workbench.say("invoice.finalized", invoice(number, **line(service_id="new-svc")))
    released = assign(Wanted("item", "new-svc", external_id="4")).released
    assert len(released) == len(set(released)) == 2
    assert workbench.outcome("invoice", "inv-x")[0] == "failed"
    assert causes.work_off(workbench.fleet) == 2


def test_a_payment_goes_on_with_its_customer(workbench: Workbench, assign: Callable[..., Outcome]) -> None:
    """A payment that failed because its client has no customer starts again with the link."""
    workbench.say("payment.recorded", payment("pay-1", amount=500, **STRANGER))
    assert workbench.outcome("payment", "pay-1")[0] == "failed"
    assert len(assign(Wanted("customer", "cl-7", external_id="3")).released) == 1
    workbench.settle()
    assert workbench.outcome("payment", "pay-1")[0] == "succeeded"


def test_usage_says_what_a_deletion_affects(workbench: Workbench) -> None:
    """What is still to be sent, by number, and what was lately sent."""
    workbench.say(
        "invoice.finalized",
        invoice("sent", number="N-1", invoice_date=TODAY.isoformat(), due_date=TODAY.isoformat()),
    )
    workbench.set("auto_sync", False, "tenant")
    workbench.say(
        "invoice.finalized",
        invoice("held", number="N-2", invoice_date=TODAY.isoformat(), due_date=TODAY.isoformat()),
    )
    with workbench.fleet.transaction(TENANT) as connection:
        for at in (("item", "svc", ""), ("customer", "cl-1", "")):
            found = usage.of(connection, TENANT, workbench.company_id, at)
            assert (found.unsent, found.lately, found.examples) == (1, 1, ["N-2"])
        for kind in mappings.Kind:
            unused = usage.of(connection, TENANT, workbench.company_id, (kind, "", ""))
            assert "Nothing" in unused.sentence


def test_what_is_not_mapped_comes_with_suggestions(workbench: Workbench) -> None:
    """Services, terms, regions and clients that documents name; the likely counterpart first, with the reason."""
    changes = (
        taxed("Tucson")
        | {"terms": "net_30", "invoice_date": TODAY.isoformat(), "due_date": TODAY.isoformat()}
        | STRANGER
    )
    changes["lines"][0] |= {"service_id": "s-9", "description": "Workstation, managed services"}
    changes["client"]["name"] = "Diego Rodrigues"
    workbench.say("invoice.finalized", invoice("inv-u", **changes))
    catalog.read(workbench.fleet, workbench.clients, TENANT, workbench.company_id, catalog.LISTS)
    best = {}
    for kind in mappings.Kind:
        for one in unmapped.of(workbench.fleet, TENANT, workbench.company_id, kind):
            best[kind, one.key] = one.suggestions[0].id if one.suggestions else ""
    assert best == {
        ("item", "s-9"): "3",
        ("tax_code", "Tucson"): "3",
        ("term", "net_30"): "4",
        ("customer", "cl-7"): "3",
    }


def test_abroad_a_code_brings_its_rate_along(workbench: Workbench) -> None:
    """Outside the US the exporter needs the rate and its id: the mapping takes both from the company's list."""
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(text("UPDATE company SET country = 'GB', home_currency = 'GBP'"))
        rate = {"Id": "3", "Name": "20.0% S", "RateValue": 20}
        details = {"TaxRateDetail": [{"TaxRateRef": {"value": "3"}}]}
        code = {"Id": "2", "Name": "20.0% S", "SalesTaxRateList": details}
        catalog.store(connection, TENANT, workbench.company_id, "TaxRate", [rate])
        catalog.store(connection, TENANT, workbench.company_id, "TaxCode", [code])
        outcome = assigning.put(
            connection, TENANT, workbench.company_id, Wanted("tax_code", "uk", "taxable", "2"), actor="m"
        )
    assert outcome.mappings[0].details == {"rate": "20", "tax_rate_id": "3"}


def test_a_code_of_several_rates_brings_all_of_them_along(workbench: Workbench) -> None:
    """GST and PST are two rates of one Canadian code; each has its own sum on a document."""
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(text("UPDATE company SET country = 'CA', home_currency = 'CAD'"))
        rates = [{"Id": "3", "Name": "GST", "RateValue": 5}, {"Id": "4", "Name": "PST BC", "RateValue": 7}]
        details = {"TaxRateDetail": [{"TaxRateRef": {"value": one["Id"]}} for one in rates]}
        code = {"Id": "2", "Name": "GST/PST BC", "SalesTaxRateList": details}
        catalog.store(connection, TENANT, workbench.company_id, "TaxRate", rates)
        catalog.store(connection, TENANT, workbench.company_id, "TaxCode", [code])
        outcome = assigning.put(
            connection, TENANT, workbench.company_id, Wanted("tax_code", "bc", "taxable", "2"), actor="m"
        )
    several = [{"id": "3", "rate": "5"}, {"id": "4", "rate": "7"}]
    assert outcome.mappings[0].details == {"rate": "12", "tax_rates": several}

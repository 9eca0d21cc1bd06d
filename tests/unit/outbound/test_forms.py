"""Invoices as QuickBooks wants them: every field, US and elsewhere, and every finding with line and field."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

import messages
from messages.invoices import InvoiceFinalized
from services.mapping.mappings import Key, Mapping
from services.outbound import forms
from services.outbound.books import Books
from services.outbound.findings import problem

COMPANY = UUID("00000000-0000-0000-0000-0000000000c1")
US = Books(COMPANY, "9341", "Acme MSP", "sandbox", "US", "USD")
GB = Books(COMPANY, "9342", "Acme MSP UK", "sandbox", "GB", "GBP")


def mapped(external_id: str, name: str, details: dict[str, Any]) -> Mapping:
    """A mapping of the test company."""
    return Mapping(COMPANY, "", "", "", external_id, name, details, datetime.now(UTC), "test")


INVOICE: dict[str, Any] = {
    "id": "inv-1",
    "number": "INV-1042",
    "type": "standard",
    "invoice_date": "2026-03-31",
    "due_date": "2026-04-30",
    "finalized_at": "2026-04-01T02:00:00+00:00",
    "currency": "USD",
    "po_number": "PO-77",
    "terms": "net_30",
    "tax_source": "internal",
    "subtotal": 20000,
    "discount": 1000,
    "tax": 1900,
    "total": 20900,
    "client": {
        "id": "cl-1",
        "name": "O'Brien & Søn",
        "billing_email": "ap@obrien.example",
        "billing_address": {"line1": "1 Main St", "city": "Seattle", "region": "WA", "postal_code": "98101"},
        "tax_exempt": False,
    },
    "lines": [
        {
            "id": "l1",
            "service_id": "s1",
            "description": "Managed workstation",
            "quantity": "2",
            "unit_price": "100",
            "net_amount": 20000,
            "tax_amount": 2000,
            "tax_region": "WA",
            "tax_rate": "10",
            "is_taxable": True,
            "is_discount": False,
            "service_period_start": "2026-03-01",
            "service_period_end": "2026-03-31",
        },
        {
            "id": "l2",
            "description": "Loyalty",
            "quantity": "1",
            "unit_price": "-10",
            "net_amount": -1000,
            "tax_amount": -100,
            "tax_region": "WA",
            "tax_rate": "10",
            "is_taxable": False,
            "is_discount": True,
            "applies_to": "l1",
        },
    ],
    "actor": {"type": "user", "id": "u1"},
}
MAPPINGS: dict[Key, Mapping] = {
    ("customer", "cl-1", ""): mapped("58", "O'Brien", {}),
    ("item", "s1", ""): mapped("19", "Workstation", {}),
    ("discount_item", "", ""): mapped("20", "Discount", {}),
    ("tax_code", "WA", ""): mapped("3", "Washington", {}),
    ("term", "net_30", ""): mapped("5", "Net 30", {}),
}


def invoice(**changes: Any) -> InvoiceFinalized:
    """The sample invoice with top-level fields replaced."""
    data = messages.validate("com.algapsa.billing.invoice.finalized.v1", copy.deepcopy(INVOICE) | changes)
    assert isinstance(data, InvoiceFinalized)
    return data


def build(
    billed: InvoiceFinalized, books: Books = US, mappings: dict[Key, Mapping] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Body and codes of findings."""
    wanted = MAPPINGS if mappings is None else mappings
    body, findings = forms.build(forms.INVOICE, billed, books, wanted, "AS-TEST1234")
    return body, [finding.code for finding in findings]


def test_every_field_of_a_us_invoice() -> None:
    """Numbers, dates, customer, terms, lines, tax and notes arrive as billed; nothing is sent to the client."""
    body, codes = build(invoice())
    assert codes == []
    assert body == {
        "DocNumber": "INV-1042",
        "TxnDate": "2026-03-31",
        "DueDate": "2026-04-30",
        "CustomerRef": {"value": "58"},
        "Line": [
            {
                "DetailType": "SalesItemLineDetail",
                "Amount": Decimal("200.00"),
                "Description": "Managed workstation",
                "SalesItemLineDetail": {
                    "ItemRef": {"value": "19"},
                    "Qty": Decimal(2),
                    "UnitPrice": Decimal(100),
                    "TaxCodeRef": {"value": "TAX"},
                    "ServiceDate": "2026-03-01",
                },
            },
            {
                "DetailType": "SalesItemLineDetail",
                "Amount": Decimal("-10.00"),
                "Description": "Loyalty",
                "SalesItemLineDetail": {
                    "ItemRef": {"value": "20"},
                    "Qty": Decimal(1),
                    "UnitPrice": Decimal(-10),
                    "TaxCodeRef": {"value": "TAX"},  # the discounted line's code, not its own flag
                },
            },
        ],
        "TxnTaxDetail": {"TotalTax": Decimal("19.00"), "TxnTaxCodeRef": {"value": "3"}},
        "EmailStatus": "NotSet",
        "PrintStatus": "NotSet",
        "AllowOnlineCreditCardPayment": False,
        "AllowOnlineACHPayment": False,
        "BillEmail": {"Address": "ap@obrien.example"},
        "BillAddr": {
            "Line1": "1 Main St",
            "City": "Seattle",
            "CountrySubDivisionCode": "WA",
            "PostalCode": "98101",
        },
        "PrivateNote": "PO: PO-77\nalgasync AS-TEST1234",
        "SalesTermRef": {"value": "5"},
    }


def test_us_never_sends_global_tax_calculation() -> None:
    """GlobalTaxCalculation faults on US companies (Intuit's Invoice reference)."""
    assert "GlobalTaxCalculation" not in build(invoice())[0]


def test_outside_the_us_every_line_has_its_own_code_and_each_rate_its_sum() -> None:
    """Codes are mapped per region and treatment, amounts exclude tax, TaxLine per rate."""
    mappings = MAPPINGS | {
        ("tax_code", "WA", "taxable"): mapped("12", "20.0% S", {"tax_rate_id": "30", "rate": "10"})
    }
    body, codes = build(invoice(currency="GBP"), GB, mappings)
    assert codes == []
    assert body["GlobalTaxCalculation"] == "TaxExcluded"
    assert [line["SalesItemLineDetail"]["TaxCodeRef"] for line in body["Line"]] == [{"value": "12"}] * 2
    assert body["TxnTaxDetail"] == {
        "TotalTax": Decimal("19.00"),
        "TaxLine": [
            {
                "Amount": Decimal("19.00"),
                "DetailType": "TaxLineDetail",
                "TaxLineDetail": {
                    "TaxRateRef": {"value": "30"},
                    "PercentBased": True,
                    "TaxPercent": Decimal(10),
                    "NetAmountTaxable": Decimal("190.00"),
                },
            }
        ],
    }


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        (("customer", "cl-1", ""), "missing_customer_mapping"),
        (("item", "s1", ""), "missing_service_mapping"),
        (("discount_item", "", ""), "missing_discount_item_mapping"),
        (("tax_code", "WA", ""), "missing_tax_mapping"),
        (("term", "net_30", ""), "missing_payment_term_mapping"),
    ],
)
def test_each_missing_mapping_is_named(missing: Key, code: str) -> None:
    """A missing mapping is found before the call, with its own code."""
    mappings = {key: value for key, value in MAPPINGS.items() if key != missing}
    assert build(invoice(), US, mappings)[1] == [code]


def test_all_findings_come_at_once() -> None:
    """A person mends everything in one go."""
    assert set(build(invoice(), US, {})[1]) == {
        "missing_customer_mapping",
        "missing_service_mapping",
        "missing_discount_item_mapping",
        "missing_tax_mapping",
        "missing_payment_term_mapping",
    }


def test_finding_names_line_and_field() -> None:
    """The person reads which line it is, as counted on the invoice."""
    _, findings = forms.build(forms.INVOICE, invoice(), US, {}, "AS-X")
    assert findings[0].where == "line 1 (Managed workstation), item"
    assert "s1" in findings[0].what
    assert findings[0].cause == f"mapping:item:{COMPANY}:s1"


def test_category_stands_in_for_an_unmapped_service() -> None:
    """Item of the service, else of its category."""
    lines = copy.deepcopy(INVOICE["lines"])
    lines[0]["category_id"] = "cat-9"
    mappings = {k: v for k, v in MAPPINGS.items() if k[0] != "item"} | {
        ("item_category", "cat-9", ""): mapped("77", "Category", {})
    }
    body, codes = build(invoice(lines=lines), US, mappings)
    assert codes == []
    assert body["Line"][0]["SalesItemLineDetail"]["ItemRef"] == {"value": "77"}


def test_number_is_never_cut() -> None:
    """A DocNumber over 21 characters would be refused (2050): it is named, not shortened."""
    assert build(invoice(number="X" * 22))[1] == ["number_too_long"]


def test_foreign_currency_into_a_single_currency_company_is_refused_by_name() -> None:
    """Never booked as if it were home currency."""
    assert build(invoice(currency="EUR"))[1] == ["single_currency_company"]


def test_foreign_currency_carries_its_own_rate() -> None:
    """CurrencyRef and ExchangeRate in home units for one foreign unit; the customer of that currency."""
    books = Books(
        COMPANY, "1", "M", "sandbox", "US", "USD", {"CurrencyPrefs": {"MultiCurrencyEnabled": True}}
    )
    mappings = MAPPINGS | {("customer", "cl-1", "EUR"): mapped("90", "O'Brien EUR", {})}
    body, codes = build(invoice(currency="EUR", exchange_rate="1.0834"), books, mappings)
    assert codes == []
    assert (body["CurrencyRef"], body["ExchangeRate"]) == ({"value": "EUR"}, Decimal("1.0834"))
    assert body["CustomerRef"] == {"value": "90"}


def test_two_taxed_regions_are_refused_unless_quickbooks_computes_tax() -> None:
    """One document has one tax code in the US, except under Automated Sales Tax."""
    lines = copy.deepcopy(INVOICE["lines"])
    lines[1] |= {"tax_region": "OR", "applies_to": None}
    mappings = MAPPINGS | {("tax_code", "OR", ""): mapped("4", "Oregon", {})}
    assert "several_tax_regions" in build(invoice(lines=lines), US, mappings)[1]
    ast = Books(COMPANY, "1", "M", "sandbox", "US", "USD", {"TaxPrefs": {"PartnerTaxEnabled": True}})
    assert build(invoice(lines=lines), ast, mappings)[1] == []


@pytest.mark.parametrize("applies_to", ["l1", None])
def test_a_discount_is_taxed_where_what_it_lowers_is(applies_to: str | None) -> None:
    """A discount that names no region of its own is no second region, whether it lowers a line or the document."""
    lines = copy.deepcopy(INVOICE["lines"])
    lines[1] |= {"tax_region": None, "applies_to": applies_to}
    body, codes = build(invoice(lines=lines))
    assert codes == []
    assert body["TxnTaxDetail"] == {"TotalTax": Decimal("19.00"), "TxnTaxCodeRef": {"value": "3"}}


@pytest.mark.parametrize(
    ("source", "rate", "code"), [("external", None, "12"), ("internal", None, "15"), ("external", "0", "15")]
)
def test_tax_that_no_line_tells_is_not_zero_rated(source: str, rate: str | None, code: str) -> None:
    """Outside the US a taxable line without tax is at 0 % only if the lines say their tax."""
    tax = 2000 if source == "external" else 0
    lines = [copy.deepcopy(INVOICE["lines"][0]) | {"tax_amount": 0, "tax_rate": rate}]
    amounts = {"subtotal": 20000, "discount": 0, "tax": tax, "total": 20000 + tax}
    billed = invoice(currency="GBP", lines=lines, tax_source=source, **amounts)
    mappings = MAPPINGS | {
        ("tax_code", "WA", "taxable"): mapped("12", "20.0% S", {}),
        ("tax_code", "WA", "zero"): mapped("15", "0.0% Z", {}),
    }
    assert ("tax_code", "WA", "taxable" if code == "12" else "zero") in set(forms.keys(billed, GB))
    body, codes = build(billed, GB, mappings)
    assert codes == []
    assert body["Line"][0]["SalesItemLineDetail"]["TaxCodeRef"] == {"value": code}


def test_a_document_with_tax_has_at_most_750_lines() -> None:
    """Intuit's limit is on the lines of a document that is taxed, not on the taxed ones among them."""
    free = {"tax_amount": 0, "tax_rate": None, "net_amount": 0, "is_taxable": False}
    more = [copy.deepcopy(INVOICE["lines"][0]) | free | {"id": f"m{number}"} for number in range(749)]
    assert build(invoice(lines=[*INVOICE["lines"], *more]))[1] == ["too_many_taxed_lines"]
    assert build(invoice(lines=[*INVOICE["lines"], *more[1:]]))[1] == []


def test_tax_into_a_company_without_sales_tax_is_refused_by_name() -> None:
    """QuickBooks would drop the tax without a word."""
    books = Books(COMPANY, "1", "M", "sandbox", "US", "USD", {"TaxPrefs": {"UsingSalesTax": False}})
    assert build(invoice(), books)[1] == ["sales_tax_off"]


def test_heading_without_amount_is_a_description_line() -> None:
    """A line that only groups others needs no item."""
    heading = {
        "id": "l0",
        "description": "March services",
        "quantity": "1",
        "unit_price": "0",
        "net_amount": 0,
        "tax_amount": 0,
        "is_taxable": False,
        "is_discount": False,
    }
    body, codes = build(invoice(lines=[heading, *INVOICE["lines"]]))
    assert codes == []
    assert body["Line"][0] == {"DetailType": "DescriptionOnly", "Description": "March services"}


def test_separately_billed_profile_is_its_own_customer() -> None:
    """A billing profile that bills separately is a sub-customer, never silently its parent."""
    profile = {"id": "bp-2", "name": "Warehouse", "bills_separately": True, "parent": "cl-1"}
    body, codes = build(
        invoice(billing_profile=profile),
        US,
        MAPPINGS | {("billing_profile", "bp-2", ""): mapped("61", "W", {})},
    )
    assert (codes, body["CustomerRef"]) == ([], {"value": "61"})
    assert build(invoice(billing_profile=profile))[1] == ["missing_customer_mapping"]


def with_line(number: int, **changes: Any) -> InvoiceFinalized:
    """The sample invoice with fields of one line replaced."""
    lines = copy.deepcopy(INVOICE["lines"])
    lines[number] |= changes
    return invoice(lines=lines)


def test_class_of_line_then_item_then_default() -> None:
    """The line's class, as it is called in QuickBooks, wins over the item's over the default."""
    books = Books(COMPANY, "1", "M", "sandbox", "US", "USD", {}, {"default_class": {"id": "900"}})
    mappings = MAPPINGS | {
        ("item", "s1", ""): mapped("19", "W", {"class_id": "800"}),
        ("class", "Seattle", ""): mapped("700", "Seattle", {}),
    }
    billed = [invoice(), with_line(0, **{"class": "Seattle"})]
    found = [
        [line["SalesItemLineDetail"].get("ClassRef") for line in build(one, books, mappings)[0]["Line"]]
        for one in billed
    ]
    assert found == [[{"value": "800"}, {"value": "900"}], [{"value": "700"}, {"value": "900"}]]


def test_a_class_of_billing_is_never_sent_as_if_it_were_quickbooks_id() -> None:
    """Named with its line where lines have classes; where the company has none it does not matter."""
    billed = with_line(0, **{"class": "Seattle"})
    _, findings = forms.build(forms.INVOICE, billed, US, MAPPINGS, "AS-TEST1234")
    (finding,) = findings
    assert (finding.code, finding.where) == ("missing_class_mapping", "line 1 (Managed workstation), class")
    assert finding.cause == f"mapping:class:{COMPANY}:Seattle"
    assert set(forms.keys(billed, US)) >= {("class", "Seattle", "")}
    without = Books(
        COMPANY,
        "1",
        "M",
        "sandbox",
        "US",
        "USD",
        {"AccountingInfoPrefs": {"ClassTrackingPerTxnLine": False}},
    )
    assert build(billed, without)[1] == []


def test_reverse_charge_has_a_code_of_its_own() -> None:
    """The buyer pays the tax: neither the taxable nor the zero-rated code of the region would report that."""
    components = [{"name": "Reverse-Charge", "rate": "0", "amount": 0, "region": "WA"}]
    line = {"tax_amount": 0, "tax_rate": "0", "tax_components": components}
    lines = [copy.deepcopy(INVOICE["lines"][0]) | line]
    billed = invoice(currency="GBP", lines=lines, subtotal=20000, discount=0, tax=0, total=20000)
    mappings = MAPPINGS | {
        ("tax_code", "WA", "reverse_charge"): mapped("14", "20.0% RC", {}),
        ("tax_code", "WA", "zero"): mapped("15", "0.0% Z", {}),
    }
    body, codes = build(billed, GB, mappings)
    assert codes == []
    assert body["Line"][0]["SalesItemLineDetail"]["TaxCodeRef"] == {"value": "14"}
    assert ("tax_code", "WA", "reverse_charge") in set(forms.keys(billed, GB))


def test_tax_that_was_computed_elsewhere_needs_its_code_too() -> None:
    """An external tax is told for the document only: the code of its taxable lines goes with it, or is missed."""
    lines = [copy.deepcopy(line) | {"tax_amount": 0} for line in INVOICE["lines"]]
    billed = invoice(lines=lines, tax_source="external")
    body, codes = build(billed)
    assert codes == []
    assert body["TxnTaxDetail"] == {"TotalTax": Decimal("19.00"), "TxnTaxCodeRef": {"value": "3"}}
    without = {key: value for key, value in MAPPINGS.items() if key[0] != "tax_code"}
    assert build(billed, mappings=without)[1] == ["missing_tax_mapping"]


def test_online_payment_is_offered_only_where_it_is_set() -> None:
    """Clients hear nothing from us, and are offered nothing, unless the company wants it."""
    wants = Books(COMPANY, "1", "M", "sandbox", "US", "USD", {}, {"online_card_payments": True})
    body, _ = build(invoice(), wants)
    assert (body["AllowOnlineCreditCardPayment"], body["AllowOnlineACHPayment"]) == (True, False)


def test_a_memo_that_is_cut_shows_it() -> None:
    """QuickBooks takes 1000 characters of a message to the client."""
    body, _ = build(invoice(customer_memo="x" * 1001))
    assert body["CustomerMemo"] == {"value": "x" * 997 + "..."}


def test_addresses_fit_their_fields() -> None:
    """QuickBooks takes 500 characters of a line of an address and 30 of a postal code; what is cut shows it."""
    address = {"line1": "x" * 501, "city": "y" * 256, "postal_code": "9" * 31, "country": "US"}
    body, codes = build(invoice(client=INVOICE["client"] | {"billing_address": address}))
    assert codes == []
    assert body["BillAddr"] == {
        "Line1": "x" * 497 + "...",
        "City": "y" * 252 + "...",
        "PostalCode": "9" * 27 + "...",
        "Country": "US",
    }


GST_PST = mapped(
    "12", "GST/PST BC", {"rate": "12", "tax_rates": [{"id": "30", "rate": "5"}, {"id": "31", "rate": "7"}]}
)


@pytest.mark.parametrize(
    ("components", "shares"),
    [
        ([("GST", "5", 500), ("PST", "7", 701)], ["5.00", "7.01"]),  # as billing computed them
        ([], ["5.00", "7.01"]),  # in proportion, the remainder to the largest
        ([("Both", "12", 1201)], ["5.00", "7.01"]),
    ],
)
def test_a_code_of_several_rates_has_a_sum_for_each(
    components: list[tuple[str, str, int]], shares: list[str]
) -> None:
    """GST and PST on one code are two tax lines that add up to the tax of the document."""
    line = INVOICE["lines"][0] | {
        "net_amount": 10005,
        "unit_price": "50.025",
        "tax_amount": 1201,
        "tax_rate": "12",
    }
    line |= {"tax_components": [{"name": n, "rate": r, "amount": a} for n, r, a in components]}
    sums = {"subtotal": 10005, "discount": 0, "tax": 1201, "total": 11206, "currency": "CAD"}
    canada = Books(COMPANY, "9343", "Acme MSP CA", "sandbox", "CA", "CAD")
    body, codes = build(invoice(lines=[line], **sums), canada, MAPPINGS | {("tax_code", "WA", ""): GST_PST})
    assert codes == []
    told = [
        (one["TaxLineDetail"]["TaxRateRef"]["value"], one["TaxLineDetail"]["TaxPercent"], one["Amount"])
        for one in body["TxnTaxDetail"]["TaxLine"]
    ]
    assert told == [("30", Decimal(5), Decimal(shares[0])), ("31", Decimal(7), Decimal(shares[1]))]
    assert {one["TaxLineDetail"]["NetAmountTaxable"] for one in body["TxnTaxDetail"]["TaxLine"]} == {
        Decimal("100.05")
    }
    assert body["TxnTaxDetail"]["TotalTax"] == Decimal("12.01")


def test_the_command_that_mends_a_missing_customer_names_its_currency() -> None:
    """A customer has one currency for ever, so the link of a foreign document is one of its own."""
    multi = Books(
        COMPANY, "1", "M", "sandbox", "US", "USD", {"CurrencyPrefs": {"MultiCurrencyEnabled": True}}
    )
    _, findings = forms.build(forms.INVOICE, invoice(currency="EUR"), multi, MAPPINGS, "AS-TEST1234")
    assert [one.fix.rsplit("set ", 1)[-1] for one in findings] == [
        "customer cl-1 <QuickBooks id> --variant EUR"
    ]


def test_several_remedies_are_told_apart() -> None:
    """Each is there once, and no command runs into the next sentence."""
    mappings = {key: value for key, value in MAPPINGS.items() if key[0] not in {"item", "term"}}
    _, findings = forms.build(forms.INVOICE, invoice(), US, mappings, "AS-TEST1234")
    fix = problem(findings, title="Cannot export").fix
    assert fix.count("<QuickBooks id>; Map it") == 1

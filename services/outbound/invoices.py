"""An invoice of billing as an Invoice of QuickBooks: pure rules, everything checked before the call.

https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/invoice
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from messages.clients import Address
from messages.invoices import Document, InvoiceCorrected, InvoiceFinalized
from services.mapping.mappings import Key
from services.mapping.mappings import Mapping as Mapped
from services.outbound import lines, taxes
from services.outbound.books import Books
from services.outbound.findings import Finding, missing_mapping

BilledInvoice = InvoiceFinalized | InvoiceCorrected

LONGEST_NUMBER = 21
LONGEST_MEMO = 1000
LONGEST_NOTE = 4000
LONGEST_EMAIL = 100
_EMAIL = re.compile(r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;]+")


def keys(invoice: BilledInvoice, books: Books) -> Iterator[Key]:
    """Every mapping that the invoice may need, for one look-up."""
    yield from lines.item_keys(invoice)
    yield from taxes.keys(invoice, books)
    yield from customer_keys(invoice)
    if invoice.terms is not None:
        yield ("term", invoice.terms, "")


def customer_keys(document: Document) -> tuple[Key, Key]:
    """The customer of a document, first for its currency: a QuickBooks customer has one currency for ever."""
    profile = document.billing_profile
    if profile is not None and profile.bills_separately:
        return (
            ("billing_profile", profile.id, document.currency),
            ("billing_profile", profile.id, ""),
        )
    return (("customer", document.client.id, document.currency), ("customer", document.client.id, ""))


def build(
    invoice: BilledInvoice, books: Books, mappings: Mapping[Key, Mapped], marker: str
) -> tuple[dict[str, Any], list[Finding]]:
    """Return the wire body and everything that is wrong; the body is to be sent only when nothing is."""
    wire_lines, findings = lines.build(invoice, 1, books, mappings)
    if len(invoice.number) > LONGEST_NUMBER:
        findings.append(
            Finding(
                "number_too_long",
                "number",
                f"{invoice.number} has {len(invoice.number)} characters, QuickBooks takes {LONGEST_NUMBER}",
                "Shorten the numbering scheme in billing; a number is never cut, it must be the same in both books.",
                "number_too_long",
            )
        )
    body: dict[str, Any] = {
        "DocNumber": invoice.number,
        "TxnDate": invoice.invoice_date.isoformat(),
        "DueDate": invoice.due_date.isoformat(),
        **customer(invoice, books, mappings, findings),
        **currency(invoice, books, findings),
        "Line": wire_lines,
        **taxes.detail(invoice, 1, books, mappings, findings),
        "EmailStatus": "NotSet",
        "PrintStatus": "NotSet",
        "AllowOnlineCreditCardPayment": False,
        "AllowOnlineACHPayment": False,
        **contact(invoice),
        **defaults(books),
        "PrivateNote": note(invoice.po_number, marker),
    }
    if invoice.terms is not None:
        term = mappings.get(("term", invoice.terms, ""))
        if term is not None:
            body["SalesTermRef"] = {"value": term.external_id}
        else:
            findings.append(
                missing_mapping(
                    books.company_id,
                    "term",
                    invoice.terms,
                    "missing_payment_term_mapping",
                    "terms",
                    f"payment term {invoice.terms} has no term in QuickBooks yet",
                )
            )
    return body, findings


def customer(
    document: Document, books: Books, mappings: Mapping[Key, Mapped], findings: list[Finding]
) -> dict[str, Any]:
    """CustomerRef, or the finding that the client is not linked."""
    wanted = customer_keys(document)
    for key in wanted:
        if key in mappings:
            return {"CustomerRef": {"value": mappings[key].external_id}}
    kind, entity_id, _ = wanted[0]
    name = document.client.name
    if kind == "billing_profile" and document.billing_profile is not None:
        name = f"{name}, {document.billing_profile.name}"
    findings.append(
        missing_mapping(
            books.company_id,
            kind,
            entity_id,
            "missing_customer_mapping",
            "customer",
            f"{name} ({entity_id}) is not linked to a customer in QuickBooks yet",
        )
    )
    return {}


def currency(document: Document, books: Books, findings: list[Finding]) -> dict[str, Any]:
    """CurrencyRef and ExchangeRate (home units for one foreign unit), as far as the company wants them."""
    if document.currency == books.home_currency or (not books.home_currency and not books.multicurrency):
        return {"CurrencyRef": {"value": document.currency}} if books.multicurrency else {}
    if not books.multicurrency:
        findings.append(
            Finding(
                "single_currency_company",
                "currency",
                f"the document is in {document.currency}, {books.name or 'the QuickBooks company'} keeps only "
                f"{books.home_currency}",
                "Switch multicurrency on in QuickBooks, or send the document to a company that keeps this currency.",
                f"single_currency:{books.company_id}",
            )
        )
        return {}
    wire: dict[str, Any] = {"CurrencyRef": {"value": document.currency}}
    if document.exchange_rate is not None:
        wire["ExchangeRate"] = document.exchange_rate
    return wire


def contact(document: Document) -> dict[str, Any]:
    """Addresses and e-mail for the form. An address that QuickBooks would refuse is left to the customer record."""
    client, wire = document.client, dict[str, Any]()
    email = (client.billing_email or "").strip()
    if email and len(email) <= LONGEST_EMAIL and _EMAIL.fullmatch(email):
        wire["BillEmail"] = {"Address": email}
    for name, address in (("BillAddr", client.billing_address), ("ShipAddr", client.shipping_address)):
        if address is not None and (fields := _address(address)):
            wire[name] = fields
    memo = getattr(document, "customer_memo", None)
    if memo:
        wire["CustomerMemo"] = {"value": memo[:LONGEST_MEMO]}
    return wire


def defaults(books: Books) -> dict[str, Any]:
    """Class and location of the whole document, where the company tracks them per document."""
    wire: dict[str, Any] = {}
    class_id, department = books.reference("default_class"), books.reference("default_department")
    if class_id and books.preference("AccountingInfoPrefs", "ClassTrackingPerTxn") is True:
        wire["ClassRef"] = {"value": class_id}
    if department and books.preference("AccountingInfoPrefs", "TrackDepartments") is not False:
        wire["DepartmentRef"] = {"value": department}
    return wire


def note(po_number: str | None, marker: str) -> str:
    """The private note: the purchase order for people, the marker for us."""
    lines_ = [f"PO: {po_number}"] if po_number else []
    return "\n".join([*lines_, f"algasync {marker}"])[:LONGEST_NOTE]


def _address(address: Address) -> dict[str, str]:
    fields = {
        "Line1": address.line1,
        "Line2": address.line2,
        "Line3": address.line3,
        "City": address.city,
        "CountrySubDivisionCode": address.region,
        "PostalCode": address.postal_code,
        "Country": address.country,
    }
    return {name: value for name, value in fields.items() if value}

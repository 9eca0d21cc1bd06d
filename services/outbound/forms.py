"""Invoices and credit notes of billing as the sales forms of QuickBooks: pure rules, checked before the call.

A credit note carries negative amounts in billing and positive ones in QuickBooks: it is negated line by line,
never made absolute, so that -100 and +20 become a credit memo of 80.
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/invoice
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/creditmemo
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final, Protocol

from messages.clients import Address
from messages.credits import CreditNoteFinalized
from messages.invoices import Document, InvoiceCorrected, InvoiceFinalized, InvoiceTaxRequested
from messages.money import to_decimal
from services.mapping.mappings import Key
from services.mapping.mappings import Mapping as Mapped
from services.outbound import customers, lines, marker, taxes, texts
from services.outbound.books import Books
from services.outbound.findings import Finding, missing_mapping

Billed = InvoiceFinalized | InvoiceCorrected | InvoiceTaxRequested | CreditNoteFinalized

LONGEST_NUMBER = 21
LONGEST_MEMO = 1000
LONGEST_EMAIL = 100
LONGEST_ADDRESS_LINE = 500
_LONGEST_IN_ADDRESS = {"City": 255, "CountrySubDivisionCode": 255, "PostalCode": 30, "Country": 255}
_EMAIL = re.compile(r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;]+")


@dataclass(frozen=True, slots=True)
class Form:
    """One kind of sales form: what it is called on either side, and the sign between the two."""

    kind: str  # of the document in billing
    entity: str  # in QuickBooks
    event: str  # whose data describes the document whole
    sign: int

    def amount(self, minor: int, currency: str) -> Decimal:
        """An amount of billing as QuickBooks writes it on this form."""
        return to_decimal(self.sign * minor, currency)


INVOICE: Final = Form("invoice", "Invoice", "com.algapsa.billing.invoice.finalized.v1", 1)
CREDIT_MEMO: Final = Form("credit_note", "CreditMemo", "com.algapsa.billing.credit_note.finalized.v1", -1)


def keys(document: Document, books: Books) -> Iterator[Key]:
    """Every mapping that the document may need, for one look-up."""
    yield from lines.keys(document)
    yield from taxes.keys(document, books)
    yield from customer_keys(document, books)
    if document.terms is not None:
        yield ("term", document.terms, "")


def customer_keys(document: Document, books: Books) -> tuple[Key, ...]:
    """The customer of a document: of the billing profile that bills for itself, else of the client."""
    profile = document.billing_profile
    if profile is not None and profile.bills_separately:
        return customers.keys("billing_profile", profile.id, document.currency, books)
    return customers.keys("customer", document.client.id, document.currency, books)


def build(
    form: Form,
    document: Document,
    books: Books,
    mappings: Mapping[Key, Mapped],
    mark: str,
    *,
    dated: date | None = None,
    remark: str | None = None,
) -> tuple[dict[str, Any], list[Finding]]:
    """Return the wire body and everything that is wrong; the body is to be sent only when nothing is.

    `dated` replaces the document's date when somebody decided so, `remark` says why in the private note.
    """
    wire_lines, findings = lines.build(document, form.sign, books, mappings)
    number = document.number or ""
    if len(number) > LONGEST_NUMBER:
        findings.append(
            Finding(
                "number_too_long",
                "number",
                f"{number} has {len(number)} characters, QuickBooks takes {LONGEST_NUMBER}",
                "Shorten the numbering scheme in billing; a number is never cut, it must be the same in both books.",
                "number_too_long",
            )
        )
    reason = f"Reason: {document.reason}" if isinstance(document, CreditNoteFinalized) else None
    po_number = f"PO: {document.po_number}" if document.po_number else None
    body: dict[str, Any] = {
        "DocNumber": number,
        "TxnDate": (dated or document.invoice_date).isoformat(),
        **customer(document, books, mappings, findings),
        **currency(document, books, findings),
        "Line": wire_lines,
        **taxes.detail(document, form.sign, books, mappings, findings),
        "EmailStatus": "NotSet",
        "PrintStatus": "NotSet",
        **contact(document.client),
        **defaults(books),
        "PrivateNote": marker.note(mark, po_number, reason, remark),
    }
    if document.customer_memo:
        body["CustomerMemo"] = {"value": texts.fitted(document.customer_memo, LONGEST_MEMO)}
    if form is INVOICE:
        body |= _payable(document, books, mappings, findings)
    return body, findings


def _payable(
    document: Document, books: Books, mappings: Mapping[Key, Mapped], findings: list[Finding]
) -> dict[str, Any]:
    """What only an invoice has: when and how it is to be paid."""
    wire: dict[str, Any] = {
        "AllowOnlineCreditCardPayment": books.settings.get("online_card_payments") is True,
        "AllowOnlineACHPayment": books.settings.get("online_bank_payments") is True,
    }
    if document.due_date is not None:
        wire["DueDate"] = document.due_date.isoformat()
    if document.terms is not None:
        term = mappings.get(("term", document.terms, ""))
        if term is not None:
            wire["SalesTermRef"] = {"value": term.external_id}
        else:
            findings.append(
                missing_mapping(
                    books.company_id,
                    "term",
                    document.terms,
                    "missing_payment_term_mapping",
                    "terms",
                    f"payment term {document.terms} has no term in QuickBooks yet",
                )
            )
    return wire


def customer(
    document: Document, books: Books, mappings: Mapping[Key, Mapped], findings: list[Finding]
) -> dict[str, Any]:
    """CustomerRef, or the finding that the client is not linked."""
    wanted = customer_keys(document, books)
    for key in wanted:
        if key in mappings:
            return {"CustomerRef": {"value": mappings[key].external_id}}
    kind, entity_id, _ = wanted[0]
    name, foreign = document.client.name, len(wanted) == 1
    if foreign:
        name = f"{name} in {document.currency}"
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
            document.currency if foreign else "",
        )
    )
    return {}


class InCurrency(Protocol):
    """Anything with a currency and maybe a rate of its own: home units for one foreign unit."""

    @property
    def currency(self) -> str:
        """ISO code."""

    @property
    def exchange_rate(self) -> Decimal | None:
        """Home units."""


def currency(document: InCurrency, books: Books, findings: list[Finding]) -> dict[str, Any]:
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


class Reachable(Protocol):
    """A client, or news about one."""

    @property
    def billing_email(self) -> str | None:
        """Where its bills go."""

    @property
    def billing_address(self) -> Address | None:
        """As printed on bills."""

    @property
    def shipping_address(self) -> Address | None:
        """What sales tax depends on."""


def contact(client: Reachable) -> dict[str, Any]:
    """Addresses and e-mail. An address that QuickBooks would refuse is left to the customer record."""
    wire: dict[str, Any] = {}
    email = (client.billing_email or "").strip()
    if email and len(email) <= LONGEST_EMAIL and _EMAIL.fullmatch(email):
        wire["BillEmail"] = {"Address": email}
    for name, address in (("BillAddr", client.billing_address), ("ShipAddr", client.shipping_address)):
        if address is not None and (fields := _address(address)):
            wire[name] = fields
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


def _address(address: Address) -> dict[str, str]:
    fields = {  # a text that is too long for its field is cut, and shows it
        "Line1": address.line1,
        "Line2": address.line2,
        "Line3": address.line3,
        "City": address.city,
        "CountrySubDivisionCode": address.region,
        "PostalCode": address.postal_code,
        "Country": address.country,
    }
    return {
        name: texts.fitted(value, _LONGEST_IN_ADDRESS.get(name, LONGEST_ADDRESS_LINE))
        for name, value in fields.items()
        if value
    }

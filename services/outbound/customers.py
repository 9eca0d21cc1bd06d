"""Who pays in QuickBooks: the customer of the documents a payment settles, or the parent they have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from services.mapping.mappings import Key
from services.mapping.mappings import Mapping as Mapped
from services.outbound.books import Books
from services.outbound.dossiers import Dossier
from services.outbound.findings import Finding, missing_mapping


def keys(kind: str, id_: str, currency: str, books: Books) -> tuple[Key, ...]:
    """The mappings of a client or billing profile, the one for the currency first.

    A QuickBooks customer has one currency for ever, so one without a currency is one of the home currency.
    """
    foreign = books.multicurrency and books.home_currency not in {"", currency}
    return ((kind, id_, currency),) if foreign else ((kind, id_, currency), (kind, id_, ""))


def payer(
    settled: Collection[Dossier],
    client: tuple[Key, ...],
    books: Books,
    mappings: Mapping[Key, Mapped],
    findings: list[Finding],
) -> str:
    """The customer for CustomerRef; "" with a finding when there is none that fits.

    `client` are the keys of the client's own customer, the parent of those of its billing profiles.
    """
    customers = {str(one.link.snapshot["CustomerRef"]["value"]) for one in settled if one.link is not None}
    if len(customers) == 1:
        return customers.pop()
    parent = next((mappings[key].external_id for key in client if key in mappings), None)
    clients = {one.document.client_id for one in settled} - {None, client[0][1]}
    if customers and (parent is None or clients):
        findings.append(
            Finding(
                "several_customers",
                "customer",
                f"its documents belong to the customers {', '.join(sorted(customers))} in QuickBooks, which have no "
                "parent in common that is linked to the client",
                "Link the client to the customer above them, or record one payment for each of them in billing; "
                "a deposit is never split silently.",
                f"several_customers:{client[0][1]}",
            )
        )
        return ""
    if parent is None:
        findings.append(
            missing_mapping(
                books.company_id,
                "customer",
                client[0][1],
                "missing_customer_mapping",
                "customer",
                f"client {client[0][1]} is not linked to a customer in QuickBooks yet",
                client[0][2] if len(client) == 1 else "",
            )
        )
        return ""
    return parent

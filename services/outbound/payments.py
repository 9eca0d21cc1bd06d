"""A payment of billing as a Payment of QuickBooks: pure rules, everything checked before the call.

https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/payment
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from messages.money import to_decimal
from messages.payments import PaymentRecorded
from services.mapping.mappings import Key
from services.mapping.mappings import Mapping as Mapped
from services.outbound import allocations, forms, marker, texts
from services.outbound.allocations import Amounts
from services.outbound.books import Books
from services.outbound.findings import Finding

LONGEST_REFERENCE = 21
"""Intuit names no limit for PaymentRefNum; the form takes 21 characters."""


def keys(payment: PaymentRecorded, client: Iterable[Key]) -> Iterator[Key]:
    """Every mapping that the payment may need; `client` are those of its customer."""
    yield from client
    yield from (("payment_method", name, "") for name in _methods(payment))


def build(
    payment: PaymentRecorded,
    customer: str,
    amounts: Amounts,
    books: Books,
    mappings: Mapping[Key, Mapped],
    mark: str,
    *,
    dated: date,
    remark: str | None = None,
) -> tuple[dict[str, Any], list[Finding]]:
    """Return the wire body and everything that is wrong; the body is to be sent only when nothing is.

    `amounts` is what goes to which invoice in QuickBooks; the rest of the payment stays unapplied.
    """
    findings: list[Finding] = []
    body: dict[str, Any] = {
        "CustomerRef": {"value": customer},
        "TxnDate": dated.isoformat(),
        "TotalAmt": to_decimal(payment.amount, payment.currency),
        **forms.currency(payment, books, findings),
        **({"Line": allocations.lines(amounts)} if amounts else {}),  # without any, all of it is unapplied
        **_deposit(payment, books, findings),
        "PrivateNote": marker.note(mark, *_remarks(payment), remark),
    }
    reference = _reference(payment)
    if reference is not None:
        body["PaymentRefNum"] = texts.fitted(reference, LONGEST_REFERENCE)
    for name in _methods(payment):
        if ("payment_method", name, "") in mappings:
            body["PaymentMethodRef"] = {"value": mappings["payment_method", name, ""].external_id}
            break
    return body, findings


def _reference(payment: PaymentRecorded) -> str | None:
    return payment.reference or payment.gateway_txn_id


def _methods(payment: PaymentRecorded) -> list[str]:
    """The names under which method and provider are set up, the narrower one first."""
    return [f"{payment.method}:{payment.provider}", payment.method] if payment.provider else [payment.method]


def _remarks(payment: PaymentRecorded) -> Iterator[str]:
    """What a bookkeeper who reconciles the bank wants to know, and a reference that had to be cut."""
    reference = _reference(payment)
    if reference is not None and len(reference) > LONGEST_REFERENCE:
        yield f"Reference: {reference}"
    if payment.gateway_txn_id is not None and payment.gateway_txn_id != reference:
        yield f"{payment.provider or 'Gateway'}: {payment.gateway_txn_id}"
    if payment.payout_id is not None:
        yield f"Payout: {payment.payout_id}"
    if payment.fee:
        yield f"Fee kept by {payment.provider or 'the provider'}: {_money(payment.fee, payment.currency)}"


def _deposit(payment: PaymentRecorded, books: Books, findings: list[Finding]) -> dict[str, Any]:
    """The account the money goes to: by method and provider, by method, the company's; else Undeposited Funds."""
    by_method = books.settings.get("deposit_accounts") or {}
    named = [by_method[name] for name in _methods(payment) if name in by_method]
    account = named[0] if named else books.settings.get("deposit_account")
    if not account:
        return {}
    held = account.get("currency")
    if held and held not in {payment.currency, books.home_currency}:
        findings.append(
            Finding(
                "deposit_account_currency",
                "deposit account",
                f"{account.get('name') or account['id']} is kept in {held}, the payment is in {payment.currency}",
                "Choose a deposit account in the payment's currency or in the home currency for this method.",
                f"deposit_account:{books.company_id}:{account['id']}",
            )
        )
    return {"DepositToAccountRef": {"value": account["id"]}}


def _money(minor: int, currency: str) -> str:
    amount: Decimal = to_decimal(minor, currency)
    return f"{amount} {currency}"

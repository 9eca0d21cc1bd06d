"""Settings of a QuickBooks company that surprise people, each with what it does to the sync and where to change it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.mapping.settings import Reference
from services.quickbooks.entities import Preferences


@dataclass(frozen=True, slots=True)
class Finding:
    """One setting worth knowing. `risk` is False for what only informs."""

    code: str
    risk: bool
    sentence: str
    place: str  # in QuickBooks


SALES = "Account and settings > Sales"
ADVANCED = "Account and settings > Advanced"


def report(preferences: Preferences) -> list[Finding]:
    """What there is to know before the first document goes out, risks first."""
    return sorted(_findings(preferences), key=lambda finding: not finding.risk)


def deposits(
    banks: Mapping[str, str], usual: Reference | None, by_method: Mapping[str, Reference]
) -> Iterator[Finding]:
    """Payments of processors that go straight to a bank account: payouts come later, together and less their fees.

    `banks` are names of bank accounts by id; `by_method` names a processor as `method:provider`.
    """
    place = "algasync: settings set deposit_accounts"
    for method, account in by_method.items():
        if ":" in method and account.id in banks:
            yield Finding(
                "processor_payments_to_bank",
                True,
                f"Payments of {method} are deposited straight to the bank account {banks[account.id]}. A processor pays"
                " several out at once, less its fees, so they would not match the bank's lines: use Undeposited Funds"
                " or a clearing account.",
                place,
            )
    if usual is not None and usual.id in banks:
        yield Finding(
            "payments_to_bank",
            False,
            f"Payments are deposited straight to the bank account {banks[usual.id]}, and so are those of a processor"
            " for which no deposit account of its own is set.",
            place,
        )


def _findings(preferences: Preferences) -> Iterator[Finding]:
    sales, books = preferences.sales_forms_prefs, preferences.accounting_info_prefs
    tax, currency = preferences.tax_prefs, preferences.currency_prefs
    if sales and sales.auto_apply_credit:
        yield Finding(
            "auto_apply_credit",
            True,
            "QuickBooks applies credits to invoices by itself and may be faster than the application made in billing.",
            f"{ADVANCED} > Automation > Automatically apply credits",
        )
    if sales and sales.auto_apply_payments:
        yield Finding(
            "auto_apply_payments",
            True,
            "QuickBooks applies unapplied payments to invoices by itself, which billing did not ask for.",
            f"{ADVANCED} > Automation",
        )
    if sales and sales.custom_txn_numbers is False:
        yield Finding(
            "no_custom_numbers",
            True,
            "Custom transaction numbers are off: numbers from billing are kept, but QuickBooks neither shows the"
            " field on its forms nor warns of duplicates.",
            f"{SALES} > Sales form content > Custom transaction numbers",
        )
    yield Finding(
        "invoice_reminders",
        False,
        "Whether QuickBooks itself reminds customers of open invoices cannot be read from here; clients whom billing"
        " reminds too would hear twice.",
        f"{SALES} > Reminders > Automatic invoice reminders",
    )
    if books and books.book_close_date:
        yield Finding(
            "books_closed",
            False,
            f"The books are closed through {books.book_close_date}: documents dated until then need a decision.",
            f"{ADVANCED} > Accounting > Close the books",
        )
    if tax and tax.partner_tax_enabled:
        yield Finding(
            "automated_sales_tax",
            True,
            "Automated Sales Tax computes tax from addresses; a total that differs from billing's is reported.",
            "Taxes > Sales tax > Sales tax settings",
        )
    if currency and currency.multi_currency_enabled:
        yield Finding(
            "multicurrency",
            False,
            "Multicurrency is on: a customer has one currency for ever, so a client billed in two needs two customers.",
            f"{ADVANCED} > Currency",
        )
    if books and (books.class_tracking_per_txn or books.class_tracking_per_txn_line):
        where = "line" if books.class_tracking_per_txn_line else "document"
        yield Finding(
            "class_tracking",
            False,
            f"Classes are tracked per {where}; set a default class, or one per mapped item.",
            f"{ADVANCED} > Categories > Track classes",
        )
    if books and books.track_departments:
        yield Finding(
            "department_tracking",
            False,
            f"{books.department_terminology or 'Location'}s are tracked; set a default department.",
            f"{ADVANCED} > Categories > Track locations",
        )

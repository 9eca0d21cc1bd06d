"""What an MSP bills and is paid: invoices, credit memos, refund receipts, payments.

https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/invoice
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/creditmemo
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/payment
"""

from __future__ import annotations

import datetime
from decimal import Decimal

from pydantic import Field

from services.quickbooks.entities.base import Address, EmailAddress, Memo, Ref, Transaction
from services.quickbooks.entities.lines import Line, PaymentLine, TxnTaxDetail


class SalesForm(Transaction):
    """What invoices, credit memos and refund receipts share; their amounts are positive.

    `global_tax_calculation` (TaxExcluded, TaxInclusive, NotApplicable) belongs outside the US only.
    """

    customer_ref: Ref | None = None
    customer_memo: Memo | None = None
    line: list[Line] | None = None
    txn_tax_detail: TxnTaxDetail | None = None
    global_tax_calculation: str | None = None
    apply_tax_after_discount: bool | None = None
    class_ref: Ref | None = None
    sales_term_ref: Ref | None = None
    bill_email: EmailAddress | None = None
    bill_addr: Address | None = None
    ship_addr: Address | None = None
    print_status: str | None = None
    email_status: str | None = None
    total_amt: Decimal | None = None
    home_total_amt: Decimal | None = None
    balance: Decimal | None = None
    home_balance: Decimal | None = None


class Invoice(SalesForm):
    """An invoice. `doc_number` has at most 21 characters and is no unique key (see 6140)."""

    due_date: datetime.date | None = None
    bill_email_cc: EmailAddress | None = None
    bill_email_bcc: EmailAddress | None = None
    deposit: Decimal | None = None
    allow_online_credit_card_payment: bool | None = None
    allow_online_ach_payment: bool | None = Field(default=None, alias="AllowOnlineACHPayment")
    allow_online_payment: bool | None = None
    allow_ipn_payment: bool | None = Field(default=None, alias="AllowIPNPayment")
    invoice_link: str | None = None


class CreditMemo(SalesForm):
    """A credit note. `remaining_credit` is what is not applied yet; applications are payments of total 0."""

    remaining_credit: Decimal | None = None


class RefundReceipt(SalesForm):
    """Money given back."""

    deposit_to_account_ref: Ref | None = None
    payment_method_ref: Ref | None = None
    payment_ref_num: str | None = None


class Payment(Transaction):
    """Money received, or with `total_amt` 0 a credit applied.

    One line per transaction it settles; what no line takes is `unapplied_amt`.
    """

    customer_ref: Ref | None = None
    total_amt: Decimal | None = None
    unapplied_amt: Decimal | None = None
    line: list[PaymentLine] | None = None
    deposit_to_account_ref: Ref | None = None
    payment_method_ref: Ref | None = None
    payment_ref_num: str | None = None
    process_payment: bool | None = None

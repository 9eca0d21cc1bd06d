"""The registry: which handler knows which kind of operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.ledger.ports import Handler
from services.outbound.apply_credit import ApplyCredit
from services.outbound.change_due_date import CHANGE_DUE_DATE
from services.outbound.compute_tax import COMPUTE_TAX
from services.outbound.create_customer import CreateCustomer
from services.outbound.export_batch import ExportBatch
from services.outbound.export_form import EXPORT_CREDIT_MEMO, EXPORT_INVOICE
from services.outbound.export_payment import ExportPayment
from services.outbound.push_customer import PushCustomer
from services.outbound.return_money import ReturnMoney
from services.outbound.reverse_payment import ReversePayment
from services.outbound.unapply_credit import UnapplyCredit
from services.outbound.unsupported import Unsupported
from services.outbound.void_credit_memo import VoidCreditMemo
from services.outbound.void_invoice import VoidInvoice
from services.outbound.write_off import WRITE_OFF

_ALL: tuple[Handler, ...] = (
    EXPORT_INVOICE,
    EXPORT_CREDIT_MEMO,
    ExportBatch(),
    CHANGE_DUE_DATE,
    COMPUTE_TAX,
    ExportPayment(),
    ApplyCredit(),
    UnapplyCredit(),
    VoidInvoice(),
    VoidCreditMemo(),
    ReversePayment(),
    ReturnMoney(),
    CreateCustomer(),
    PushCustomer(),
    WRITE_OFF,
    Unsupported(),
)

HANDLERS: Final[Mapping[str, Handler]] = {handler.kind: handler for handler in _ALL}
"""Handlers by the kind of operation they know."""

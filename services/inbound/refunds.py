"""Handler of `report_refund`: money that was given back in QuickBooks is reported with what to do about it.

A refund receipt touches no receivable and names no payment, so nothing in billing follows from it by itself.
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/refundreceipt
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pydantic import ValidationError
from sqlalchemy import Connection

from messages.money import to_minor
from services.exceptions import desk
from services.inbound import cases, differences, owners, troubles
from services.inbound.cases import Case
from services.inbound.local import LocalHandler
from services.ledger.operations import Operation
from services.ledger.ports import Done, Fail, Prepared, Problem, Skip
from services.quickbooks.entities import RefundReceipt

REFUND: Final = "accounting_sync_refund_receipt"


class ReportRefund(LocalHandler):
    """Judges refund receipts."""

    kind = "report_refund"

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """One exception a receipt, as it stands now; none for what is not billing's business."""
        case = cases.load(connection, operation)
        if case is None:
            return Skip("superseded", "a newer version of it was seen")
        raw = case.seen.raw
        if raw is None or differences.is_void(raw):
            how = "deleted" if raw is None else "voided"
            case.resolve(REFUND, f"the refund was {how} in QuickBooks")
            return Done(how, "nothing was given back after all")
        try:
            refund = RefundReceipt.model_validate(raw)
        except ValidationError as error:
            return Fail(troubles.unreadable(case, error))
        customer = refund.customer_ref
        owner = owners.of_customer(connection, case.company_id, customer.value if customer else "")
        if not owner.linked:
            return Skip("unlinked_customer", "its customer is not linked")
        cutover = case.settings.cutover_date
        if cutover is not None and refund.txn_date is not None and refund.txn_date < cutover:
            return Skip("before_cutover", f"it is before the cutover of {cutover}")
        # About the receipt and not about this operation, which is done once it has said so.
        about = replace(desk.about(operation), operation_id=None)
        desk.report(connection, about, _problem(case, refund, owner.client_id))
        return Done("reported", "a person enters it in billing")


def _problem(case: Case, refund: RefundReceipt, client_id: str | None) -> Problem:
    currency = refund.currency_ref.value if refund.currency_ref else case.company.home_currency
    total = to_minor(refund.total_amt or 0, currency)
    name = (
        refund.customer_ref.name if refund.customer_ref and refund.customer_ref.name else "a linked customer"
    )
    number = refund.doc_number or case.external_id
    return Problem(
        type=REFUND,
        code="refund_receipt",
        cause=f"refund:{case.company_id}:{case.external_id}:{total}",
        title=f"Refund {number} to {name} was made in QuickBooks",
        happened=f"{troubles.amount(total, currency)} were given back on {refund.txn_date}.",
        why="A refund receipt names no payment and no invoice, so what it undoes in billing cannot be told.",
        fix=f"If it gives back a payment of billing, record a refund of that payment there, dated {refund.txn_date}; "
        "if it gives back credit, reduce the client's credit. Then resolve this item with a note. If it is none of "
        "billing's, ignore it with a reason.",
        details={
            "quickbooks_id": case.external_id,
            "number": number,
            "date": str(refund.txn_date),
            "reference": refund.payment_ref_num,
            "memo": refund.private_note,
            "url": case.tell.url("RefundReceipt", case.external_id),
        },
        client_id=client_id,
        amount=total,
        currency=currency,
    )

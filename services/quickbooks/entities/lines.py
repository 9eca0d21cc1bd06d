"""The lines of documents and payments, and the tax part of a document.

Seventeen kinds exist; those that sales documents carry are typed, any other is kept as it came.
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/invoice
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Tag

from services.quickbooks.entities.base import LinkedTxn, NameValue, Part, Ref


class BaseLine(Part):
    """What every line has: `amount` to the currency's minor unit, `description` up to 4000 characters."""

    id: str | None = None
    line_num: int | None = None
    description: str | None = None
    amount: Decimal | None = None
    linked_txn: list[LinkedTxn] | None = None


class SalesItemLineDetail(Part):
    """What was sold. `amount` of the line is `qty` times `unit_price`, rounded (else 6070 in the US)."""

    item_ref: Ref | None = None
    qty: Decimal | None = None
    unit_price: Decimal | None = None
    tax_code_ref: Ref | None = None
    class_ref: Ref | None = None
    item_account_ref: Ref | None = None
    service_date: datetime.date | None = None
    discount_rate: Decimal | None = None
    discount_amt: Decimal | None = None
    tax_inclusive_amt: Decimal | None = None


class SalesItemLine(BaseLine):
    """A line that sells an item."""

    detail_type: Literal["SalesItemLineDetail"] = "SalesItemLineDetail"
    sales_item_line_detail: SalesItemLineDetail


class DiscountLineDetail(Part):
    """A discount over the document; a positive amount reduces the total."""

    percent_based: bool | None = None
    discount_percent: Decimal | None = None
    discount_account_ref: Ref | None = None


class DiscountLine(BaseLine):
    """A line that takes a discount off the document."""

    detail_type: Literal["DiscountLineDetail"] = "DiscountLineDetail"
    discount_line_detail: DiscountLineDetail


class SubTotalLine(BaseLine):
    """The subtotal QuickBooks appends to what it answers; never sent back."""

    detail_type: Literal["SubTotalLineDetail"] = "SubTotalLineDetail"


class DescriptionLineDetail(Part):
    """What a line of text may carry."""

    service_date: datetime.date | None = None
    tax_code_ref: Ref | None = None


class DescriptionLine(BaseLine):
    """A line of text."""

    detail_type: Literal["DescriptionOnly"] = "DescriptionOnly"
    description_line_detail: DescriptionLineDetail | None = None


class TaxLineDetail(Part):
    """One rate's part of the tax. `tax_percent` is a percentage, `net_amount_taxable` the base."""

    tax_rate_ref: Ref | None = None
    percent_based: bool | None = None
    tax_percent: Decimal | None = None
    net_amount_taxable: Decimal | None = None
    tax_inclusive_amount: Decimal | None = None
    override_delta_amount: Decimal | None = None


class TaxLine(BaseLine):
    """One rate's line in TxnTaxDetail."""

    detail_type: Literal["TaxLineDetail"] = "TaxLineDetail"
    tax_line_detail: TaxLineDetail


class GroupLineDetail(Part):
    """A bundle and the lines within it."""

    group_item_ref: Ref | None = None
    quantity: Decimal | None = None
    line: list[Line] | None = None


class GroupLine(BaseLine):
    """A line that sells a bundle."""

    detail_type: Literal["GroupLineDetail"] = "GroupLineDetail"
    group_line_detail: GroupLineDetail


class OtherLine(BaseLine):
    """A line of a kind not typed here, kept as it came."""

    detail_type: str | None = None


_TYPED = {
    "SalesItemLineDetail",
    "DiscountLineDetail",
    "SubTotalLineDetail",
    "DescriptionOnly",
    "TaxLineDetail",
    "GroupLineDetail",
}


def _kind(line: Any) -> str:
    """Return which class reads the line: by DetailType, OtherLine when the detail of that kind is missing."""
    if isinstance(line, OtherLine):
        return "other"
    if not isinstance(line, Mapping):
        return str(getattr(line, "detail_type", "other"))
    kind = line.get("DetailType", line.get("detail_type"))
    if kind not in _TYPED:
        return "other"
    has_detail = kind in {"SubTotalLineDetail", "DescriptionOnly"} or kind in line or "detail_type" in line
    return kind if has_detail else "other"


Line = Annotated[
    Annotated[SalesItemLine, Tag("SalesItemLineDetail")]
    | Annotated[DiscountLine, Tag("DiscountLineDetail")]
    | Annotated[SubTotalLine, Tag("SubTotalLineDetail")]
    | Annotated[DescriptionLine, Tag("DescriptionOnly")]
    | Annotated[TaxLine, Tag("TaxLineDetail")]
    | Annotated[GroupLine, Tag("GroupLineDetail")]
    | Annotated[OtherLine, Tag("other")],
    Discriminator(_kind),
]
"""A line of a sales document, of whichever kind."""


class LineEx(Part):
    """What QuickBooks adds to a payment's lines on read; never sent back."""

    model_config = ConfigDict(alias_generator=None)

    any: list[dict[str, Any]] | None = None

    @property
    def values(self) -> dict[str, str]:
        """The named values: txnId, txnOpenBalance (before this payment), txnReferenceNumber (DocNumber)."""
        found = (NameValue.model_validate(item.get("value") or {}) for item in self.any or ())
        return {item.name: item.value for item in found if item.name and item.value is not None}


class PaymentLine(Part):
    """How much of a payment, or of a credit, goes to the linked transaction; always positive."""

    amount: Decimal | None = None
    linked_txn: list[LinkedTxn] | None = None
    line_ex: LineEx | None = None


class TxnTaxDetail(Part):
    """The document's tax. In the US `txn_tax_code_ref` and `total_tax` override what QuickBooks computes."""

    txn_tax_code_ref: Ref | None = None
    total_tax: Decimal | None = None
    tax_line: list[Line] | None = None
    tax_review_status: str | None = None


GroupLineDetail.model_rebuild()

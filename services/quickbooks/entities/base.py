"""What all QuickBooks objects share: names on the wire, unknown fields kept, references, metadata.

Attributes are Python names, the wire's are Intuit's (`customer_ref` is `CustomerRef`). Fields that Intuit
adds later are kept as they came and go back untouched on a full update. Every field of a reply may be absent.
https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/minor-versions
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal


class Part(BaseModel):
    """Any piece of a QuickBooks object."""

    model_config = ConfigDict(
        extra="allow",
        alias_generator=to_pascal,
        validate_by_name=True,
        validate_by_alias=True,
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,  # an error's text may be logged, and the input names people
    )

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object QuickBooks knows: Intuit's names, Decimals, nothing that is None."""
        return self.model_dump(by_alias=True, exclude_none=True)


class Ref(Part):
    """A reference to another object: `value` is its id, `name` what QuickBooks shows (may be absent)."""

    model_config = ConfigDict(alias_generator=None)

    value: str
    name: str | None = None
    type: str | None = None


class Memo(Part):
    """A text that QuickBooks wraps in an object, like CustomerMemo (at most 1000 characters)."""

    model_config = ConfigDict(alias_generator=None)

    value: str | None = None


class MetaData(Part):
    """When QuickBooks made and last changed the object, to the second, with the Pacific offset."""

    create_time: datetime.datetime | None = None
    last_updated_time: datetime.datetime | None = None


class LinkedTxn(Part):
    """A link to another transaction: for example a payment's to the invoice it pays."""

    txn_id: str
    txn_type: str
    txn_line_id: str | None = None


class EmailAddress(Part):
    """An e-mail address (at most 100 characters)."""

    address: str | None = None


class TelephoneNumber(Part):
    """A telephone number (at most 21 characters)."""

    free_form_number: str | None = None


class WebAddress(Part):
    """A web address."""

    uri: str | None = Field(default=None, alias="URI")


class Address(Part):
    """A postal address: lines of at most 500 characters, city and country of at most 255."""

    id: str | None = None
    line1: str | None = None
    line2: str | None = None
    line3: str | None = None
    line4: str | None = None
    line5: str | None = None
    city: str | None = None
    country: str | None = None
    country_sub_division_code: str | None = None
    postal_code: str | None = None
    lat: str | None = None
    long: str | None = None


class NameValue(Part):
    """A named value in an open list."""

    name: str | None = None
    value: str | None = None


class Entity(Part):
    """An object with an identity. `id` and `sync_token` are opaque; both are "" before it is created.

    `status` is "Deleted" on what the change feed leaves of a deleted object.
    """

    deletable: ClassVar[bool] = False
    """Whether QuickBooks deletes it (transactions), or only makes it inactive (lists)."""

    id: str = ""
    sync_token: str = ""
    meta_data: MetaData | None = None
    domain: str | None = Field(default=None, alias="domain")
    sparse: bool | None = Field(default=None, alias="sparse")
    status: str | None = Field(default=None, alias="status")

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object QuickBooks knows; an object not yet created has neither Id nor SyncToken."""
        wire = super().to_wire()
        for key in ("Id", "SyncToken"):
            if not wire[key]:
                del wire[key]
        return wire


class Transaction(Entity):
    """A dated document. `exchange_rate` is home units for one foreign unit."""

    deletable = True

    doc_number: str | None = None
    txn_date: datetime.date | None = None
    private_note: str | None = None
    currency_ref: Ref | None = None
    exchange_rate: Decimal | None = None
    department_ref: Ref | None = None
    linked_txn: list[LinkedTxn] | None = None

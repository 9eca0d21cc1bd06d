"""Who is billed: the client, the billing profile that bills for it, and news about a client."""

from __future__ import annotations

from typing import Literal

from messages.shape import EventData, Identifier, Name, OptionalIdentifier, OptionalText, Shape


class Actor(Shape):
    """Who caused an event in the billing system."""

    type: Literal["user", "contact", "system"]
    id: OptionalIdentifier = None
    name: OptionalText = None


class Address(Shape):
    """A postal address, as far as it is known."""

    line1: OptionalText = None
    line2: OptionalText = None
    line3: OptionalText = None
    city: OptionalText = None
    region: OptionalText = None
    """State or province, for example WA."""
    postal_code: OptionalText = None
    country: OptionalText = None
    """ISO 3166 code or name."""


class Client(Shape):
    """The client as it was when the document was made."""

    id: Identifier
    name: Name
    billing_email: OptionalText = None
    billing_address: Address | None = None
    shipping_address: Address | None = None
    """Sales tax needs one."""
    tax_exempt: bool


class BillingProfile(Shape):
    """A part of a client that is billed on its own, such as a site or a department."""

    id: Identifier
    name: Name
    bills_separately: bool
    """True when it has a customer (a sub-customer) of its own in QuickBooks."""
    parent: OptionalIdentifier = None
    """Id of the client or profile it hangs below."""


class ClientUpdated(EventData):
    """A client was renamed, moved, or changed its tax status. What is left out did not change."""

    kind = "client"

    id: Identifier
    name: Name
    billing_email: OptionalText = None
    billing_address: Address | None = None
    shipping_address: Address | None = None
    tax_exempt: bool | None = None

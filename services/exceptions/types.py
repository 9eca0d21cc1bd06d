"""The types of exceptions: AlgaPSA's own names, exactly, and ours for what it has no name for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Type:
    """One type: what it is about, what it means, and what settles it without anybody closing it."""

    name: str
    about: str
    meaning: str
    settled_by: str


TYPES: Final = (
    Type(
        "accounting_sync_export_error",
        "a document",
        "Something that billing recorded could not be brought to QuickBooks.",
        "the same step succeeds, or a later one makes it pointless",
    ),
    Type(
        "accounting_sync_drift",
        "a document",
        "Somebody changed, voided or deleted a document in QuickBooks, and the books do not agree any more.",
        "the change is undone there, or a resolution is chosen",
    ),
    Type(
        "accounting_sync_unmapped_payment",
        "a payment",
        "Money or credit in QuickBooks could not be taken over into billing.",
        "what it pays becomes known, or the payment is changed or deleted there",
    ),
    Type(
        "accounting_sync_customer_unlinked",
        "a client",
        "The QuickBooks customer of a client was deleted, merged or made inactive.",
        "the client is linked again, or the customer is made active again",
    ),
    Type(
        "accounting_connection_expired",
        "a connection",
        "QuickBooks does not accept the connection of a company any more.",
        "somebody reconnects it",
    ),
    Type(
        "accounting_sync_poll_failed",
        "the change feed of a company",
        "What changed in QuickBooks could not be read.",
        "a later read succeeds",
    ),
    Type(
        "accounting_sync_refund_receipt",
        "a refund receipt",
        "Somebody refunded a client in QuickBooks, and billing does not know of it.",
        "the receipt is voided or deleted there, or the refund is recorded in billing",
    ),
    Type(
        "accounting_sync_waiting",
        "a document",
        "Something waits behind other trouble, or has waited for more than a week for what has not come.",
        "what it waits for comes, or the step is not wanted any more",
    ),
    Type(
        "accounting_sync_warning",
        "a document",
        "Something was done as billing asked, and somebody may want to know.",
        "nothing: ignore it once you have read it",
    ),
    Type(
        "accounting_sync_brake",
        "one kind of a company's work",
        "QuickBooks refused the same kind of work again and again, so it was stopped before it flooded the list.",
        "one of the refused items succeeds when it is retried, or somebody resumes the work",
    ),
    Type(
        "accounting_sync_poison_message",
        "an event or message",
        "A message cannot be read, or keeps ending the worker that takes it.",
        "the event is taken over after all, or its letter is discarded",
    ),
    Type(
        "accounting_reconciliation_unexplained",
        "a company",
        "The newest statement of a company has differences between the books that nothing explains.",
        "a later statement without anything unexplained",
    ),
    Type(
        "accounting_sync_webhook_disabled",
        "a subscription, or the mail of notices",
        "Nothing has arrived at a destination for a day.",
        "the subscription is resumed or deleted; for mail, the next one that is taken",
    ),
    Type(
        "accounting_sync_webhook_event_refused",
        "a delivery",
        "A receiver refuses one event while it takes others.",
        "the delivery is replayed and arrives",
    ),
    Type(
        "accounting_sync_payment_not_recorded",
        "a payment",
        "A payment made in QuickBooks is not in AlgaPSA as it should be, and its REST API cannot bring it there.",
        "the books are mended by hand and the delivery is replayed, or a later event finds them right",
    ),
)
NAMES: Final = tuple(one.name for one in TYPES)

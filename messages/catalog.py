"""Every event there is: type name, model, what it is about.

A type is `com.algapsa.<room>.<noun>.<what happened>.v<version>`. The rooms are `billing` (what the PSA tells
us) and `accounting` (what we tell the PSA), and so are the exchanges; what follows is the routing key.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import ValidationError

from messages.accounting import (
    ConnectionAttentionNeeded,
    ConnectionRestored,
    CreditAppliedInQuickBooks,
    CreditWithdrawnInQuickBooks,
    DocumentDrifted,
    DocumentSynced,
    DocumentTaxComputed,
    ExceptionOpened,
    ExceptionResolved,
    PaymentChanged,
    PaymentReceived,
    PaymentWithdrawn,
)
from messages.clients import ClientUpdated
from messages.credits import (
    CreditApplied,
    CreditExpired,
    CreditNoteFinalized,
    CreditNoteVoided,
    CreditUnapplied,
)
from messages.errors import BadMessage, InvalidData, Problem, UnknownType, UnknownVersion
from messages.invoices import (
    InvoiceCorrected,
    InvoiceDueDateChanged,
    InvoiceFinalized,
    InvoiceTaxRequested,
    InvoiceVoided,
    InvoiceWrittenOff,
)
from messages.payments import PaymentReallocated, PaymentRecorded, PaymentRefunded, PaymentReversed
from messages.refusals import problems_in
from messages.shape import EventData, shown

PREFIX: Final = "com.algapsa."

Room = Literal["billing", "accounting"]


@dataclass(frozen=True, slots=True)
class EventType:
    """One version of one event."""

    room: Room
    routing_key: str  # such as invoice.finalized.v1
    model: type[EventData]

    @property
    def name(self) -> str:
        """The `type` attribute of the envelope."""
        return f"{PREFIX}{self.room}.{self.routing_key}"

    @property
    def kind(self) -> str:
        """What its subject is: invoice, credit_note, payment, ..."""
        return self.model.kind


_BILLING: Final = tuple(
    EventType("billing", routing_key, model)
    for routing_key, model in (
        ("invoice.finalized.v1", InvoiceFinalized),
        ("invoice.corrected.v1", InvoiceCorrected),
        ("invoice.tax_requested.v1", InvoiceTaxRequested),
        ("invoice.voided.v1", InvoiceVoided),
        ("invoice.written_off.v1", InvoiceWrittenOff),
        ("invoice.due_date_changed.v1", InvoiceDueDateChanged),
        ("credit_note.finalized.v1", CreditNoteFinalized),
        ("credit_note.voided.v1", CreditNoteVoided),
        ("credit.applied.v1", CreditApplied),
        ("credit.unapplied.v1", CreditUnapplied),
        ("credit.expired.v1", CreditExpired),
        ("payment.recorded.v1", PaymentRecorded),
        ("payment.reallocated.v1", PaymentReallocated),
        ("payment.reversed.v1", PaymentReversed),
        ("payment.refunded.v1", PaymentRefunded),
        ("client.updated.v1", ClientUpdated),
    )
)
_ACCOUNTING: Final = tuple(
    EventType("accounting", routing_key, model)
    for routing_key, model in (
        ("document.synced.v1", DocumentSynced),
        ("document.drifted.v1", DocumentDrifted),
        ("document.tax_computed.v1", DocumentTaxComputed),
        ("payment.received.v1", PaymentReceived),
        ("payment.changed.v1", PaymentChanged),
        ("payment.withdrawn.v1", PaymentWithdrawn),
        ("credit.applied_in_quickbooks.v1", CreditAppliedInQuickBooks),
        ("credit.withdrawn_in_quickbooks.v1", CreditWithdrawnInQuickBooks),
        ("exception.opened.v1", ExceptionOpened),
        ("exception.resolved.v1", ExceptionResolved),
        ("connection.attention_needed.v1", ConnectionAttentionNeeded),
        ("connection.restored.v1", ConnectionRestored),
    )
)
CATALOG: Final[dict[str, EventType]] = {entry.name: entry for entry in (*_BILLING, *_ACCOUNTING)}

_BY_MODEL: Final = {entry.model: entry for entry in CATALOG.values()}
_VERSION: Final = re.compile(r"\.v\d+$", re.ASCII)


def lookup(name: object) -> EventType:
    """Return the entry of a type name; raises UnknownType or UnknownVersion, naming the nearest."""
    if isinstance(name, str) and name in CATALOG:
        return CATALOG[name]
    if not isinstance(name, str):
        raise UnknownType([Problem("type", f"is {shown(name)}; send the name of an event")])
    stem = _VERSION.sub("", name)
    versions = [known for known in CATALOG if _VERSION.sub("", known) == stem]
    if versions:
        raise UnknownVersion([Problem("type", f"is {shown(name)}; known here: {', '.join(versions)}")])
    near = difflib.get_close_matches(name[:200], CATALOG, n=1)
    hint = f"did you mean {near[0]}?" if near else f"types begin with {PREFIX}billing. or {PREFIX}accounting."
    raise UnknownType([Problem("type", f"is {shown(name)}, which is no known event; {hint}")])


def entry_of(data: EventData) -> EventType:
    """Return the entry of a piece of data by its model."""
    return _BY_MODEL[type(data)]


def validate(name: str, data: object) -> EventData:
    """Read the data of an event: plain JSON values, or the model itself.

    Raises UnknownType, UnknownVersion, or InvalidData with every problem found.
    """
    entry = lookup(name)
    try:
        return entry.model.model_validate(data)
    except ValidationError as error:
        raise InvalidData(problems_in(error, entry.model, "data")) from None


def problems(name: str, data: Any) -> list[Problem]:
    """Return what is wrong with the data of an event; an empty list when it may be emitted."""
    try:
        validate(name, data)
    except BadMessage as error:
        return list(error.problems)
    return []

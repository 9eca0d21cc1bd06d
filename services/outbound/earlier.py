"""What billing said of a document when it was last brought to QuickBooks, as a body of today's mappings.

Next to what billing says now it tells what a correction changes or takes away; the rest of what QuickBooks has is
somebody's own.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, text

from messages import validate
from messages.invoices import Document as Billed
from services.ledger.operations import Operation
from services.mapping.mappings import lookup
from services.outbound import forms
from services.outbound.books import Books
from services.outbound.forms import Form
from services.outbound.marker import marker

# Of a document that was linked by hand it is the first that billing said.
_SAID: Final = text(
    """SELECT e.data FROM event e LEFT JOIN operation o
         ON (o.tenant_id, o.document_kind, o.document_id, o.revision)
            = (e.tenant_id, e.document_kind, e.document_id, e.sequence)
        AND o.kind = :kind AND o.company_id = :company
        AND (o.state = 'succeeded' OR (o.state = 'skipped' AND o.reason_code = 'nothing_changed'))
        WHERE e.tenant_id = :tenant AND e.document_kind = :document_kind AND e.document_id = :document_id
          AND e.sequence < :revision AND e.type = ANY (:types)
        ORDER BY o.operation_id IS NULL, CASE WHEN o.operation_id IS NULL THEN e.sequence ELSE -e.sequence END
        LIMIT 1"""
)
_WHOLE: Final = ("invoice.finalized.v1", "invoice.corrected.v1", "credit_note.finalized.v1")
"""Events that say all of a document."""


def said(connection: Connection, operation: Operation, form: Form, books: Books) -> dict[str, Any] | None:
    """Return the body; None when nothing is known of it any more."""
    values = {
        "tenant": operation.tenant_id,
        "company": operation.company_id,
        "kind": operation.kind,
        "document_kind": operation.document_kind,
        "document_id": operation.document_id,
        "revision": operation.revision,
        "types": list(_WHOLE),
    }
    data = connection.execute(_SAID, values).scalar_one_or_none()
    if data is None:
        return None
    billed = validate(form.event, data)
    assert isinstance(billed, Billed)
    mappings = lookup(connection, books.company_id, set(forms.keys(billed, books)))
    return forms.build(form, billed, books, mappings, marker(operation))[0]

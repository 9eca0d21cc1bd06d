"""The short human marker: a few characters in the private note by which we know our own object again.

It depends on what the operation is about and never on how often it was tried.
"""

from __future__ import annotations

import base64
import hashlib
import json
from uuid import UUID

from services.ledger.operations import Operation
from services.outbound.texts import fitted

LENGTH = 8  # 40 bits: next to number, customer, total and date, a chance match is out of the question
LONGEST_NOTE = 4000


def marker(operation: Operation) -> str:
    """Return the marker of an operation's document, such as `AS-7KQ2M4TB`."""
    return of(operation.tenant_id, operation.company_id, operation.document_kind, operation.document_id)


def of(tenant: str, company_id: UUID | None, kind: str, document_id: str) -> str:
    """Return the marker of a document in a company."""
    key = json.dumps([tenant, str(company_id), kind, document_id])
    digest = base64.b32encode(hashlib.sha256(key.encode()).digest()).decode()
    return f"AS-{digest[:LENGTH]}"


def note(mark: str, *said: str | None) -> str:
    """The private note: what people should read, then the marker, which is never cut off."""
    ending = f"algasync {mark}"
    text = fitted("\n".join(part for part in said if part), LONGEST_NOTE - len(ending) - 1)
    return f"{text}\n{ending}" if text else ending


def bears(private_note: str | None, mark: str) -> bool:
    """Whether a note has our marker in it."""
    return f"algasync {mark}" in (private_note or "")


def bears_any(private_note: str | None) -> bool:
    """Whether a note has any marker of ours in it."""
    return "algasync AS-" in (private_note or "")


def without(private_note: str | None, mark: str) -> str:
    """The note without one marker of ours; everything else in it stays."""
    return "\n".join(line for line in (private_note or "").split("\n") if line != f"algasync {mark}")

"""How documents are called in sentences for people."""

from __future__ import annotations

from typing import Any

from services.ledger.documents import Document

_NOUNS = {"credit_note": "credit note", "credit_application": "credit application"}


def label(document: Document) -> str:
    """The document as a person would name it: invoice INV-1042 of Cool Cars."""
    noun = _NOUNS.get(document.kind, document.kind)
    name = f"{noun} {document.number or document.document_id}"
    return f"{name} of {document.client_name}" if document.client_name else name


def facts(document: Document) -> dict[str, Any]:
    """What every problem of a document carries: whose it is and how much it is about."""
    return {"client_id": document.client_id, "amount": document.total, "currency": document.currency}


def title(document: Document) -> str:
    """The label at the beginning of a sentence."""
    said = label(document)
    return said[0].upper() + said[1:]

"""The short human marker: a few characters in the private note by which we know our own document again.

It depends on what the operation is about and never on how often it was tried.
"""

from __future__ import annotations

import base64
import hashlib
import json

from services.ledger.operations import Operation

LENGTH = 8  # 40 bits: next to number, customer, total and date, a chance match is out of the question


def marker(operation: Operation) -> str:
    """Return the marker of an operation's document, such as `AS-7KQ2M4TB`."""
    key = json.dumps(
        [
            operation.tenant_id,
            str(operation.company_id),
            operation.document_kind,
            operation.document_id,
        ]
    )
    digest = base64.b32encode(hashlib.sha256(key.encode()).digest()).decode()
    return f"AS-{digest[:LENGTH]}"

"""What billing says a second time of the same payment or application of credit.

The same again is no news. What was not sent yet simply takes the newer form. But what may be in QuickBooks by now is
not made anew, and its description stays: everything later, such as taking it back, rests on what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, text

from messages.credits import CreditApplied
from messages.payments import PaymentRecorded
from services.outbound import dossiers

# A definite refusal had no effect; anything else may have had one.
_MAYBE_SENT: Final = text(
    """SELECT EXISTS (SELECT FROM operation
                      WHERE tenant_id = :tenant AND document_kind = :kind AND document_id = :id AND kind = :operation
                        AND outcome NOT IN ('none', 'unsent', 'refused'))"""
)


def contradicts(
    connection: Connection, tenant: str, said: CreditApplied | PaymentRecorded, operation: str
) -> bool:
    """Whether it was said otherwise before, by an event whose `operation` may have had an effect in QuickBooks."""
    kind, document_id = said.key
    dossier = dossiers.one(connection, tenant, kind, document_id)
    known = dossier.document
    if known.data is None or known.state != "finalized" or _facts(known.data) == _facts(said.plain()):
        return False
    values = {"tenant": tenant, "kind": kind, "id": document_id, "operation": operation}
    return dossier.live or bool(connection.execute(_MAYBE_SENT, values).scalar_one())


def in_part(connection: Connection, tenant: str, taken_back: CreditApplied) -> bool:
    """Whether another amount is taken back than was applied: an application is one line, taken off whole or not."""
    known = dossiers.one(connection, tenant, *taken_back.key).document
    return known.state == "finalized" and known.total is not None and known.total != taken_back.amount


def _facts(data: Mapping[str, Any]) -> dict[str, Any]:
    """What must not change; where a payment goes may."""
    named = ("amount", "currency", "date", "source_kind", "source_id", "invoice_id")
    return {name: data.get(name) for name in named} | {"client": (data.get("client") or {}).get("id")}

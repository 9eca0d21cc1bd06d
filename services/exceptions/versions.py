"""Both versions of what an exception is about, side by side: what billing has and what QuickBooks has."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, text

from messages.money import to_decimal
from services.ledger import links
from services.ledger.links import Link

if TYPE_CHECKING:
    from services.exceptions.exceptions import SyncException

_DOCUMENT = text(
    """SELECT number, client_name, currency, total, document_date, data FROM document
        WHERE tenant_id = :tenant AND kind = :kind AND document_id = :id"""
)


@dataclass(frozen=True, slots=True)
class Side:
    """One field as a person reads it; None where a side does not have it. `owner` is whose value counts.

    `differs` is None when one of the sides is not known.
    """

    field: str
    billing: str | None
    quickbooks: str | None
    differs: bool | None
    owner: str = "billing"


def side_by_side(connection: Connection, found: SyncException) -> list[Side]:
    """The fields that people compare first, then every further difference that was seen; may be empty."""
    values = {"tenant": found.tenant_id, "kind": found.entity_kind, "id": found.entity_id}
    document = connection.execute(_DOCUMENT, values).one_or_none()
    link = None
    if found.company_id is not None:
        link = links.of_document(connection, found.company_id, found.entity_kind, found.entity_id)
    if document is None and link is None:
        return []
    seen = {one["field"]: one for one in found.details.get("differences") or ()}
    ours, theirs = _billing(document), _quickbooks(link)
    sides = []
    for field in ours | theirs:
        drifted = seen.pop(field, None)
        there = drifted["quickbooks"] if drifted else theirs.get(field)
        sides.append(_side(field, ours.get(field), there))
    sides += [
        Side(field, one.get("billing"), one.get("quickbooks"), True, one.get("owner", "billing"))
        for field, one in seen.items()
    ]
    return sides


def _side(field: str, ours: str | None, theirs: str | None) -> Side:
    return Side(field, ours, theirs, None if ours is None or theirs is None else ours != theirs)


def _billing(document: Row[Any] | None) -> dict[str, str]:
    if document is None:
        return {}
    data = document.data or {}
    return _known(
        number=document.number,
        date=document.document_date,
        due_date=data.get("due_date"),
        client=document.client_name,
        currency=document.currency,
        tax=_amount(data.get("tax"), document.currency),
        total=_amount(document.total, document.currency),
    )


def _quickbooks(link: Link | None) -> dict[str, str]:
    if link is None:
        return {}
    raw = link.snapshot
    sign = -1 if link.kind == "credit_note" else 1  # billing's credit notes are negative invoices
    return _known(
        number=raw.get("DocNumber"),
        date=raw.get("TxnDate"),
        due_date=raw.get("DueDate"),
        client=(raw.get("CustomerRef") or {}).get("name"),
        currency=(raw.get("CurrencyRef") or {}).get("value") or link.currency,
        tax=_signed((raw.get("TxnTaxDetail") or {}).get("TotalTax"), link.currency, sign),
        total=_signed(raw.get("TotalAmt"), link.currency, sign),
    )


def _known(**fields: Any) -> dict[str, str]:
    return {name.replace("_", " "): str(value) for name, value in fields.items() if value is not None}


def _amount(minor: int | None, currency: str | None) -> str | None:
    return None if minor is None or currency is None else str(to_decimal(minor, currency))


def _signed(amount: Decimal | int | None, currency: str | None, sign: int) -> str | None:
    if amount is None or currency is None:
        return None
    return str((sign * Decimal(amount)).quantize(to_decimal(1, currency)))

"""The invoice that benches bill: three lines, all but id and number; and the same one as QuickBooks takes it."""

from __future__ import annotations

from typing import Any


def invoice() -> dict[str, Any]:
    """Data of an invoice.finalized event, without `id` and `number`."""
    lines = [
        {
            "id": f"l{place}",
            "service_id": "svc",
            "description": f"Managed workstation, group {place}",
            "quantity": "3",
            "unit_price": "45.00",
            "net_amount": 13_500,
            "tax_amount": 0,
            "is_taxable": False,
            "is_discount": False,
        }
        for place in (1, 2, 3)
    ]
    return {
        "type": "standard",
        "invoice_date": "2026-10-31",
        "due_date": "2026-11-30",
        "finalized_at": "2026-11-01T08:00:00+00:00",
        "currency": "USD",
        "tax_source": "internal",
        "subtotal": 40_500,
        "discount": 0,
        "tax": 0,
        "total": 40_500,
        "client": {"id": "cl-1", "name": "Cool Cars", "tax_exempt": True},
        "lines": lines,
        "actor": {"type": "system"},
    }


def on_the_wire(number: str) -> dict[str, Any]:
    """The same invoice as a call to QuickBooks carries it."""
    from services.cli.arena import CUSTOMERS, ITEMS

    line = {
        "DetailType": "SalesItemLineDetail",
        "Amount": 135,
        "Description": "Managed workstation",
        "SalesItemLineDetail": {"ItemRef": {"value": ITEMS["svc"]}, "Qty": 3, "UnitPrice": 45},
    }
    return {"DocNumber": number, "CustomerRef": {"value": CUSTOMERS["cl-1"]}, "Line": [line] * 3}

"""Events for tests of the outbox, and sessions that emit them as a billing system would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

Session = psycopg.Connection[tuple[Any, ...]]

VOIDED = "invoice.voided.v1"


def voided(document_id: str) -> dict[str, Any]:
    """Data of the smallest billing event there is."""
    return {"id": document_id, "date": "2026-03-31", "reason": "Billed twice", "actor": {"type": "system"}}


def invoice(document_id: str, *nets: int, tax: int = 0) -> dict[str, Any]:
    """Data of an invoice with one untaxed line for each net amount, and a tax on the whole."""
    lines = [
        {
            "id": f"l{number}",
            "description": "Managed workstation",
            "quantity": "1",
            "unit_price": "1.00",
            "net_amount": net,
            "tax_amount": 0,
            "is_taxable": False,
            "is_discount": False,
        }
        for number, net in enumerate(nets)
    ]
    return {
        "id": document_id,
        "number": f"INV-{document_id}",
        "type": "standard",
        "invoice_date": "2026-03-31",
        "due_date": "2026-04-30",
        "finalized_at": "2026-03-31T19:00:00-07:00",
        "currency": "USD",
        "tax_source": "external",
        "subtotal": sum(nets),
        "discount": 0,
        "tax": tax,
        "total": sum(nets) + tax,
        "client": {"id": "c1", "name": "O'Brien & Söhne", "tax_exempt": False},
        "lines": lines,
        "actor": {"type": "system"},
    }


@contextmanager
def billing_system(database_url: str) -> Iterator[Session]:
    """A session of the PSA: a login that may emit, and nothing else."""
    with psycopg.connect(database_url, options="-c role=algasync_emit -c search_path=algasync") as session:
        yield session


def emit(session: Session, tenant: str, document_id: str, **named: Any) -> tuple[Any, int]:
    """Emit a void of an invoice by SQL; returns event id and sequence."""
    return emit_data(session, tenant, VOIDED, document_id, voided(document_id), **named)


def emit_data(
    session: Session, tenant: str, type_: str, subject: str, data: Any, **named: Any
) -> tuple[Any, int]:
    """Emit anything by SQL; `named` are further arguments of `outbox_emit_v1`."""
    extra = "".join(f", {name} => %s" for name in named)
    row = session.execute(
        f"SELECT * FROM algasync.outbox_emit_v1(%s, %s, %s, %s{extra})",
        (tenant, type_, subject, json.dumps(data), *named.values()),
    ).fetchone()
    assert row is not None
    return row[0], row[1]

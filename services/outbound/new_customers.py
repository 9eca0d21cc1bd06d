"""Customers that are created for clients without one, where a tenant wants that: the export waits for its customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from messages.invoices import Document
from services.ledger import operations
from services.ledger.operations import Operation, Plan
from services.ledger.ports import Condition, Hold
from services.mapping.mappings import Key
from services.outbound import forms
from services.outbound.books import Books
from services.outbound.findings import Finding

KIND = "create_customer"
MISSING = "missing_customer_mapping"

_LATEST = text(
    """SELECT operation_id, state, repair, finished_at IS NOT NULL AS finished FROM operation
        WHERE tenant_id = :tenant AND kind = :operation AND document_kind = :kind AND document_id = :id
        ORDER BY repair DESC LIMIT 1"""
)


def wanted(books: Books) -> bool:
    """Whether the tenant wants customers to be created by themselves."""
    return books.settings.get("auto_create_customers") is True


def hold(
    connection: Connection, operation: Operation, billed: Document, books: Books, findings: Sequence[Finding]
) -> Hold | None:
    """Wait for a customer that is being created; None when that would not help, or nobody wants it.

    Nothing is created for a document that could not be exported for other reasons.
    """
    if not wanted(books) or not findings or any(finding.code != MISSING for finding in findings):
        return None
    kind, id_, variant = forms.customer_keys(billed, books)[
        -1
    ]  # without a currency, where it is the home currency
    profile = billed.billing_profile
    name = profile.name if profile is not None and kind == "billing_profile" else billed.client.name
    client = billed.client.plain()
    payload = {"name": name, "client": client, "currency": billed.currency}
    return begin(connection, operation.tenant_id, books, (kind, id_, variant), payload)


def begin(
    connection: Connection, tenant: str, books: Books, key: Key, payload: Mapping[str, Any]
) -> Hold | None:
    """Open the operation that creates the customer, unless one is under way; None when a person gave it up."""
    kind, id_, variant = key
    document_id = "/".join(part for part in (books.realm_id, id_, variant) if part)
    plan = Plan(KIND, "export", books.company_id, payload={**payload, "key": list(key)})
    place = {"tenant": tenant, "operation": KIND, "kind": kind, "id": document_id}
    latest = connection.execute(_LATEST, place).one_or_none()
    repair = 0 if latest is None else latest.repair + 1
    if latest is None or latest.finished:
        if latest is not None and latest.state == "discarded":
            return None
        operations.insert(connection, tenant, kind, document_id, plan, revision=1, repair=repair)
        latest = connection.execute(_LATEST, place).one()  # ours, or that of whoever was faster
    condition = Condition("step", str(latest.operation_id))
    return Hold([condition], f"waiting for the customer of {payload['name']} to be created in QuickBooks")

"""What the PSA hands over: plain lists of its clients, of its invoices and credit notes, and of what it sells.

The ledger knows documents from their events, and a client billed before we came has none. So the PSA posts
lists; what it posts again replaces what it said before. Documents that the ledger knows need not be posted, and
where both speak the ledger's word, which is later, counts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from sqlalchemy import Connection, text

from messages.money import exponent
from services.refusals import invalid

BATCH = 1000
"""Rows written by one statement."""

NOT_YET = frozenset({"draft", "pending", "pending_approval", "placeholder"})
"""States of documents that are no part of history yet, because nobody was billed."""

VOIDED = frozenset({"void", "voided", "cancelled", "canceled"})
"""States of documents that were taken back."""


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class ClientRow(_Row):
    """A client, or a billing profile with the client it belongs to as `parent_id`."""

    id: str = Field(min_length=1, max_length=255)
    name: str = Field(min_length=1, max_length=500)
    kind: Literal["client", "billing_profile"] = "client"
    currency: str = ""
    parent_id: str = Field(default="", max_length=255)
    email: str = Field(default="", max_length=254)

    @field_validator("currency")
    @classmethod
    def _known(cls, value: str) -> str:
        if value:
            exponent(value)
        return value

    @model_validator(mode="after")
    def _parent(self) -> ClientRow:
        if (self.kind == "billing_profile") != bool(self.parent_id):
            raise ValueError("a billing_profile names its client as parent_id, and a client has none")
        return self


class DocumentRow(_Row):
    """An invoice or credit note; `total` in minor units, negative for credit notes; `state` in the PSA's words."""

    id: str = Field(min_length=1, max_length=255)
    number: str = Field(max_length=255)
    date: date
    total: int
    currency: str
    client_id: str = Field(min_length=1, max_length=255)
    state: str = Field(min_length=1, max_length=50)
    kind: Literal["invoice", "credit_note"] = "invoice"

    @field_validator("currency")
    @classmethod
    def _known(cls, value: str) -> str:
        exponent(value)
        return value


class ServiceRow(_Row):
    """A service or product of the PSA's catalog."""

    id: str = Field(min_length=1, max_length=255)
    name: str = Field(min_length=1, max_length=500)
    sku: str = Field(default="", max_length=255)
    kind: Literal["service", "product"] = "service"
    active: bool = True


@dataclass(frozen=True, slots=True)
class Service:
    """A service or product of the PSA's catalog."""

    id: str
    name: str
    sku: str
    kind: str
    active: bool


@dataclass(frozen=True, slots=True)
class Client:
    """A client or billing profile of the PSA, in one currency."""

    kind: str
    id: str
    name: str
    currency: str
    parent_id: str
    email: str

    @property
    def at(self) -> tuple[str, str, str]:
        """Its place among clients."""
        return (self.kind, self.id, self.currency)


@dataclass(frozen=True, slots=True)
class Document:
    """An invoice or credit note of the PSA; `total` in minor units, negative for credit notes."""

    kind: str
    id: str
    number: str
    date: date
    total: int
    currency: str
    client_id: str
    state: str


_PUT_CLIENTS = text(
    """INSERT INTO onboarding_client AS c (tenant_id, kind, client_id, name, currency, parent_id, email)
       SELECT :tenant, r.kind, r.id, r.name, r.currency, r.parent_id, r.email
         FROM jsonb_to_recordset(CAST(:rows AS jsonb))
              AS r (kind text, id text, name text, currency text, parent_id text, email text)
       ON CONFLICT (tenant_id, kind, client_id, currency) DO UPDATE
          SET name = excluded.name, parent_id = excluded.parent_id, email = excluded.email,
              updated_at = clock_timestamp()"""
)
_PUT_DOCUMENTS = text(
    """INSERT INTO onboarding_document (tenant_id, kind, document_id, number, document_date, total, currency,
                                        client_id, state)
       SELECT :tenant, r.kind, r.id, r.number, r.date, r.total, r.currency, r.client_id, r.state
         FROM jsonb_to_recordset(CAST(:rows AS jsonb))
              AS r (kind text, id text, number text, date date, total bigint, currency text, client_id text,
                    state text)
       ON CONFLICT (tenant_id, kind, document_id) DO UPDATE
          SET number = excluded.number, document_date = excluded.document_date, total = excluded.total,
              currency = excluded.currency, client_id = excluded.client_id, state = excluded.state,
              updated_at = clock_timestamp()"""
)
_PUT_SERVICES = text(
    """INSERT INTO onboarding_service (tenant_id, service_id, name, sku, kind, active)
       SELECT :tenant, r.id, r.name, r.sku, r.kind, r.active
         FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (id text, name text, sku text, kind text, active boolean)
       ON CONFLICT (tenant_id, service_id) DO UPDATE
          SET name = excluded.name, sku = excluded.sku, kind = excluded.kind, active = excluded.active,
              updated_at = clock_timestamp()"""
)
_SERVICES = text(
    """SELECT service_id, name, sku, kind, active FROM onboarding_service WHERE tenant_id = :tenant
        ORDER BY lower(name), service_id"""
)
# Documents name their client too; what the PSA listed is the better word for names.
_CLIENTS = text(
    """SELECT kind, client_id, name, currency, parent_id, email FROM onboarding_client WHERE tenant_id = :tenant
       UNION ALL
       SELECT 'client', d.client_id, max(d.client_name), '', '', ''
         FROM document d
        WHERE d.tenant_id = :tenant AND d.client_id IS NOT NULL AND d.client_name <> ''
          AND NOT EXISTS (SELECT FROM onboarding_client c WHERE c.tenant_id = d.tenant_id
                             AND c.kind = 'client' AND c.client_id = d.client_id)
        GROUP BY d.client_id
       ORDER BY 3, 1, 2, 4"""
)
_DOCUMENTS = text(
    """SELECT d.kind, d.document_id, coalesce(d.number, ''), d.document_date, d.total, d.currency, d.client_id, d.state
         FROM document d
        WHERE d.tenant_id = :tenant AND d.kind IN ('invoice', 'credit_note') AND d.applied_sequence > 0
          AND d.document_date IS NOT NULL AND d.total IS NOT NULL AND d.currency IS NOT NULL
          AND d.client_id IS NOT NULL
       UNION ALL
       SELECT o.kind, o.document_id, o.number, o.document_date, o.total, o.currency, o.client_id, o.state
         FROM onboarding_document o
        WHERE o.tenant_id = :tenant
          AND NOT EXISTS (SELECT FROM document d WHERE d.tenant_id = o.tenant_id AND d.kind = o.kind
                             AND d.document_id = o.document_id AND d.applied_sequence > 0 AND d.total IS NOT NULL)
       ORDER BY 4, 3, 2"""
)


def put_clients(connection: Connection, tenant: str, rows: Sequence[dict[str, Any]]) -> int:
    """Take a list of clients over; returns how many. A `Refusal` names the row and field, and nothing is kept."""
    return _put(connection, tenant, _PUT_CLIENTS, ClientRow, rows)


def put_documents(connection: Connection, tenant: str, rows: Sequence[dict[str, Any]]) -> int:
    """Take a list of invoices and credit notes over; as `put_clients`."""
    return _put(connection, tenant, _PUT_DOCUMENTS, DocumentRow, rows)


def put_services(connection: Connection, tenant: str, rows: Sequence[dict[str, Any]]) -> int:
    """Take a list of services and products over; as `put_clients`."""
    return _put(connection, tenant, _PUT_SERVICES, ServiceRow, rows)


def services(connection: Connection, tenant: str) -> list[Service]:
    """Every service and product that was listed."""
    return [Service(*row) for row in connection.execute(_SERVICES, {"tenant": tenant})]


def clients(connection: Connection, tenant: str) -> list[Client]:
    """Every client that was listed or billed."""
    return [Client(*row) for row in connection.execute(_CLIENTS, {"tenant": tenant})]


def documents(connection: Connection, tenant: str) -> list[Document]:
    """Every invoice and credit note that was listed or that the ledger knows, oldest first."""
    return [Document(*row) for row in connection.execute(_DOCUMENTS, {"tenant": tenant})]


def _put(
    connection: Connection,
    tenant: str,
    statement: Any,
    type_: type[ClientRow] | type[DocumentRow] | type[ServiceRow],
    rows: Sequence[dict[str, Any]],
) -> int:
    checked: dict[tuple[str, ...], dict[str, Any]] = {}
    for number, row in enumerate(rows, start=1):
        one = _checked(type_, number, row)
        place = (
            "" if type_ is ServiceRow else one["kind"],
            one["id"],
            one["currency"] if type_ is ClientRow else "",
        )
        if place in checked and checked[place] != one:
            raise invalid(
                f"rows[{number}].id", f"{one['kind']} {one['id']} stands in the list twice, differently"
            )
        checked[place] = one
    written = list(checked.values())
    for first in range(0, len(written), BATCH):
        values = {"tenant": tenant, "rows": json.dumps(written[first : first + BATCH])}
        connection.execute(statement, values)
    return len(written)


def _checked(
    type_: type[ClientRow] | type[DocumentRow] | type[ServiceRow], number: int, row: dict[str, Any]
) -> dict[str, Any]:
    try:
        return type_.model_validate(row).model_dump(mode="json")
    except ValidationError as refused:
        first = refused.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        said = f"row {number}: {field or 'the row'}: {first['msg']}; nothing of this list was taken over"
        raise invalid(f"rows[{number}].{field}".rstrip("."), said) from None

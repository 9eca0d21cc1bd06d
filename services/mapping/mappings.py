"""What of ours is what in QuickBooks: services and items, tax regions and codes, terms, clients and customers.

A mapping is keyed by company, kind, our own id and a variant: the currency of a customer, the treatment of a
tax code, "" for the others. Every change is in the timeline of its subject (`mapping`, the cause key below).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.database.statement import Statement
from services.ledger import timeline
from services.refusals import invalid, missing


class Kind(StrEnum):
    """What can be mapped."""

    ITEM = "item"  # our service -> Item
    ITEM_CATEGORY = "item_category"  # our service category -> Item
    DISCOUNT_ITEM = "discount_item"  # discount lines without a service -> Item; key ""
    TAX_CODE = "tax_code"  # our tax region -> TaxCode; variant is the treatment, outside the US
    TERM = "term"  # our payment terms -> Term
    PAYMENT_METHOD = "payment_method"  # our payment method -> PaymentMethod
    CLASS = "class"  # our class of a line -> Class
    CUSTOMER = "customer"  # our client -> Customer; variant is the currency
    BILLING_PROFILE = "billing_profile"  # our billing profile -> sub-customer; variant is the currency


Key = tuple[str, str, str]
"""Kind, our id and variant."""

Hook = Callable[[Connection, str, str], None]
"""Called in the transaction that sets a mapping, with tenant and cause key, to release what failed for it."""

MAX_ID = 50  # characters; Intuit's ids are numbers as text
MAX_KEY = 255  # characters of our ids
MAX_DETAILS = 4096  # bytes of JSON


@dataclass(frozen=True, slots=True)
class Mapping:
    """One mapping as stored. `details` holds what belongs to it, such as an item's class."""

    company_id: UUID
    kind: str
    key: str
    variant: str
    external_id: str
    external_name: str
    details: dict[str, Any]
    updated_at: datetime
    updated_by: str

    @property
    def at(self) -> Key:
        """Its place within the company."""
        return (self.kind, self.key, self.variant)


_COLUMNS = "company_id, kind, key, variant, external_id, external_name, details, updated_at, updated_by"
_SELECT = f"SELECT {_COLUMNS} FROM mapping m "  # noqa: S608 - constant columns
_LOOKUP = Statement(
    _SELECT
    + """JOIN unnest(CAST(:kinds AS text[]), CAST(:keys AS text[]), CAST(:variants AS text[]))
              AS wanted (kind, key, variant) USING (kind, key, variant)
         WHERE m.company_id = :company"""
)
_ONE = text(
    _SELECT + "WHERE company_id = :company AND kind = :kind AND key = :key AND variant = :variant FOR UPDATE"
)
_PAGE = text(
    _SELECT
    + """WHERE m.tenant_id = :tenant AND m.company_id = :company AND (:kind = '' OR m.kind = :kind)
           AND (m.kind, m.key, m.variant) > (:after_kind, :after_key, :after_variant)
         ORDER BY m.kind, m.key, m.variant LIMIT :limit"""
)
_WRITE = text(
    f"""INSERT INTO mapping AS m
          (tenant_id, company_id, kind, key, variant, external_id, external_name, details, updated_by)
        VALUES (:tenant, :company, :kind, :key, :variant, :external_id, :external_name,
                CAST(:details AS jsonb), :actor)
        ON CONFLICT (company_id, kind, key, variant) DO UPDATE
           SET external_id = excluded.external_id, external_name = excluded.external_name,
               details = excluded.details, updated_by = excluded.updated_by, updated_at = clock_timestamp()
        RETURNING {_COLUMNS}"""  # noqa: S608 - constant columns
)
_DELETE = text(
    "DELETE FROM mapping WHERE company_id = :company AND kind = :kind AND key = :key AND variant = :variant"
)
_COMPANY = text("SELECT FROM company WHERE tenant_id = :tenant AND company_id = :company")


def cause(kind: str, company_id: UUID, key: str) -> str:
    """The root cause that a missing mapping is, and that setting it repairs in any variant."""
    return f"mapping:{kind}:{company_id}:{key}"


def lookup(connection: Connection, company_id: UUID, wanted: Collection[Key]) -> dict[Key, Mapping]:
    """The mappings of a whole document in one statement; what is not mapped is not in the answer."""
    if not wanted:
        return {}
    kinds, keys, variants = zip(*sorted(wanted), strict=True)
    values = {"company": company_id, "kinds": list(kinds), "keys": list(keys), "variants": list(variants)}
    found = (Mapping(*row) for row in _LOOKUP.all(connection, values))
    return {mapping.at: mapping for mapping in found}


def locked(connection: Connection, company_id: UUID, at: Key) -> Mapping | None:
    """One mapping as it stays until the transaction ends; None when there is none."""
    kind, key, variant = at
    place = {"company": company_id, "kind": kind, "key": key, "variant": variant}
    row = connection.execute(_ONE, place).one_or_none()
    return Mapping(*row) if row else None


def page(
    connection: Connection,
    tenant: str,
    company_id: UUID,
    *,
    kind: Kind | None = None,
    after: Key = ("", "", ""),
    limit: int = 100,
) -> list[Mapping]:
    """Mappings of a company ordered by kind, key and variant, from behind `after` on."""
    values = {
        "tenant": tenant,
        "company": company_id,
        "kind": kind or "",
        "after_kind": after[0],
        "after_key": after[1],
        "after_variant": after[2],
        "limit": limit,
    }
    return [Mapping(*row) for row in connection.execute(_PAGE, values)]


def every(
    connection: Connection, tenant: str, company_id: UUID, kind: Kind | None = None
) -> Iterator[Mapping]:
    """All mappings of a company, or of one kind, in the order of `page`."""
    after: Key = ("", "", "")
    while rows := page(connection, tenant, company_id, kind=kind, after=after, limit=1000):
        yield from rows
        after = rows[-1].at


def put(
    connection: Connection,
    tenant: str,
    company_id: UUID,
    at: Key,
    *,
    external_id: str,
    external_name: str = "",
    details: dict[str, Any] | None = None,
    actor: str,
    on_mapping_set: Hook,
) -> Mapping:
    """Map something of ours and release what failed for it. Raises `Refusal` naming the field."""
    kind, key, variant = check(at, external_id, external_name, details)
    written = json.dumps(details or {})
    _check_company(connection, tenant, company_id)
    place = {"company": company_id, "kind": kind, "key": key, "variant": variant}
    before = connection.execute(_ONE, place).one_or_none()
    row = connection.execute(
        _WRITE,
        {
            **place,
            "tenant": tenant,
            "external_id": external_id,
            "external_name": external_name,
            "details": written,
            "actor": actor,
        },
    ).one()
    mapping = Mapping(*row)
    _note(connection, tenant, company_id, at, actor, "mapped", Mapping(*before) if before else None, mapping)
    on_mapping_set(connection, tenant, cause(kind, company_id, key))
    return mapping


def delete(connection: Connection, tenant: str, company_id: UUID, at: Key, *, actor: str) -> bool:
    """Forget a mapping; False when there was none. Documents that need it fail again, by name."""
    kind, key, variant = _checked(at)
    _check_company(connection, tenant, company_id)
    place = {"company": company_id, "kind": kind, "key": key, "variant": variant}
    before = connection.execute(_ONE, place).one_or_none()
    if before is None:
        return False
    connection.execute(_DELETE, place)
    _note(connection, tenant, company_id, at, actor, "unmapped", Mapping(*before), None)
    return True


def check(at: Key, external_id: str, external_name: str = "", details: dict[str, Any] | None = None) -> Key:
    """Whether a mapping can be written like that, apart from what QuickBooks has. Raises `Refusal` naming the field."""
    place = _checked(at)
    if not external_id or len(external_id) > MAX_ID or not external_id.isprintable():
        raise invalid(
            "external_id", f"a QuickBooks id has 1 to {MAX_ID} characters, not {external_id[:60]!r}"
        )
    if len(external_name) > MAX_KEY:
        raise invalid("external_name", f"a name has at most {MAX_KEY} characters")
    if len(json.dumps(details or {}).encode()) > MAX_DETAILS:
        raise invalid("details", f"details have at most {MAX_DETAILS} bytes")
    return place


def _checked(at: Key) -> Key:
    kind, key, variant = at
    if kind not in set(Kind):
        raise invalid("kind", f"there is no kind {kind!r}; there are: {', '.join(Kind)}")
    if kind == Kind.DISCOUNT_ITEM and key:
        raise invalid("key", "a company has one discount item; leave the key empty")
    if kind != Kind.DISCOUNT_ITEM and not key:
        raise invalid("key", f"name which {kind} of yours is meant", code="required")
    for field, value in (("key", key), ("variant", variant)):
        if len(value) > MAX_KEY or (value and not value.isprintable()):
            raise invalid(field, f"{field} has at most {MAX_KEY} printable characters")
    return kind, key, variant


def _check_company(connection: Connection, tenant: str, company_id: UUID) -> None:
    if connection.execute(_COMPANY, {"tenant": tenant, "company": company_id}).first() is None:
        raise missing(f"there is no QuickBooks company {company_id} in this tenant", code="unknown_company")


def _note(
    connection: Connection,
    tenant: str,
    company_id: UUID,
    at: Key,
    actor: str,
    action: str,
    before: Mapping | None,
    after: Mapping | None,
) -> None:
    facts = {"variant": at[2], "before": _facts(before), "after": _facts(after)}
    timeline.append(connection, tenant, "mapping", cause(at[0], company_id, at[1]), actor, action, facts)


def _facts(mapping: Mapping | None) -> dict[str, Any] | None:
    if mapping is None:
        return None
    return {
        "external_id": mapping.external_id,
        "external_name": mapping.external_name,
        "details": mapping.details,
    }

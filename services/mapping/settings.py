"""How a tenant wants its sync: typed settings, a row each, resolved client before company before tenant.

Every change is in the timeline of its subject (`setting`, `<scope>/<name>`) with the value before and after.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.fields import FieldInfo
from sqlalchemy import Connection, text

from services.ledger import timeline, waits
from services.refusals import invalid, missing

Level = Literal["tenant", "company", "client"]


class Reference(BaseModel):
    """Something of the QuickBooks company: its id, and the name a person knows it by.

    `currency` is what an account is kept in; left out, the company's home currency.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=50)
    name: str = Field(default="", max_length=200)
    currency: str = Field(default="", pattern=r"^([A-Z]{3})?$")


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no IANA time zone, such as America/New_York")
    return name


def _no_single(size: int) -> int:
    if size == 1:
        raise ValueError("a call of one is what happens without it; 0 turns it off")
    return size


BatchSize = Annotated[int, AfterValidator(_no_single)]
Zone = Annotated[str, AfterValidator(_known_zone)]
Address = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=254)]


def _setting(default: Any, levels: tuple[Level, ...], description: str, **limits: Any) -> Any:
    return Field(
        default=default, description=description, json_schema_extra={"levels": list(levels)}, **limits
    )


class Settings(BaseModel):
    """All settings with their defaults; the description of each says at which levels it can be set."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    entitled: bool = _setting(
        True, ("tenant",), "Whether the tenant's edition includes QuickBooks; set by the operator."
    )
    auto_sync: bool = _setting(False, ("tenant",), "Export finalized documents by itself.")
    cutover_date: date | None = _setting(
        None, ("tenant", "company"), "Invoices and credit notes dated before it are already in QuickBooks."
    )
    accounting_time_zone: Zone = _setting(
        "UTC", ("tenant", "company"), "IANA time zone that turns moments into accounting dates."
    )
    company: UUID | None = _setting(
        None, ("client",), "Company of this client's documents, instead of the tenant's default company."
    )
    deposit_account: Reference | None = _setting(
        None, ("company",), "Bank or Other Current Asset account for payments; default is Undeposited Funds."
    )
    deposit_accounts: dict[str, Reference] = _setting(
        {}, ("company",), "Deposit account per payment method, or per method and provider: card, card:stripe."
    )
    default_class: Reference | None = _setting(
        None, ("company", "client"), "QuickBooks class for documents whose item has none of its own."
    )
    default_department: Reference | None = _setting(
        None, ("company", "client"), "QuickBooks department (location) of exported documents."
    )
    online_card_payments: bool = _setting(
        False, ("company",), "Exported invoices offer to be paid by card online (needs QuickBooks Payments)."
    )
    online_bank_payments: bool = _setting(
        False,
        ("company",),
        "Exported invoices offer to be paid by bank transfer online (needs QuickBooks Payments).",
    )
    auto_create_customers: bool = _setting(
        False, ("tenant", "company"), "Create a QuickBooks customer for a client that is not linked yet."
    )
    push_customer_fields: bool = _setting(
        False, ("tenant", "company"), "Write changed client fields to linked QuickBooks customers."
    )
    tax_mode: Literal["psa", "quickbooks"] = _setting(
        "psa",
        ("tenant", "company"),
        "Who computes tax: the PSA, or QuickBooks, to which the PSA then sends drafts. A document's own word counts.",
    )
    refunds: Literal["exception", "expense"] = _setting(
        "exception",
        ("tenant", "company"),
        "Refunds ask a person, or are posted as an Expense on receivables.",
    )
    refund_account: Reference | None = _setting(
        None, ("company",), "Bank account that money leaves from when refunds are posted as an Expense."
    )
    receivables_account: Reference | None = _setting(
        None, ("company",), "Accounts Receivable account that such an Expense is posted on."
    )
    write_off_item: Reference | None = _setting(
        None,
        ("company",),
        "Item on which written-off invoices are booked by a credit memo; without it a person is asked.",
    )
    poll_interval: int = _setting(
        15, ("tenant", "company"), "Minutes between two reads of QuickBooks' changes.", ge=1, le=1440
    )
    webhook_rest: int = _setting(
        60,
        ("tenant", "company"),
        "Seconds from one read of QuickBooks' changes to the next that webhooks ask for; our own writes cause some.",
        ge=0,
        le=3600,
    )
    limiter_share: float = _setting(
        0.8, ("company",), "Part of Intuit's call limits that we use; other apps share them.", ge=0.05, le=1
    )
    export_batch_size: BatchSize = _setting(
        0,
        ("tenant", "company"),
        "New invoices and credit notes a call while at least so many are due: 2 to 25, or 0 for one by one. It is up to"
        " 1,000 a minute, not 500, for a metered read each (one by one is free); a lost answer holds up a whole call.",
        ge=0,
        le=25,
    )
    read_budget: int | None = _setting(
        None, ("company",), "Metered reads a month after which optional reading is stretched.", ge=100
    )
    notice_backlog_hours: int = _setting(
        24,
        ("tenant",),
        "Age of the oldest unfinished work at which a notice says that sync is behind.",
        ge=1,
        le=720,
    )
    notice_recipients: list[Address] = _setting(
        [], ("tenant",), "E-mail addresses that hear about the connection and new exceptions.", max_length=50
    )


MAX_KEY = 200
"""Characters of the name of an entry."""

OPERATOR_ONLY = frozenset({"entitled"})
"""Settings that a tenant does not set for itself."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a setting holds: the tenant, one of its companies or one of its clients."""

    level: Level
    id: str = ""

    def __str__(self) -> str:
        return self.level if self.level == "tenant" else f"{self.level}:{self.id}"


TENANT = Scope("tenant")


def of_company(company_id: UUID) -> Scope:
    """The settings of one company."""
    return Scope("company", str(company_id))


def of_client(client_id: str) -> Scope:
    """The settings of one client."""
    return Scope("client", client_id)


@dataclass(frozen=True, slots=True)
class Row:
    """One setting that was set, as stored."""

    scope: str
    name: str
    value: Any
    updated_at: datetime
    updated_by: str


_READ = text(
    """SELECT scope, name, value FROM setting
        WHERE tenant_id = :tenant AND scope = ANY (CAST(:scopes AS text[]))"""
)
_LIST = text(
    """SELECT scope, name, value, updated_at, updated_by FROM setting
        WHERE tenant_id = :tenant AND scope = :scope ORDER BY name"""
)
_BEFORE = text(
    "SELECT value FROM setting WHERE tenant_id = :tenant AND scope = :scope AND name = :name FOR UPDATE"
)
# Writers of one setting come one after the other, also of one that nobody has set yet, so that each entry of its
# history begins where the one before ended.
_ALONE = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(:tenant || '/setting/' || :scope || '/' || :name, 0))"
)
_WRITE = text(
    """INSERT INTO setting (tenant_id, scope, name, value, updated_by)
       VALUES (:tenant, :scope, :name, CAST(:value AS jsonb), :actor)
       ON CONFLICT (tenant_id, scope, name) DO UPDATE
          SET value = excluded.value, updated_by = excluded.updated_by, updated_at = clock_timestamp()"""
)
_RESET = text("DELETE FROM setting WHERE tenant_id = :tenant AND scope = :scope AND name = :name")
# Batches that wait for their turn find at once that nobody wants them any more, and let their documents go.
_UNBATCH = text(
    """UPDATE operation SET due_at = clock_timestamp()
        WHERE tenant_id = :tenant AND kind = 'export_batch' AND state IN ('queued', 'scheduled') AND outcome = 'none'"""
)
_COMPANY = text("SELECT FROM company WHERE tenant_id = :tenant AND company_id = :company")


def resolve(
    connection: Connection, tenant: str, *, company_id: UUID | None = None, client_id: str | None = None
) -> Settings:
    """The settings in force for a tenant, narrowed to a company and a client when given; one statement."""
    scopes = [TENANT]
    if company_id is not None:
        scopes.append(of_company(company_id))
    if client_id is not None:
        scopes.append(of_client(client_id))
    order = [str(scope) for scope in scopes]
    rows = connection.execute(_READ, {"tenant": tenant, "scopes": order}).all()
    values: dict[str, Any] = {}
    for row in sorted(rows, key=lambda row: order.index(row.scope)):
        values[row.name] = row.value
    return Settings.model_validate(values)


def listed(connection: Connection, tenant: str, scope: Scope = TENANT) -> list[Row]:
    """What was set at exactly this scope."""
    rows = connection.execute(_LIST, {"tenant": tenant, "scope": str(scope)})
    return [Row(*row) for row in rows]


def put(connection: Connection, tenant: str, scope: Scope, name: str, value: Any, *, actor: str) -> Any:
    """Set one setting and return its value as stored. Raises `Refusal` naming the field."""
    stored = checked(scope, name, value)
    _check_companies(connection, tenant, scope, name, stored)
    _write(connection, tenant, scope, name, _before(connection, tenant, scope, name), stored, actor)
    return stored


def put_entry(
    connection: Connection, tenant: str, scope: Scope, name: str, key: str, value: Any, *, actor: str
) -> Any:
    """Set one entry of a setting that has many, such as a deposit account per method; None takes it out.

    The other entries stay, whoever writes them meanwhile. Returns the whole setting. Raises `Refusal`.
    """
    _declared(scope, name)
    if not isinstance(Settings.model_fields[name].default, dict):
        raise invalid(name, f"{name} has one value; set it as a whole")
    if not key or len(key) > MAX_KEY or not key.isprintable():
        raise invalid(name, f"{name}: an entry is named by 1 to {MAX_KEY} printable characters")
    before = _before(connection, tenant, scope, name)
    entries = {one: entry for one, entry in (before or {}).items() if one != key}
    stored = checked(scope, name, entries if value is None else entries | {key: value})
    _write(connection, tenant, scope, name, before, stored, actor)
    return stored


def _before(connection: Connection, tenant: str, scope: Scope, name: str) -> Any:
    """The value that is set here now, None without one; nobody else writes it until the transaction ends."""
    keys = {"tenant": tenant, "scope": str(scope), "name": name}
    connection.execute(_ALONE, keys)
    return connection.execute(_BEFORE, keys).scalar()


def _write(
    connection: Connection, tenant: str, scope: Scope, name: str, before: Any, stored: Any, actor: str
) -> None:
    keys = {"tenant": tenant, "scope": str(scope), "name": name}
    connection.execute(_WRITE, {**keys, "value": json.dumps(stored), "actor": actor})
    _changed(connection, tenant, scope, name, actor, before, stored)


def history(connection: Connection, tenant: str, scope: Scope, name: str) -> list[timeline.Entry]:
    """Who set it to what here, oldest first. Raises `Refusal` for a setting that there is not."""
    _declared(scope, name)
    return timeline.read(connection, tenant, "setting", f"{scope}/{name}")


def reset(connection: Connection, tenant: str, scope: Scope, name: str, *, actor: str) -> bool:
    """Let a setting fall back to the wider scope or its default; False when it was not set here."""
    _declared(scope, name)
    keys = {"tenant": tenant, "scope": str(scope), "name": name}
    before = _before(connection, tenant, scope, name)
    if not connection.execute(_RESET, keys).rowcount:
        return False
    _changed(connection, tenant, scope, name, actor, before, None)
    return True


def checked(scope: Scope, name: str, value: Any) -> Any:
    """The JSON value that would be stored. Raises `Refusal` when name, scope or value is not allowed.

    JSON types are taken at their word: "yes" is no boolean and 1 is none either.
    """
    _declared(scope, name)
    try:
        given = json.dumps({name: value})
        return Settings.model_validate_json(given, strict=True).model_dump(mode="json")[name]
    except ValidationError as refused:
        first = refused.errors(include_url=False, include_context=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise invalid(path, f"{path}: {first['msg']}; {Settings.model_fields[name].description}") from None


def levels(field: FieldInfo) -> list[Level]:
    """The levels at which a setting can be set."""
    extra = field.json_schema_extra
    assert isinstance(extra, Mapping)
    return cast(list[Level], extra["levels"])


def _declared(scope: Scope, name: str) -> None:
    field = Settings.model_fields.get(name)
    if field is None:
        known = ", ".join(Settings.model_fields)
        raise missing(f"there is no setting {name!r}; there are: {known}", code="unknown_setting", field=name)
    if scope.level not in levels(field):
        allowed = " or ".join(levels(field))
        raise invalid(name, f"{name} is set per {allowed}, not per {scope.level}", code="wrong_scope")


def _check_companies(connection: Connection, tenant: str, scope: Scope, name: str, stored: Any) -> None:
    named = {
        "scope": scope.id if scope.level == "company" else None,
        "company": stored if name == "company" else None,
    }
    for field, company in named.items():
        values = {"tenant": tenant, "company": company}
        if company is not None and connection.execute(_COMPANY, values).first() is None:
            raise missing(f"there is no QuickBooks company {company} in this tenant", field=field)


def _changed(
    connection: Connection, tenant: str, scope: Scope, name: str, actor: str, before: Any, after: Any
) -> None:
    facts = {"before": before, "after": after}
    timeline.append(connection, tenant, "setting", f"{scope}/{name}", actor, "set", facts)
    if name == "auto_sync" and after:
        waits.release(connection, tenant, "auto_sync", "tenant")
    if name == "export_batch_size" and not after:
        connection.execute(_UNBATCH, {"tenant": tenant})

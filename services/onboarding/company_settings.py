"""Settings that point into the company's lists: checked against it, completed with names, and what they mend released.

An account is of the type that its setting is for, a class and a department are in use; what QuickBooks cannot
be asked about is set, and said to be unchecked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args
from uuid import UUID

from sqlalchemy import Connection, text

from services.exceptions import causes
from services.mapping import settings
from services.mapping.settings import Scope
from services.onboarding import choices
from services.onboarding.assigning import Wanted
from services.refusals import invalid

Pointing = Literal[
    "deposit_account",
    "deposit_accounts",
    "default_class",
    "default_department",
    "write_off_item",
    "refund_account",
    "receivables_account",
]
"""Settings whose values are rows of the company's lists."""

POINTING: Final = frozenset(get_args(Pointing))

_COMPANY = text("SELECT name, home_currency, preferences FROM company WHERE company_id = :company")
_OF_CLIENT = text(
    """SELECT coalesce(
         (SELECT (s.value #>> '{}')::uuid FROM setting s
           WHERE s.tenant_id = :tenant AND s.scope = 'client:' || :client AND s.name = 'company'),
         (SELECT c.company_id FROM company c WHERE c.tenant_id = :tenant AND c.is_default))"""
)
_OFF = {
    "default_class": (("ClassTrackingPerTxn", "ClassTrackingPerTxnLine"), "class tracking"),
    "default_department": (("TrackDepartments",), "location tracking"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The value as stored, the operations that start again, and why QuickBooks was not asked ("" when it was)."""

    value: Any
    released: list[UUID]
    unchecked: str


def wanted(name: str, value: Any, key: str = "") -> list[Wanted]:
    """What `assigning.read_lists` must have at hand to check a value; empty when it points at nothing."""
    if name not in POINTING:
        return []
    return [Wanted(name, "", external_id=id_) for id_ in _ids(name, value, key)] or [Wanted(name, "")]


def company_of(connection: Connection, tenant: str, scope: Scope) -> UUID | None:
    """The company whose lists a setting at this place points into; None when there is none."""
    if scope.level == "company":
        return UUID(scope.id)
    if scope.level == "client":
        found: UUID | None = connection.execute(_OF_CLIENT, {"tenant": tenant, "client": scope.id}).scalar()
        return found
    return None


def put(
    connection: Connection,
    tenant: str,
    scope: Scope,
    name: str,
    value: Any,
    *,
    actor: str,
    key: str = "",
    unchecked: str = "",
) -> Outcome:
    """Set a setting, or the entry `key` of one that has many (None takes it out). Raises `Refusal` naming the field."""
    company_id = company_of(connection, tenant, scope) if name in POINTING else None
    before = {row.name: row.value for row in settings.listed(connection, tenant, scope)}.get(name)
    meant = value
    if company_id is not None and value is not None:
        whole = settings.checked(scope, name, {key: value} if key else value)
        whole = _completed(connection, company_id, name, whole, unchecked)
        meant = whole[key] if key else whole
    if key:
        stored = settings.put_entry(connection, tenant, scope, name, key, meant, actor=actor)
    else:
        stored = settings.put(connection, tenant, scope, name, meant, actor=actor)
    released: list[UUID] = []
    if name in {"deposit_account", "deposit_accounts"}:
        for id_ in sorted(set(_ids(name, before)) - set(_ids(name, stored))):
            cause = f"deposit_account:{company_id}:{id_}"
            released += causes.release(connection, tenant, cause, actor, "another deposit account was set")
    return Outcome(stored, released, unchecked)


def _completed(connection: Connection, company_id: UUID, name: str, value: Any, unchecked: str) -> Any:
    """The value with names and currencies from the company. Raises `Refusal` when something of it cannot be used."""
    company = connection.execute(_COMPANY, {"company": company_id}).one()
    _check_switched_on(company, name, value)
    known = choices.of(connection, company_id, {(name, id_) for id_ in _ids(name, value)})

    def complete(field: str, reference: dict[str, Any]) -> dict[str, Any]:
        choice = known.get((name, reference["id"]))
        if choice is None and unchecked:
            return reference
        if choice is None:
            raise invalid(field, f"there is no {choices.LISTS[name]} {reference['id']} in QuickBooks")
        if choice.hindrance:
            raise invalid(field, choice.hindrance)
        currency = choice.details.get("currency", "")
        foreign = {"currency": currency} if currency not in {"", company.home_currency} else {"currency": ""}
        return {**reference, "name": choice.name[:200], **foreign}

    if name == "deposit_accounts":
        return {method: complete(f"{name}.{method}", one) for method, one in value.items()}
    return complete(name, value) if value else value


def _check_switched_on(company: Any, name: str, value: Any) -> None:
    """A class or location that the company does not keep would be left out of every document."""
    fields, feature = _OFF.get(name, ((), ""))
    prefs: Mapping[str, Any] = (company.preferences or {}).get("AccountingInfoPrefs") or {}
    if value and fields and all(prefs.get(field) is False for field in fields):
        raise invalid(
            name,
            f"{company.name or 'the company'} has {feature} switched off in QuickBooks, so documents would not carry"
            " it; switch it on there (Account and settings, Advanced, Categories), then set this",
        )


def _ids(name: str, value: Any, key: str = "") -> list[str]:
    """The ids that a value points at, as far as it is one."""
    if name not in POINTING or not isinstance(value, dict):
        return []
    references = value.values() if name == "deposit_accounts" and not key else [value]
    found = [one.get("id") for one in references if isinstance(one, dict)]
    return [one for one in found if isinstance(one, str) and one]

"""Setting mappings, one or many: checked against the company as it is, all or nothing, and what waited is released.

A QuickBooks that cannot be asked does not stand in the way: what cannot be checked is set, and said to be unchecked.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

from services.connections import catalog
from services.database import Database
from services.ledger.ports import Clients
from services.mapping import mappings
from services.mapping.mappings import Key, Kind, Mapping
from services.onboarding import choices
from services.onboarding.choices import Choice
from services.onboarding.releases import Releases
from services.quickbooks.errors import QuickBooksError
from services.refusals import Refusal, invalid

TREATMENTS = ("taxable", "zero", "exempt", "reverse_charge")
"""Variants of a tax code outside the US: how the line is taxed."""

AGAIN = timedelta(seconds=30)
"""A list younger than this is not read again, however often somebody asks for it."""

OpenClients = Callable[[], AbstractContextManager[Clients]]

_COMPANY = text("SELECT state, country, home_currency FROM company WHERE company_id = :company")
_HOLDERS = text(
    """SELECT kind, key, external_id FROM mapping
        WHERE company_id = :company AND kind IN ('customer', 'billing_profile')
          AND external_id = ANY (CAST(:ids AS text[]))"""
)
_CURRENCY = re.compile("[A-Z]{3}")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A mapping to set. Without an id, `external_name` says which one is meant, if only one has the name."""

    kind: str
    key: str
    variant: str = ""
    external_id: str = ""
    external_name: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def at(self) -> Key:
        """Its place within the company."""
        return (self.kind, self.key, self.variant)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with one of many: its number from 1 on, the field, and a sentence."""

    row: int
    field: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Change:
    """What setting one does, or would do."""

    row: int
    does: Literal["new", "changed", "same"]
    wanted: Wanted
    before: str  # the id it has now, "" when none


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of many. With `troubles` nothing was changed. `unchecked` says why QuickBooks was not asked."""

    changes: list[Change]
    troubles: list[Trouble]
    mappings: list[Mapping] = field(default_factory=list)
    released: list[UUID] = field(default_factory=list)
    unchecked: str = ""


def read_lists(
    database: Database,
    open_clients: OpenClients,
    tenant: str,
    company_id: UUID,
    wanted: Iterable[Wanted],
    *,
    refresh: bool = False,
) -> str:
    """Have the lists that `wanted` choose from at hand; returns "" or why they could not be read."""
    listed = [one for one in wanted if one.kind in choices.LISTS]
    with database.transaction(tenant) as connection:
        state = connection.execute(_COMPANY, {"company": company_id}).one().state
        ages = catalog.ages(connection, company_id)
        ids = {(choices.LISTS[one.kind], one.external_id) for one in listed if one.external_id}
        known = catalog.find(connection, company_id, ids)
    now = datetime.now(UTC)
    lists = {entity for one in listed for entity in choices.needed(one.kind)}
    anew = {entity for entity in lists if entity in ages and refresh and now - ages[entity][0] > AGAIN}
    stale = {entity for entity in lists if entity not in ages or not ages[entity][1]} | anew
    lacking: dict[str, set[str]] = defaultdict(set)  # what is newer than its list, or is not there
    for entity, id_ in ids - known.keys():
        if entity not in stale:
            lacking[entity].add(id_)
    if not stale and not lacking:
        return ""
    if state != "active":
        return f"the QuickBooks company is {state}, so its lists could not be read"
    try:
        with open_clients() as clients:
            catalog.read(database, clients, tenant, company_id, sorted(stale), refresh=True)
            for entity, wanted_ids in lacking.items():
                catalog.read_some(database, clients, tenant, company_id, entity, wanted_ids)
    except (QuickBooksError, Refusal) as failure:
        log.warning("catalog_not_read", company=str(company_id), because=str(failure))
        return f"QuickBooks could not be asked: {failure}"
    return ""


def put_all(
    connection: Connection,
    tenant: str,
    company_id: UUID,
    wanted: Sequence[Wanted],
    *,
    actor: str,
    unchecked: str = "",
    dry_run: bool = False,
) -> Outcome:
    """Set all of them, or none when one is wrong; `dry_run` sets none and says what would change.

    `unchecked` is what `read_lists` answered: then ids that are not in the lists pass.
    """
    meant, troubles = _checked(connection, tenant, company_id, wanted, unchecked)
    before = mappings.lookup(connection, company_id, {one.at for one in meant})
    changes = []
    for number, one in enumerate(meant, start=1):
        now = before.get(one.at)
        does: Literal["new", "changed", "same"] = "new" if now is None else "changed"
        if now is not None and (now.external_id, now.details) == (one.external_id, one.details):
            does = "same"
        changes.append(Change(number, does, one, now.external_id if now else ""))
    if troubles or dry_run:
        return Outcome(changes, troubles, unchecked=unchecked)
    release, done = Releases(actor), list[Mapping]()
    for one in sorted(
        meant, key=lambda one: one.at
    ):  # in one order, so that two writers never wait in a ring
        done.append(
            mappings.put(
                connection,
                tenant,
                company_id,
                one.at,
                external_id=one.external_id,
                external_name=one.external_name[: mappings.MAX_KEY],
                details=one.details,
                actor=actor,
                on_mapping_set=release,
            )
        )
    return Outcome(changes, [], done, release.operations, unchecked)


def put(
    connection: Connection, tenant: str, company_id: UUID, wanted: Wanted, *, actor: str, unchecked: str = ""
) -> Outcome:
    """Set one. Raises `Refusal` naming the field."""
    outcome = put_all(connection, tenant, company_id, [wanted], actor=actor, unchecked=unchecked)
    for trouble in outcome.troubles:
        raise invalid(trouble.field, trouble.sentence)
    return outcome


def _checked(
    connection: Connection, tenant: str, company_id: UUID, wanted: Sequence[Wanted], unchecked: str
) -> tuple[list[Wanted], list[Trouble]]:
    """The mappings as they will be stored, with names and details from the lists, and everything that is wrong."""
    company = connection.execute(_COMPANY, {"company": company_id}).one()
    troubles: list[Trouble] = []
    meant: list[Wanted] = []
    names: dict[str, dict[str, list[Choice]]] = {}
    for number, one in enumerate(wanted, start=1):
        external_id = one.external_id
        try:
            mappings.check(one.at, external_id or "-", one.external_name, one.details)
            _check_variant(one, company.country)
            external_id = external_id or _by_name(connection, company_id, one, names)
        except Refusal as refused:
            troubles.append(Trouble(number, refused.field, refused.sentence))
        meant.append(replace(one, external_id=external_id))
    seen: dict[Key, int] = {}
    for number, one in enumerate(meant, start=1):
        if one.at in seen:
            sentence = f"{one.kind} {one.key} is in row {seen[one.at]} already"
            troubles.append(Trouble(number, "key", sentence))
        seen.setdefault(one.at, number)
    known = choices.of(
        connection, company_id, {(one.kind, one.external_id) for one in meant if one.kind in choices.LISTS}
    )
    told = {trouble.row for trouble in troubles}
    taken = _Customers(connection, company_id, meant)
    for number, one in enumerate(meant, start=1):
        if number in told:
            continue
        chosen = known.get((one.kind, one.external_id))
        why = _unfit(one, chosen, company.home_currency, unchecked) or taken.held(one)
        if why:
            troubles.append(Trouble(number, "external_id", why))
        elif chosen is not None:
            meant[number - 1] = replace(
                one, external_name=chosen.name, details={**chosen.details, **one.details}
            )
    return meant, sorted(troubles, key=lambda trouble: trouble.row)


def _check_variant(one: Wanted, country: str) -> None:
    if one.kind == Kind.TAX_CODE and one.variant:
        if country in {"US", "USA"}:
            raise invalid("variant", "in the US a tax region has one tax code; leave the variant empty")
        if one.variant not in TREATMENTS:
            raise invalid(
                "variant",
                f"a treatment is {', '.join(TREATMENTS)} or empty for all of them, not {one.variant!r}",
            )
    elif one.kind in {Kind.CUSTOMER, Kind.BILLING_PROFILE}:
        if one.variant and not _CURRENCY.fullmatch(one.variant):
            raise invalid(
                "variant", f"the variant of a customer is its currency, such as EUR, not {one.variant!r}"
            )
    elif one.variant:
        raise invalid("variant", f"{one.kind} has no variants; leave it empty")


def _by_name(
    connection: Connection, company_id: UUID, one: Wanted, names: dict[str, dict[str, list[Choice]]]
) -> str:
    """The id of the only choice with the name, as a person or a file writes it."""
    if not one.external_name:
        raise invalid("external_id", "name the QuickBooks id, or the exact name there", code="required")
    if one.kind not in names:
        names[one.kind] = {}
        for choice in choices.listed(connection, company_id, one.kind):
            for name in {choice.name.casefold(), choice.label.casefold()}:
                names[one.kind].setdefault(name, []).append(choice)
    found = names[one.kind].get(one.external_name.strip().casefold(), [])
    if len(found) != 1:
        have = f": {', '.join(choice.id for choice in found)}; say which" if found else ""
        raise invalid(
            "external_name",
            f"{len(found) or 'no'} {choices.LISTS[one.kind]} in QuickBooks is named"
            f" {one.external_name!r}{have}",
        )
    return found[0].id


def _unfit(one: Wanted, chosen: Choice | None, home: str, unchecked: str) -> str:
    """Why QuickBooks' entry cannot stand for ours."""
    if chosen is None:
        return "" if unchecked else f"there is no {choices.LISTS[one.kind]} {one.external_id} in QuickBooks"
    if chosen.hindrance:
        return chosen.hindrance
    has = chosen.details.get("currency") or home
    if one.kind in {Kind.CUSTOMER, Kind.BILLING_PROFILE} and has and home and has != (one.variant or home):
        return (
            f"{chosen.name} ({chosen.id}) is billed in {has} for ever; the variant says {one.variant or home}:"
            f" choose or create a customer in {one.variant or home}"
        )
    return ""


class _Customers:
    """One customer is one client: who has which, stored already or in the same file."""

    def __init__(self, connection: Connection, company_id: UUID, meant: Sequence[Wanted]) -> None:
        ids = [one.external_id for one in meant if one.kind in {Kind.CUSTOMER, Kind.BILLING_PROFILE}]
        rows = connection.execute(_HOLDERS, {"company": company_id, "ids": ids}).all() if ids else []
        moving = {(one.kind, one.key): one.external_id for one in meant}
        # What is mapped elsewhere by the same rows gives its customer free.
        self._holders = {
            row.external_id: (row.kind, row.key)
            for row in rows
            if moving.get((row.kind, row.key), row.external_id) == row.external_id
        }

    def held(self, one: Wanted) -> str:
        """Why the customer cannot be this one's, "" when it can; from then on it is."""
        if one.kind not in {Kind.CUSTOMER, Kind.BILLING_PROFILE}:
            return ""
        kind, key = self._holders.setdefault(one.external_id, (one.kind, one.key))
        if (kind, key) == (one.kind, one.key):
            return ""
        return (
            f"customer {one.external_id} is linked to {kind} {key} already, and one customer is one client;"
            " unlink that one first, or choose another"
        )

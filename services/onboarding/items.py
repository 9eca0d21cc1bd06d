"""Products and services: which item of QuickBooks is which service of the PSA, and which are still to be made there.

Matched by the link there is, else by SKU, else by name; a match counts only when it is one to one both ways. What has
no counterpart is described so that the PSA can create it and say which id it got. Nothing is written to QuickBooks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from sqlalchemy import Connection, text

from messages.money import exponent
from services.connections import catalog
from services.connections.catalog import Entry
from services.database import Database
from services.mapping import mappings
from services.mapping.mappings import Hook, Kind
from services.onboarding import handover, runs
from services.onboarding.handover import Service
from services.onboarding.runs import Run
from services.refusals import conflict, missing

BATCH = 100
"""Links written in one transaction."""

KINDS = {"Service": "service", "NonInventory": "product", "Inventory": "product"}
"""What an item of a type is in the PSA; categories and bundles are neither."""

Action = Literal["linked", "link", "create", "skip"]

_COMPANY = text("SELECT home_currency FROM company WHERE company_id = :company")


@dataclass(frozen=True, slots=True)
class Sold:
    """An item as the PSA would keep it; amounts in minor units of `currency`, None when QuickBooks has none."""

    name: str
    full_name: str
    kind: str
    sku: str
    description: str
    rate: int | None
    cost: int | None
    currency: str
    active: bool


@dataclass(frozen=True, slots=True)
class Match:
    """One item, what becomes of it, and why. `service_id` is its counterpart, "" when there is none.

    `flags`: inactive, unmapped_tax, sku_conflict, name_collision, category_skipped, bundle_skipped, recreated, rounded.
    """

    item_id: str
    item: Sold
    action: Action
    why: str
    service_id: str = ""
    flags: tuple[str, ...] = ()


def plan(connection: Connection, run: Run) -> list[Match]:
    """Judge every item of the company by what is listed and linked by now. Changes nothing."""
    company = connection.execute(_COMPANY, {"company": run.company_id}).one()
    links: dict[str, list[str]] = defaultdict(list)
    for row in mappings.every(connection, run.tenant_id, run.company_id, Kind.ITEM):
        links[row.external_id].append(row.key)
    coded = mappings.every(connection, run.tenant_id, run.company_id, Kind.TAX_CODE)
    taxes = {row.external_id for row in coded}
    found = [one for one in catalog.entries(connection, run.company_id, "Item") if not one.gone]
    services = handover.services(connection, run.tenant_id)
    return judged(services, found, links, taxes, company.home_currency or "USD")


def judged(
    services: Sequence[Service],
    items: Sequence[Entry],
    links: Mapping[str, Sequence[str]],
    taxes: set[str],
    currency: str,
) -> list[Match]:
    """The plan for services of the PSA, items of QuickBooks, the links from items to services, and mapped tax codes."""
    return _Matching(services, items, links, taxes, currency).matches()


def link_found(database: Database, run: Run, *, actor: str, on_mapping_set: Hook) -> int:
    """Link every item that has exactly one counterpart; returns how many. A run that died goes on where it was."""
    with database.transaction(run.tenant_id) as connection:
        sure = [one for one in plan(connection, run) if one.action == "link"]
    for first in range(0, len(sure), BATCH):
        with database.transaction(run.tenant_id) as connection:
            runs.opened(connection, run.run_id)
            for one in sure[first : first + BATCH]:
                _link(connection, run, one.service_id, one.item_id, one.item.full_name, actor, on_mapping_set)
    return len(sure)


def link(
    connection: Connection, run: Run, service_id: str, item_id: str, *, actor: str, on_mapping_set: Hook
) -> None:
    """Link one service to the item that a person chose. Raises `Refusal`."""
    _there(connection, run, service_id)
    _link(connection, run, service_id, item_id, _usable(connection, run, item_id), actor, on_mapping_set)


def imported(
    connection: Connection, run: Run, item_id: str, service_id: str, *, actor: str, on_mapping_set: Hook
) -> None:
    """The PSA has made a service of an item: remember both. Telling it again changes nothing. Raises `Refusal`."""
    found = next((one for one in plan(connection, run) if one.item_id == item_id), None)
    name = _usable(connection, run, item_id)
    if found is not None and found.service_id and found.service_id != service_id:
        raise conflict(
            "item_taken",
            f"item {name} ({item_id}) is service {found.service_id} already; link another service to it if that is"
            " what you want",
            field="item",
        )
    assert found is not None  # what is usable is in the plan
    row = {"id": service_id, "name": found.item.name, "sku": found.item.sku, "kind": found.item.kind}
    handover.put_services(connection, run.tenant_id, [{**row, "active": found.item.active}])
    _link(connection, run, service_id, item_id, name, actor, on_mapping_set)


def count(matches: Iterable[Match]) -> dict[str, int]:
    """How many items meet which end."""
    found = Counter[str]({"linked": 0, "link": 0, "create": 0, "skip": 0})
    found.update(one.action for one in matches)
    return dict(found)


def _there(connection: Connection, run: Run, service_id: str) -> None:
    if not any(one.id == service_id for one in handover.services(connection, run.tenant_id)):
        raise missing(f"the PSA listed no service {service_id}", code="unknown_service", field="service")


def _usable(connection: Connection, run: Run, item_id: str) -> str:
    """The item's name. Raises `Refusal` when no line can name it."""
    entry = catalog.find(connection, run.company_id, [("Item", item_id)]).get(("Item", item_id))
    if entry is None or entry.gone:
        raise missing(
            f"QuickBooks had no item {item_id} when it was read; refresh if it is new",
            code="unknown_item",
            field="item",
        )
    if not entry.active or entry.data.get("Type") not in KINDS:
        state = "inactive" if not entry.active else f"of type {entry.data.get('Type')}"
        raise conflict(
            "unusable_item",
            f"{entry.name} ({item_id}) is {state}, and no line can name it; choose another",
            field="item",
        )
    return entry.name


def _link(
    connection: Connection,
    run: Run,
    service_id: str,
    item_id: str,
    name: str,
    actor: str,
    on_mapping_set: Hook,
) -> None:
    runs.opened(connection, run.run_id)
    at = (str(Kind.ITEM), service_id, "")
    before = mappings.lookup(connection, run.company_id, [at]).get(at)
    if before is not None and before.external_id == item_id:
        return
    mappings.put(
        connection,
        run.tenant_id,
        run.company_id,
        at,
        external_id=item_id,
        external_name=name[: mappings.MAX_KEY],
        details=before.details if before else None,
        actor=actor,
        on_mapping_set=on_mapping_set,
    )
    was = {"external_id": before.external_id, "external_name": before.external_name} if before else None
    facts = {"before": was, "name": name}
    runs.record(
        connection, run, "mapped", "service", service_id, external_id=item_id, facts=facts, actor=actor
    )


class _Matching:
    def __init__(
        self,
        services: Sequence[Service],
        items: Sequence[Entry],
        links: Mapping[str, Sequence[str]],
        taxes: set[str],
        currency: str,
    ) -> None:
        self._items = items
        self._links = links
        self._taxes = taxes
        self._currency = currency
        self._services = {one.id: one for one in services}
        linked = {service for found in links.values() for service in found}
        self._by_sku = defaultdict[str, list[Service]](list)
        self._by_name = defaultdict[str, list[Service]](list)
        for one in services:
            if one.sku:
                self._by_sku[one.sku.casefold()].append(one)
            self._by_name[one.name.strip().casefold()].append(one)
        self._linked = linked
        sold = [one for one in items if one.data.get("Type") in KINDS and one.active and one.id not in links]
        self._skus = Counter(_sku(one).casefold() for one in sold if _sku(one))
        self._names = Counter(_name(one).casefold() for one in sold)

    def matches(self) -> list[Match]:
        return [self._match(one) for one in self._items]

    def _match(self, entry: Entry) -> Match:
        item, flags = self._sold(entry)
        type_ = entry.data.get("Type")
        if type_ not in KINDS:
            flag = "category_skipped" if type_ == "Category" else "bundle_skipped"
            why = f"it is of type {type_}, which no line can name"
            return Match(entry.id, item, "skip", why, flags=(*flags, flag))
        ours = self._links.get(entry.id, ())
        known = [one for one in ours if one in self._services or not self._services]
        if known:
            return Match(entry.id, item, "linked", f"linked to {', '.join(known)}", known[0], flags)
        if ours:
            why = f"service {', '.join(ours)}, to which it was linked, is not listed by the PSA any more"
            return Match(entry.id, item, "create", why, flags=(*flags, "recreated"))
        if not entry.active:
            return Match(entry.id, item, "skip", "it is inactive in QuickBooks", flags=flags)
        sku = _sku(entry).casefold()
        if sku and (found := self._by_sku.get(sku)):
            return self._one(
                entry, item, flags, found, self._skus[sku], f"the same SKU, {_sku(entry)}", "sku_conflict"
            )
        name = _name(entry).casefold()
        if found := self._by_name.get(name):
            return self._one(entry, item, flags, found, self._names[name], "the same name", "name_collision")
        return Match(entry.id, item, "create", "the PSA has nothing of its SKU or name", flags=flags)

    def _one(
        self,
        entry: Entry,
        item: Sold,
        flags: tuple[str, ...],
        found: list[Service],
        rivals: int,
        why: str,
        flag: str,
    ) -> Match:
        """A match, if nobody else could be meant on either side."""
        free = [one for one in found if one.id not in self._linked]
        if len(found) == 1 == len(free) and rivals == 1:
            return Match(entry.id, item, "link", why, found[0].id, flags)
        if rivals > 1:
            said = f"{rivals} items of QuickBooks have {why.removeprefix('the same ')}"
        elif len(found) > 1:
            said = f"{why}, but several services have it: {', '.join(one.id for one in found)}"
        else:
            said = f"{why} as service {found[0].id}, which is linked to another item"
        return Match(entry.id, item, "skip", f"{said}; link it by hand", flags=(*flags, flag))

    def _sold(self, entry: Entry) -> tuple[Sold, tuple[str, ...]]:
        data, flags = entry.data, list[str]()
        rate, cost = self._minor(data.get("UnitPrice")), self._minor(data.get("PurchaseCost"))
        if not entry.active:
            flags.append("inactive")
        tax = (data.get("SalesTaxCodeRef") or {}).get("value", "")
        if tax not in {"", "TAX", "NON"} and tax not in self._taxes:
            flags.append("unmapped_tax")
        if rate is not None and rate != self._scaled(data["UnitPrice"]):
            flags.append("rounded")
        item = Sold(
            name=_name(entry),
            full_name=entry.name,
            kind=KINDS.get(str(data.get("Type")), ""),
            sku=_sku(entry),
            description=str(data.get("Description") or ""),
            rate=rate,
            cost=cost,
            currency=self._currency,
            active=entry.active,
        )
        return item, tuple(flags)

    def _minor(self, amount: object) -> int | None:
        """A price in minor units, half a cent up."""
        if amount is None:
            return None
        return int(self._scaled(amount).quantize(Decimal(1), rounding="ROUND_HALF_UP"))

    def _scaled(self, amount: object) -> Decimal:
        return Decimal(str(amount)).scaleb(exponent(self._currency))


def _name(entry: Entry) -> str:
    """The item's own name, without its categories."""
    return str(entry.data.get("Name") or entry.name.rpartition(":")[2]).strip()


def _sku(entry: Entry) -> str:
    return str(entry.data.get("Sku") or "").strip()

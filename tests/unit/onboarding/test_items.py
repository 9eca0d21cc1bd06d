"""Products and services: which item is which service, what is to be made, and what is left for a person."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.connections.catalog import Entry
from services.onboarding import items
from services.onboarding.handover import Service
from services.onboarding.items import Match


def item(id_: str, name: str, *, active: bool = True, **data: Any) -> Entry:
    """An item of QuickBooks."""
    own = name.rpartition(":")[2]
    data = {"Type": "Service", "Name": own, "UnitPrice": Decimal(45), **data}
    return Entry("Item", id_, name, active, False, data)


def service(id_: str, name: str, sku: str = "") -> Service:
    """A service of the PSA."""
    return Service(id_, name, sku, "service", True)


def judged(
    services: list[Service],
    found: list[Entry],
    links: dict[str, list[str]] | None = None,
    currency: str = "USD",
) -> dict[str, Match]:
    """The plan by item."""
    plan = items.judged(services, found, links or {}, {"7"}, currency)
    return {one.item_id: one for one in plan}


@pytest.mark.parametrize(
    ("services", "entry", "links", "action", "service_id", "flags"),
    [
        ([service("s1", "Backup")], item("1", "Backup"), {"1": ["s1"]}, "linked", "s1", ()),
        ([service("s1", "Other", "B-1")], item("1", "Backup", Sku="b-1"), {}, "link", "s1", ()),
        ([service("s1", "backup ")], item("1", "Cloud:Backup"), {}, "link", "s1", ()),
        ([service("s1", "Other")], item("1", "Backup"), {}, "create", "", ()),
        ([], item("1", "Backup"), {"1": ["s1"]}, "linked", "s1", ()),
        ([service("s2", "Other")], item("1", "Backup"), {"1": ["s1"]}, "create", "", ("recreated",)),
        ([], item("1", "Backup", Type="Category"), {}, "skip", "", ("category_skipped",)),
        ([], item("1", "Backup", Type="Group"), {}, "skip", "", ("bundle_skipped",)),
        ([], item("1", "Backup", active=False), {}, "skip", "", ("inactive",)),
        ([], item("1", "Backup", SalesTaxCodeRef={"value": "9"}), {}, "create", "", ("unmapped_tax",)),
        ([], item("1", "Backup", SalesTaxCodeRef={"value": "7"}), {}, "create", "", ()),
        ([], item("1", "Backup", SalesTaxCodeRef={"value": "NON"}), {}, "create", "", ()),
        ([], item("1", "Backup", UnitPrice=Decimal("0.125")), {}, "create", "", ("rounded",)),
        (
            [service("s1", "Backup"), service("s2", "Backup")],
            item("1", "Backup"),
            {},
            "skip",
            "",
            ("name_collision",),
        ),
        (
            [service("s1", "X", "B")],
            item("1", "Backup", Sku="B"),
            {"9": ["s1"]},
            "skip",
            "",
            ("sku_conflict",),
        ),
    ],
)
def test_one_item(
    services: list[Service],
    entry: Entry,
    links: dict[str, list[str]],
    action: str,
    service_id: str,
    flags: tuple[str, ...],
) -> None:
    """The link there is, else SKU, else name; what cannot be decided is skipped with its flag."""
    found = judged(services, [entry], links)[entry.id]
    assert (found.action, found.service_id, found.flags) == (action, service_id, flags)


def test_a_name_that_two_items_have_is_nobody_s() -> None:
    """Two items of one name in different categories, one service: neither is linked by itself."""
    found = judged([service("s1", "Backup")], [item("1", "A:Backup"), item("2", "B:Backup")])
    assert {one.action for one in found.values()} == {"skip"}
    assert "2 items of QuickBooks have" in found["1"].why


def test_an_item_is_described_as_the_psa_keeps_it() -> None:
    """Own name, kind, prices in minor units of the company's currency, half a unit up; what there is not is None."""
    entry = item(
        "1", "Hardware:Dock", Type="Inventory", Sku="D-1", Description="USB", PurchaseCost=Decimal("9.995")
    )
    sold = judged([], [entry])["1"].item
    assert (sold.name, sold.full_name, sold.kind, sold.sku) == ("Dock", "Hardware:Dock", "product", "D-1")
    assert (sold.rate, sold.cost, sold.currency) == (4500, 1000, "USD")
    yen = judged([], [item("1", "Dock", UnitPrice=Decimal(450))], currency="JPY")["1"].item
    assert (yen.rate, yen.cost) == (450, None)

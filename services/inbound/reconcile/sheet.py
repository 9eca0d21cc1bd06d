"""A statement as CSV: every item, the matched ones too, so that a spreadsheet adds up to both receivables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from messages.money import to_decimal
from services import spreadsheets
from services.inbound.reconcile.items import Item
from services.inbound.reconcile.statement import Statement
from services.spreadsheets import Cell

COLUMNS: Final = (
    "class",
    "item",
    "kind",
    "name",
    "currency",
    "billing_number",
    "billing_date",
    "billing_amount",
    "quickbooks_id",
    "quickbooks_number",
    "quickbooks_date",
    "quickbooks_amount",
    "difference",
    "home_difference",
    "why",
    "next_step",
    "follows",
    "url",
)


def write(made: Statement) -> str:
    """The whole statement; amounts are effects on receivables in whole units of the item's currency."""
    return spreadsheets.write(COLUMNS, (list(_row(one, made.home)) for one in made.listed()))


def _row(item: Item, home: str) -> Iterator[Cell]:
    currency = item.currency or home
    yield from (item.class_, item.key, item.kind, item.name, currency)
    here, there = item.billing, item.quickbooks
    yield from (
        (here.number, str(here.date or ""), to_decimal(here.amount, currency)) if here else ("", "", None)
    )
    yield there.id if there else ""
    yield from (
        (there.number, str(there.date or ""), to_decimal(there.amount, currency)) if there else ("", "", None)
    )
    yield to_decimal(item.difference, currency)
    yield to_decimal(item.home_difference, home)
    yield from (item.why, item.next_step, item.follows or "", item.url or "")

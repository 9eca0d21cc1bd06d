"""The names of exception types."""

from __future__ import annotations

import re
from pathlib import Path

from services.exceptions import types

ALGAPSA = {
    "accounting_sync_drift",
    "accounting_sync_unmapped_payment",
    "accounting_sync_export_error",
    "accounting_sync_customer_unlinked",
    "accounting_connection_expired",
}
ROOT = Path(types.__file__).parents[2]


def test_the_names_of_algapsa_are_used_as_they_are() -> None:
    """Its users know these words; none is renamed, none is missing."""
    assert set(types.NAMES) >= ALGAPSA


def test_every_type_in_the_code_is_described_and_none_is_only_described() -> None:
    """Whoever adds a type describes it, and a type that nothing opens is not on the list."""
    used = set()
    for folder in ("services", "workers"):
        for file in (ROOT / folder).rglob("*.py"):
            if file != Path(types.__file__):
                used |= set(
                    re.findall(
                        r'"(accounting_(?:sync|connection|reconciliation)_[a-z_]+)"', file.read_text("utf-8")
                    )
                )
    assert used == set(types.NAMES)


def test_each_says_what_settles_it() -> None:
    """An admin reads what it is about and what closes it."""
    for one in types.TYPES:
        assert one.about
        assert one.meaning.endswith(".")
        assert one.settled_by

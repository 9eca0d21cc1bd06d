"""The timeline: append-only, chained by hash, and nobody writes into another tenant's."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from services.database import Database, Role
from services.ledger import timeline
from tests.support.ledger import TENANT


def test_entries_are_chained(ledger: Database) -> None:
    """Every entry carries the hash of the one before it, and reads back as intact."""
    with ledger.transaction(TENANT) as connection:
        for number in range(3):
            timeline.append(connection, TENANT, "invoice", "i1", "test", "noted", {"n": number, "ü": "é"})
        entries = timeline.read(connection, TENANT, "invoice", "i1")
    assert [(entry.position, entry.details["n"], entry.intact) for entry in entries] == [
        (1, 0, True),
        (2, 1, True),
        (3, 2, True),
    ]


def test_tampering_breaks_the_chain(ledger: Database, database_url: str) -> None:
    """A changed entry, or one cut out, shows, even when the superuser did it."""
    with ledger.transaction(TENANT) as connection:
        for number in range(4):
            timeline.append(connection, TENANT, "invoice", "i1", "test", "noted", {"amount": number})
    with Database(database_url, Role.OWNER) as owner, owner.transaction("*") as connection:
        connection.execute(text("ALTER TABLE timeline DISABLE TRIGGER timeline_append_only"))
        connection.execute(text("""UPDATE timeline SET details = '{"amount": 9}' WHERE position = 2"""))
        connection.execute(text("DELETE FROM timeline WHERE position = 3"))
        intact = [entry.intact for entry in timeline.read(connection, TENANT, "invoice", "i1")]
    assert intact == [True, False, False]


@pytest.mark.parametrize(
    "change", ["UPDATE timeline SET actor = 'x'", "DELETE FROM timeline", "TRUNCATE timeline"]
)
def test_nobody_changes_it(ledger: Database, database_url: str, change: str) -> None:
    """Not the ledger, not even the owner."""
    with ledger.transaction(TENANT) as connection:
        timeline.append(connection, TENANT, "invoice", "i1", "test", "noted", {})
    for role in (Role.FLEET, Role.API, Role.OWNER):
        with (
            Database(database_url, role) as database,
            pytest.raises(ProgrammingError, match=r"append-only|permission denied"),
            database.transaction(TENANT) as connection,
        ):
            connection.execute(text(change))


@pytest.mark.parametrize(("role", "scope"), [(Role.API, "other"), (Role.FLEET, "other")])
def test_no_entry_in_another_tenants_timeline(database_url: str, role: Role, scope: str) -> None:
    """The function checks the scope of the transaction, although it runs with its owner's rights."""
    with (
        Database(database_url, role) as database,
        pytest.raises(ProgrammingError, match="from the scope of other"),
        database.transaction(scope) as connection,
    ):
        timeline.append(connection, TENANT, "invoice", "i1", "mallory", "noted", {})


def test_concurrent_writers_keep_one_chain(ledger: Database) -> None:
    """Eight writers of one document: positions without gap or repeat, the chain intact."""

    def write() -> None:
        for _ in range(10):
            with ledger.transaction(TENANT) as connection:
                timeline.append(connection, TENANT, "invoice", "i1", "test", "noted", {})

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ledger.transaction(TENANT) as connection:
        entries = timeline.read(connection, TENANT, "invoice", "i1")
    assert [entry.position for entry in entries] == list(range(1, 81))
    assert all(entry.intact for entry in entries)

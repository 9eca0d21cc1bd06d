"""Several conditions of one operation come true at the same moment, in transactions that do not see each other."""

from __future__ import annotations

import threading

from sqlalchemy import text

from services.database import Database
from services.ledger import sweep, waits
from services.ledger.ports import Condition
from tests.support import eventually
from tests.support.ledger import TENANT, company, operation, read


def test_two_that_release_at_once_wake_it(ledger: Database) -> None:
    """A payment waits for two invoices that are exported side by side: it wakes, without the help of the sweep."""
    keys = ("invoice/inv-1", "invoice/inv-2")
    with ledger.transaction(TENANT) as connection:
        waiting = operation(connection, company(connection))
        for key in keys:  # so that both are still to come
            connection.execute(
                text("INSERT INTO document (tenant_id, kind, document_id) VALUES (:tenant, 'invoice', :id)"),
                {"tenant": TENANT, "id": key.partition("/")[2]},
            )
        assert waits.hold(connection, waiting, TENANT, [Condition("link", key) for key in keys]) == 2
        connection.execute(text("UPDATE operation SET state = 'waiting'"))

    released = threading.Event()

    def release_the_other() -> None:
        with ledger.transaction(TENANT) as connection:
            waits.release(connection, TENANT, "link", keys[1])
        released.set()

    def met() -> bool:
        """The other has met our lock, or is through already."""
        with ledger.transaction(TENANT) as watcher:
            blocked = watcher.execute(
                text("SELECT count(*) FROM pg_stat_activity WHERE :pid = ANY (pg_blocking_pids(pid))"),
                {"pid": pid},
            ).scalar_one()
        return released.is_set() or bool(blocked)

    other = threading.Thread(target=release_the_other)
    with ledger.transaction(TENANT) as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        waits.release(connection, TENANT, "link", keys[0])
        other.start()
        eventually(met, what="the other releases, too")
    other.join()
    with ledger.transaction(TENANT) as connection:
        assert read(connection, waiting).state == "queued"
        assert sweep.violations(connection) == {}

"""The demonstration's stand-in for the PSA's own tables: what was billed, in the database that has the outbox.

Each invoice is written and its event emitted in one transaction, the latter as the role that may do nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import psycopg
from psycopg.types.json import Jsonb

from services.cli.demo.billing import TENANT

_TABLES = """
    CREATE SCHEMA IF NOT EXISTS demo_psa;
    CREATE TABLE IF NOT EXISTS demo_psa.invoice (number text PRIMARY KEY, data jsonb NOT NULL);
"""


class PsaBooks:
    """What the PSA billed."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)
        self._connection.execute(_TABLES)

    def billed(self) -> list[dict[str, Any]]:
        """Data of every invoice, in the order of their numbers."""
        rows = self._connection.execute("SELECT data FROM demo_psa.invoice ORDER BY number")
        return [cast(dict[str, Any], row[0]) for row in rows]

    def finalize(self, invoices: Iterable[dict[str, Any]]) -> int:
        """Finalize invoices, each in a transaction of its own; those there are already stay. Returns how many."""
        done = 0
        for data in invoices:
            with self._connection.transaction():
                new = self._connection.execute(
                    "INSERT INTO demo_psa.invoice VALUES (%s, %s) ON CONFLICT DO NOTHING",
                    (data["number"], Jsonb(data)),
                )
                if not new.rowcount:
                    continue
                self._connection.execute("SET LOCAL ROLE algasync_emit")
                self._connection.execute(
                    """SELECT algasync.outbox_emit_v1(tenant => %s, type => 'invoice.finalized.v1', subject => %s,
                                                      data => %s, idempotency_key => %s)""",
                    (TENANT, data["id"], Jsonb(data), f"finalized:{data['number']}"),
                )
                done += 1
        return done

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

"""Cost does not grow with the tables: hot statements stay on indexes, planned for their values or for any.

The tables are those of `services.cli.bench_crowd`: `ALGASYNC_TEST_ROWS` operations (100,000 by default), twice as many
rows in the outbox, 1,000 companies. A million of them take minutes to make: `--timeout 1800`.
`tests/bench/test_bench_growth.py` beside it compares what is spent.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import ClientCursor

from services.cli.bench_crowd import GROWING, Size, fill
from services.connections import limiter
from services.database import Database, Role
from services.database.statement import Statement
from services.ledger import dispatch, documents, intake, links, record, take
from services.outbound import books, dossiers
from tests.support.deadline import eventually
from tests.support.exporting import Workbench

ROWS: Final = int(os.environ.get("ALGASYNC_TEST_ROWS", "100000"))
COMPANIES: Final = 1000
SOMEBODY: Final = "t-17"
COMPANY: Final = UUID(int=17)
DOCUMENT: Final = "inv-35"  # one of theirs

_COMPANY_OF_HALF: Final = """
    INSERT INTO algasync.company (company_id, tenant_id, environment, realm_id, state, is_default, connected_by)
    VALUES (%s, 't-0', 'sandbox', 'realm-0', 'active', true, 'test')
"""


@pytest.fixture(scope="module")
def crowded_url(module_database_url: str) -> str:
    """A database in which much has happened already."""
    with psycopg.connect(module_database_url, autocommit=True) as connection:
        connection.execute(_COMPANY_OF_HALF, (UUID(int=0),))
    with Database(module_database_url, Role.FLEET, pool_size=1) as database:
        fill(database, "t-0", UUID(int=0), Size(0, 1), Size(ROWS, COMPANIES))
    return module_database_url


@pytest.fixture
def database_url(crowded_url: str) -> str:
    """What every fixture of this module works on."""
    return crowded_url


@pytest.fixture
def fleet_of_many(crowded_url: str) -> Iterator[Database]:
    """The crowded database as workers see it."""
    with Database(crowded_url, Role.FLEET, pool_size=2) as database:
        yield database


_PLACE: Final = {"tenant": SOMEBODY, "kind": "invoice", "id": DOCUMENT, "sequence": 1}
_SAID: Final = {
    **documents.Description().columns(),
    "event_id": uuid4(),
    "type": "invoice.finalized.v1",
    "said": "{}",
    "occurred_at": datetime(2026, 11, 1, tzinfo=UTC),
    "traceparent": None,
    "kept": False,
    "operations": "[]",
    "action": "InvoiceFinalized",
    "details": "{}",
}
_TAKEN: Final = {
    "id": COMPANY,
    "seen": datetime(2026, 11, 1, tzinfo=UTC),
    "token": uuid4(),
    "lease": timedelta(minutes=1),
    "generation": 0,
    "requestid": "r",
    "call": "{}",
    "same_call": False,
    "reason_code": None,
    "action": "calling",
    "details": "{}",
}
_SLOT: Final = {
    "company": COMPANY,
    "batch": False,
    "call_interval": 0.12,
    "batch_interval": 1.5,
    "share": 0.8,
    "horizon": 10.0,
    "moment": None,
}
_LINK: Final = {
    "tenant_id": SOMEBODY,
    "company_id": COMPANY,
    "kind": "invoice",
    "document_id": DOCUMENT,
    "external_type": "Invoice",
    "external_id": "17",
    "sync_token": "0",
    "number": None,
    "total": None,
    "currency": "USD",
    "state": "synced",
    "snapshot": "{}",
    "linked_via": "export",
    "operation_id": COMPANY,
}
HOT: Final[dict[str, tuple[Statement, dict[str, Any]]]] = {
    "intake: claim": (documents._CLAIM, _PLACE),
    "intake: sequence": (intake._TAKEN_SEQUENCE, _PLACE),
    "intake: company": (books._CHOICE, {"tenant": SOMEBODY, "target": "", "client_id": "cl-1"}),
    "intake: unfinished": (intake._UNFINISHED, _PLACE),
    "intake: apply": (intake._APPLY, {**_PLACE, **_SAID}),
    "intake: next": (intake._NEXT, _PLACE),
    "dispatch: due": (dispatch._DUE, {"in_flight": 8, "limit": 500}),
    "dispatch: sent": (dispatch._SENT, {"ids": [uuid4()], "resend": timedelta(minutes=1)}),
    "take: look": (take._READ, {"id": COMPANY}),
    "take: dossier": (
        dossiers._WITH_BOOKS,
        {"tenant": SOMEBODY, "kind": "invoice", "id": DOCUMENT, "company": COMPANY},
    ),
    "take: slot": (limiter._RESERVE, _SLOT),
    "take: intend": (take._TAKE, _TAKEN),
    "finish: done": (record._SUCCEEDED, {"id": COMPANY, "token": uuid4(), "digest": "d", "tid": "t"}),
    "finish: link": (links._PUT, _LINK),
}


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", HOT)
def test_a_hot_statement_stays_on_indexes(fleet_of_many: Database, name: str, mode: str) -> None:
    """No plan, for these values or for any, walks over a table that grows."""
    walked, plan = _walked(fleet_of_many, *HOT[name], mode)
    assert not walked, plan


def test_the_gate_notices_a_walk(fleet_of_many: Database) -> None:
    """A statement without an index to stand on is found out, so the gate above says something."""
    wanting = Statement("UPDATE operation SET reason = NULL WHERE intuit_tid = :tid")
    walked, _ = _walked(fleet_of_many, wanting, {"tid": "t"}, "force_generic_plan")
    assert walked == ["operation"]


def _walked(
    database: Database, statement: Statement, values: dict[str, Any], mode: str
) -> tuple[list[str | None], Any]:
    """The big tables that the plan of a statement walks over, and the plan."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement.sql)))
    numbered = re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", statement.sql)
    with database.transaction("*") as connection:
        session = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
        cursor = ClientCursor(session)
        given = cursor.mogrify(f"({', '.join(['%s'] * len(names))})", [values[name] for name in names])
        cursor.execute(cast(Any, f"SET LOCAL plan_cache_mode = {mode}"))
        cursor.execute(cast(Any, f"PREPARE hot AS {numbered.replace('%%', '%')}"))
        row = cursor.execute(cast(Any, f"EXPLAIN (FORMAT JSON) EXECUTE hot {given}")).fetchone()
        cursor.execute("DEALLOCATE hot")
    assert row is not None
    found = _nodes(row[0][0]["Plan"])
    return [table for kind, table in found if kind == "Seq Scan" and table in GROWING], row[0]


def _nodes(plan: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    yield plan["Node Type"], plan.get("Relation Name")
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def test_a_whole_export_walks_over_no_table(workbench: Workbench, crowded_url: str) -> None:
    """From event to link, functions and triggers included: PostgreSQL counts no walk over a table that grows."""
    before = _walks(crowded_url)
    for number in range(8):  # the first ones are planned for their values, the later ones for any
        workbench.bill(f"inv-{number}")
        (operation,) = workbench.operations(f"inv-{number}")
        assert workbench.run(operation).code == "succeeded"
    workbench.fleet.close()  # a session tells what it did at its end
    with psycopg.connect(crowded_url, autocommit=True) as connection:
        eventually(lambda: _sessions(connection) == 0)
    assert _walks(crowded_url) - before == Counter()


def _walks(url: str) -> Counter[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY (%s)", (list(GROWING),)
        )
        return Counter({str(name): int(number) for name, number in rows})


def _sessions(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(
        """SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""
    ).fetchone()
    assert row is not None
    return int(row[0])

"""Cost does not grow with the tables: hot statements stay on indexes, and an export costs a fixed number of them.

The tables are filled by set-based inserts: `ALGASYNC_TEST_ROWS` operations (100,000 by default), as much around them.
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

from services.connections import limiter
from services.database import Database, Role
from services.database.statement import Statement
from services.ledger import dispatch, documents, intake, links, record, take
from services.outbound import books, dossiers
from tests.support.deadline import eventually
from tests.support.exporting import Workbench

ROWS: Final = int(os.environ.get("ALGASYNC_TEST_ROWS", "100000"))
COMPANIES: Final = 1000
BIG: Final = ("event", "document", "operation", "link", "timeline_head", "outbox_event", "exception")
SOMEBODY: Final = "t-17"
COMPANY: Final = UUID(int=17)

_FILL: Final = """
    SET ROLE algasync_owner;
    SET search_path TO algasync, pg_catalog;
    ALTER TABLE link DISABLE TRIGGER USER;
    INSERT INTO company (company_id, tenant_id, environment, realm_id, state, is_default, connected_by)
    SELECT lpad(to_hex(n), 32, '0')::uuid, 't-' || n, 'sandbox', 'realm-' || n, 'active', true, 'test'
      FROM generate_series(0, {companies} - 1) AS n;
    INSERT INTO company_limiter (company_id, tenant_id) SELECT company_id, tenant_id FROM company;
    INSERT INTO setting (tenant_id, scope, name, value, updated_by)
    SELECT tenant_id, 'tenant', 'auto_sync', 'true', 'test' FROM company;
    CREATE TEMPORARY TABLE many AS
    SELECT n, 't-' || n % {companies} AS tenant_id, lpad(to_hex(n % {companies}), 32, '0')::uuid AS company_id,
           'inv-' || n AS document_id
      FROM generate_series(0, {rows} - 1) AS n;
    INSERT INTO document (tenant_id, kind, document_id, number, client_id, state, applied_sequence, data)
    SELECT tenant_id, 'invoice', document_id, upper(document_id), 'cl-' || n % 500, 'finalized', 1, '{{}}' FROM many;
    INSERT INTO event (event_id, tenant_id, type, document_kind, document_id, sequence, data, occurred_at, state)
    SELECT gen_random_uuid(), tenant_id, 'invoice.finalized.v1', 'invoice', document_id, 1, '{{}}', now(), 'applied'
      FROM many;
    INSERT INTO operation (operation_id, tenant_id, company_id, kind, queue, document_kind, document_id, revision,
                           state, finished_at)
    SELECT lpad(to_hex(n), 32, '0')::uuid, tenant_id, company_id, 'export_invoice', 'export', 'invoice', document_id, 1,
           CASE WHEN n % 50 = 0 THEN 'queued' ELSE 'succeeded' END, CASE WHEN n % 50 > 0 THEN now() END FROM many;
    INSERT INTO link (tenant_id, company_id, kind, document_id, external_type, external_id, sync_token, snapshot)
    SELECT tenant_id, company_id, 'invoice', document_id, 'Invoice', n::text, '0', '{{}}' FROM many WHERE n % 50 > 0;
    INSERT INTO timeline_head SELECT tenant_id, 'invoice', document_id, 3, '\\x' FROM many;
    INSERT INTO exception (exception_id, tenant_id, type, entity_kind, entity_id, state, cause, code, title, happened,
                           why, fix, closed_at)
    SELECT gen_random_uuid(), tenant_id, 'accounting_sync_export_error', 'invoice', document_id, 'resolved', 'c', 'c',
           't', 'h', 'w', 'f', now() FROM many WHERE n % 5 = 0;
    INSERT INTO outbox_event (event_id, tenant_id, exchange, type, document_kind, subject, sequence, body, due_at,
                              published_at)
    SELECT gen_random_uuid(), tenant_id, 'billing', 'invoice.finalized.v1', 'invoice', document_id, k, '{{}}',
           now() + interval '1 hour', now() FROM many CROSS JOIN generate_series(1, 2) AS k;
    ALTER TABLE link ENABLE TRIGGER USER;
    ANALYZE company, company_limiter, setting, {big};
"""


@pytest.fixture(scope="module")
def crowded_url(module_database_url: str) -> str:
    """A database in which much has happened already."""
    with psycopg.connect(module_database_url, autocommit=True) as connection:
        for statement in _FILL.format(companies=COMPANIES, rows=ROWS, big=", ".join(BIG)).split(";"):
            if statement.strip():
                connection.execute(cast(Any, statement))
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


_PLACE: Final = {"tenant": SOMEBODY, "kind": "invoice", "id": "inv-17", "sequence": 1}
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
    "document_id": "inv-17",
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
        {"tenant": SOMEBODY, "kind": "invoice", "id": "inv-17", "company": COMPANY},
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
    return [table for kind, table in found if kind == "Seq Scan" and table in BIG], row[0]


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
            "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY (%s)", (list(BIG),)
        )
        return Counter({str(name): int(number) for name, number in rows})


def _sessions(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(
        """SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""
    ).fetchone()
    assert row is not None
    return int(row[0])

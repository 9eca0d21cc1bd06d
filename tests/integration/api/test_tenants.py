"""One tenant attacking another over every endpoint and every table: it sees nothing, and it changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from services.api import create_app
from services.api.keys import Scope
from services.connections import companies, credentials
from services.database import Database, Role
from services.exceptions.desk import Subject, report
from services.ledger import operations, pauses
from services.ledger.operations import Plan
from services.ledger.ports import Problem
from services.mapping import mappings, settings
from tests.support import attack
from tests.support.api import OTHER, TENANT, Served
from tests.support.attack import KNOWN, SECRET, Routes, known_id
from tests.support.intuit import APP, Noted


@contextmanager
def owner(url: str) -> Iterator[Connection]:
    """A transaction of the tables' owner, who sees everything."""
    with Database(url, Role.OWNER) as database, database.transaction("*") as connection:
        yield connection


def furnish(served: Served) -> dict[str, Any]:
    """Give the victim one of everything that its own key shows; returns the ids an attacker may have learnt."""
    with served.fleet.transaction(TENANT) as connection:
        credentials.save(
            connection,
            served.context.intuit.vault,
            TENANT,
            client_id=APP[0],
            client_secret=APP[1],
            actor=SECRET,
        )
        company = companies.activate(
            connection, TENANT, environment="sandbox", realm_id=f"{KNOWN}1", actor=SECRET, attention=Noted()
        )
        mappings.put(
            connection,
            TENANT,
            company.company_id,
            ("item", f"svc-{KNOWN}", ""),
            external_id="17",
            external_name=SECRET,
            actor=SECRET,
            on_mapping_set=lambda *_: None,
        )
        settings.put(connection, TENANT, settings.TENANT, "poll_interval", 77, actor=SECRET)
        pauses.pause(connection, "tenant", tenant=TENANT, actor=SECRET, reason=SECRET)
        operation_id = operations.insert(
            connection,
            TENANT,
            "invoice",
            f"inv-{KNOWN}",
            Plan("export_invoice", "export", company.company_id),
            revision=1,
        )
        problem = Problem("accounting_sync_export_error", "x", "x", SECRET, SECRET, SECRET, SECRET)
        subject = Subject(TENANT, "invoice", f"inv-{KNOWN}", company_id=company.company_id)
        exception_id = report(connection, subject, problem)
    return {
        "realm": f"{KNOWN}1",
        "realm_id": f"{KNOWN}1",
        "operation_id": str(operation_id),
        "exception_id": str(exception_id),
        "document_kind": "invoice",
        "document_id": f"inv-{KNOWN}",
        "type": "invoice",
        "kind": "item",
        "key": f"svc-{KNOWN}",
        "cause": "x",
        "name": "poll_interval",
    }


@pytest.fixture
def document(served: Served) -> dict[str, Any]:
    """The OpenAPI document of the API that is served."""
    return dict(create_app(served.context).openapi())


def test_no_endpoint_reaches_another_tenant(served: Served, document: dict[str, Any]) -> None:
    """Every operation of the OpenAPI document, with full keys of another tenant and the victim's own ids."""
    ids = furnish(served)
    with owner(served.fleet.url) as connection:
        attack.settle(connection, TENANT)
        before = attack.digest(connection, TENANT)
    attackers = [served.caller(Scope.OPERATOR, tenant=OTHER), served.caller(Scope.EVENTS, tenant=OTHER)]
    invented = {
        name: known_id(name)
        for name in ("run_id", "handover_id", "subscription_id", "delivery_id", "company_id", "event_id")
    }
    understood = 0
    for pool in (ids, ids | invented | {name: known_id(name) for name in ("operation_id", "exception_id")}):
        for request in Routes(document, pool):
            for attacker in attackers:
                answer = attacker(
                    request.method,
                    request.path,
                    params=request.params,
                    json=request.body,
                )
                where = (request.method, request.path, request.body, answer.text)
                assert answer.status_code < 500, where
                assert SECRET not in answer.text, where
                understood += answer.status_code in {200, 201, 202, 404, 409}
    assert understood > len(document["paths"])  # most requests got as far as looking for the victim's things
    with owner(served.fleet.url) as connection:
        assert attack.digest(connection, TENANT) == before


@pytest.mark.parametrize("role", [Role.API, Role.FLEET])
def test_no_table_gives_another_tenant_a_row(database_url: str, role: Role) -> None:
    """Every table of pg_catalog, with a row of the victim: work for another tenant neither sees nor writes it."""
    with owner(database_url) as connection:
        attack.settle(connection, TENANT)
        names = attack.tables(connection)
        rows = {name: attack.row_of(connection, name, TENANT) for name in names}
        for name in names:
            seen = connection.execute(
                text(f"SELECT count(*) FROM {name} WHERE tenant_id = :t"), {"t": TENANT}
            )
            assert seen.scalar_one() >= 1, name
        before = attack.digest(connection, TENANT)
    assert len(names) > 30
    with Database(database_url, role) as database:
        for name in names:
            for statement in (
                f"SELECT FROM {name} WHERE tenant_id = :tenant_id OR true",
                f"UPDATE {name} SET tenant_id = '{OTHER}'",
                f"DELETE FROM {name}",
                rows[name][0],
            ):
                assert reached(database, statement, rows[name][1]) in {"denied", "0 rows"}, statement
    with owner(database_url) as connection:
        assert attack.digest(connection, TENANT) == before


def reached(database: Database, statement: str, values: dict[str, Any]) -> str:
    """How far a statement of another tenant gets."""
    try:
        with database.transaction(OTHER) as connection:
            return f"{connection.execute(text(statement), values).rowcount} rows"
    except ProgrammingError as error:
        return "denied" if isinstance(error.orig, InsufficientPrivilege) else repr(error)


def test_an_owner_does_reach_what_is_its_own(served: Served) -> None:
    """The same requests by the victim's own key find everything: the tests above do not pass for nothing."""
    ids = furnish(served)
    caller = served.caller(Scope.OPERATOR)
    for path in (
        "/v1/quickbooks/companies",
        f"/v1/quickbooks/companies/{ids['realm']}/health",
        "/v1/mappings",
        f"/v1/operations/{ids['operation_id']}",
        "/v1/exceptions",
        f"/v1/exceptions/{ids['exception_id']}",
        "/v1/pause",
    ):
        assert SECRET in str(caller.get(path)), path
    assert KNOWN in str(caller.get("/v1/operations"))
    assert caller.get("/v1/settings")["effective"]["poll_interval"] == 77


def test_nobody_without_a_key_reaches_anything(served: Served, document: dict[str, Any]) -> None:
    """Every endpoint below /v1 asks for a key, and says so as a problem."""
    for request in Routes(document, furnish(served)):
        if request.path.startswith("/v1"):
            answer = served.nobody(request.method, request.path, params=request.params, json=request.body)
            assert answer.status_code == 401, (request, answer.text)
            assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_ticket_of_one_tenant_does_not_name_another(served: Served) -> None:
    """Changing the tenant in a ticket makes it worthless."""
    furnish(served)
    url = served.manager("POST", "/v1/quickbooks/connect", json={}).json()["connect_url"]
    address, _, ticket = url.partition("?ticket=")
    other = "orsw4ylooqwwe." + ticket.partition(".")[2]  # tenant-b
    assert requests.get(f"{address}?ticket={ticket}", timeout=10).status_code == 200
    assert requests.get(f"{address}?ticket={other}", timeout=10).status_code == 400

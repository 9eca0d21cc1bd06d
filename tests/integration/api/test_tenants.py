"""One tenant attacking another over every endpoint: it sees nothing, and it changes nothing."""

from __future__ import annotations

from typing import Any

import requests
from sqlalchemy import text

from services.api.keys import Scope
from services.connections import companies, credentials
from services.exceptions.desk import Subject, report
from services.ledger import operations, pauses
from services.ledger.operations import Plan
from services.ledger.ports import Problem
from services.mapping import mappings, settings
from tests.support.api import OTHER, TENANT, Served
from tests.support.intuit import APP, Noted

MARK = "alpha7c3f"
"""Stands in everything the victim owns; must stand in no answer to anybody else."""

_TABLES = text(
    """SELECT c.relname FROM pg_class c
         JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'algasync'
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1"""
)


def furnish(served: Served) -> dict[str, str]:
    """Give the victim one of everything; returns the ids that an attacker may have learnt."""
    ids: dict[str, str] = {"realm": f"{MARK}1", "name": "poll_interval"}
    with served.fleet.transaction(TENANT) as connection:
        credentials.save(
            connection,
            served.context.intuit.vault,
            TENANT,
            client_id=APP[0],
            client_secret=APP[1],
            actor=MARK,
        )
        company = companies.activate(
            connection, TENANT, environment="sandbox", realm_id=ids["realm"], actor=MARK, attention=Noted()
        )
        mappings.put(
            connection,
            TENANT,
            company.company_id,
            ("item", f"svc-{MARK}", ""),
            external_id="17",
            external_name=MARK,
            actor=MARK,
            on_mapping_set=lambda *_: None,
        )
        settings.put(connection, TENANT, settings.TENANT, "poll_interval", 77, actor=MARK)
        pauses.pause(connection, "tenant", tenant=TENANT, actor=MARK, reason=MARK)
        operation_id = operations.insert(
            connection,
            TENANT,
            "invoice",
            f"inv-{MARK}",
            Plan("export_invoice", "export", company.company_id),
            revision=1,
        )
        problem = Problem("accounting_sync_export_error", "x", "x", MARK, MARK, MARK, MARK)
        subject = Subject(TENANT, "invoice", f"inv-{MARK}", company_id=company.company_id)
        ids["exception_id"] = str(report(connection, subject, problem))
    ids["operation_id"] = str(operation_id)
    return ids


def snapshot(served: Served) -> dict[str, str]:
    """A digest of the victim's rows in every table."""
    with served.fleet.transaction("*") as connection:
        connection.execute(text("RESET ROLE"))
    with served.fleet.engine.connect() as connection:
        connection.execute(text("SET ROLE algasync_owner"))
        digests = {}
        for table in connection.execute(_TABLES).scalars().all():
            query = f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t WHERE tenant_id = :tenant"  # noqa: E501 - names from the catalog
            digests[table] = str(connection.execute(text(query), {"tenant": TENANT}).scalar())
        connection.execute(text("RESET ROLE"))
        connection.rollback()
    return digests


MAPPING = {"kind": "item", "key": f"svc-{MARK}"}
QUERIES: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/v1/mappings"): {"realm_id": "{realm}"},
    ("DELETE", "/v1/mappings"): {**MAPPING, "realm_id": "{realm}"},
    ("GET", "/v1/settings"): {"realm_id": "{realm}"},
    ("DELETE", "/v1/settings/{name}"): {},
    ("GET", "/v1/operations"): {"document_kind": "invoice", "document_id": f"inv-{MARK}"},
    ("GET", "/v1/exceptions"): {"state": ["open", "in_progress", "ignored", "resolved"]},
    ("DELETE", "/v1/pause"): {},
}
BODIES: dict[tuple[str, str], Any] = {
    ("PUT", "/v1/quickbooks/credentials"): {
        "client_id": "attacker-id-0001",
        "client_secret": "attacker-secret-1",
    },
    ("POST", "/v1/quickbooks/connect"): {"realm_id": "{realm}"},
    ("PUT", "/v1/mappings"): {**MAPPING, "external_id": "666", "realm_id": "{realm}"},
    ("PUT", "/v1/settings/{name}"): {"value": 5},
    ("POST", "/v1/pause"): {"reason": "mischief"},
    ("POST", "/v1/events"): [{"specversion": "1.0"}],
}


def filled(value: Any, ids: dict[str, str]) -> Any:
    """Put the victim's ids where the examples name them."""
    if isinstance(value, dict):
        return {name: filled(one, ids) for name, one in value.items()}
    return value.format(**ids) if isinstance(value, str) and value.startswith("{") else value


def test_no_endpoint_reaches_another_tenant(served: Served) -> None:
    """Every operation of the OpenAPI document, with a full key of another tenant and the victim's own ids."""
    ids = furnish(served)
    before = snapshot(served)
    attackers = [served.caller(Scope.OPERATOR, tenant=OTHER), served.caller(Scope.EVENTS, tenant=OTHER)]
    tried = 0
    for path, item in requests.get(f"{served.url}/openapi.json", timeout=10).json()["paths"].items():
        for method in map(str.upper, item):
            for attacker in attackers:
                answer = attacker(
                    method,
                    path.format(**ids),
                    params=filled(QUERIES.get((method, path), {}), ids),
                    json=filled(BODIES.get((method, path)), ids),
                )
                tried += 1
                assert answer.status_code < 500, (method, path, answer.text)
                asked = {ids["realm"], f"svc-{MARK}"}  # what the attacker wrote itself may be repeated to it
                said = answer.text
                for known in asked:
                    said = said.replace(known, "")
                assert MARK not in said, (method, path, answer.text)
    assert tried > 50
    assert snapshot(served) == before


def test_an_owner_does_reach_what_is_its_own(served: Served) -> None:
    """The same requests by the victim's own key find everything: the test above does not pass for nothing."""
    ids = furnish(served)
    caller = served.caller(Scope.OPERATOR)
    for path in (
        "/v1/quickbooks/companies",
        f"/v1/quickbooks/companies/{ids['realm']}/health",
        "/v1/mappings",
        "/v1/operations",
        f"/v1/operations/{ids['operation_id']}",
        "/v1/exceptions",
        f"/v1/exceptions/{ids['exception_id']}",
        "/v1/pause",
    ):
        assert MARK in str(caller.get(path)), path
    assert caller.get("/v1/settings")["effective"]["poll_interval"] == 77


def test_nobody_without_a_key_reaches_anything(served: Served) -> None:
    """Every endpoint below /v1 asks for a key."""
    ids = furnish(served)
    for path, item in requests.get(f"{served.url}/openapi.json", timeout=10).json()["paths"].items():
        if path.startswith("/v1"):
            for method in map(str.upper, item):
                assert served.nobody(method, path.format(**ids), json={}).status_code == 401, (method, path)


def test_a_ticket_of_one_tenant_does_not_name_another(served: Served) -> None:
    """Changing the tenant in a ticket makes it worthless."""
    furnish(served)
    url = served.manager("POST", "/v1/quickbooks/connect", json={}).json()["connect_url"]
    address, _, ticket = url.partition("?ticket=")
    other = "orsw4ylooqwwe." + ticket.partition(".")[2]  # tenant-b
    assert requests.get(f"{address}?ticket={ticket}", timeout=10).status_code == 200
    assert requests.get(f"{address}?ticket={other}", timeout=10).status_code == 400

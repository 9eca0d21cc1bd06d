"""Companies of a tenant: one default that never moves by itself, and work that waits and is released."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from services.connections import companies
from services.connections.companies import Company
from services.database import Database
from services.exceptions.attention import ConnectionAttention
from services.ledger import operations, timeline, waits
from services.ledger.operations import Plan
from services.ledger.ports import Condition
from services.refusals import Refusal
from tests.support.intuit import Noted

TENANT = "tenant-a"


def connect(connection: Connection, realm: str, tenant: str = TENANT, noted: Noted | None = None) -> Company:
    """Connect a company without the way to Intuit."""
    return companies.activate(
        connection,
        tenant,
        environment="sandbox",
        realm_id=realm,
        actor="maria",
        attention=noted or Noted(),
    )


def waiting(connection: Connection, company: Company | None, condition: Condition) -> UUID:
    """An operation that waits for a company."""
    plan = Plan("export_invoice", "export", company.company_id if company else None)
    document = f"i-{condition.key}"
    operation_id = operations.insert(connection, TENANT, "invoice", document, plan, revision=1)
    assert operation_id is not None
    assert waits.hold(connection, operation_id, TENANT, [condition]) == 1
    connection.execute(
        text("UPDATE operation SET state = 'waiting' WHERE operation_id = :id"), {"id": operation_id}
    )
    return operation_id


def found(connection: Connection, operation_id: UUID) -> tuple[str, UUID | None]:
    """State and company of an operation."""
    operation = operations.get(connection, operation_id)
    assert operation is not None
    return operation.state, operation.company_id


def test_first_company_is_the_default(fleet: Database) -> None:
    """The first one connected becomes the default, a second one does not."""
    with fleet.transaction(TENANT) as connection:
        assert connect(connection, "1").is_default
        assert not connect(connection, "2").is_default


def test_make_default_moves_it_and_is_audited(fleet: Database) -> None:
    """One default at any time; who made it is in the timeline; doing it twice is nothing new."""
    with fleet.transaction(TENANT) as connection:
        connect(connection, "1")
        second = connect(connection, "2")
        for _ in range(2):
            assert companies.make_default(connection, second.company_id, "erik").is_default
        assert [company.is_default for company in companies.listed(connection, TENANT)] == [False, True]
        entries = timeline.read(connection, TENANT, "company", str(second.company_id))
    assert [(entry.actor, entry.action) for entry in entries] == [
        ("maria", "connected"),
        ("erik", "made_default"),
    ]


def test_default_never_moves_by_itself(fleet: Database) -> None:
    """Disconnecting the default leaves it the default; connecting another company does not take its place."""
    with fleet.transaction(TENANT) as connection:
        first = connect(connection, "1")
        companies.disconnect(connection, first.company_id, "maria", Noted())
        assert not connect(connection, "2").is_default
        assert companies.get(connection, first.company_id).is_default
        third = connect(connection, "3")
        companies.disconnect(connection, third.company_id, "maria", Noted())
        with pytest.raises(Refusal, match="reconnect it first"):
            companies.make_default(connection, third.company_id, "maria")


def test_connecting_releases_what_waited_for_a_company(fleet: Database) -> None:
    """Documents billed before any company was there go to the default one; those that name a realm to that one."""
    with fleet.transaction(TENANT) as connection:
        default = waiting(connection, None, Condition("company", "default"))
        named = waiting(connection, None, Condition("company", "realm:2"))
        first = connect(connection, "1")
        assert found(connection, default) == ("queued", first.company_id)
        assert found(connection, named) == ("waiting", None)
        second = connect(connection, "2")
        assert found(connection, named) == ("queued", second.company_id)


def test_reconnecting_releases_the_work_of_an_expired_company(fleet: Database) -> None:
    """Expired: its work waits, nothing is lost; reconnected: it goes on, and the exception is closed."""
    noted = Noted()
    with fleet.transaction(TENANT) as connection:
        company = connect(connection, "1")
        assert companies.expire(connection, company.company_id, "Intuit said invalid_grant", noted)
        assert not companies.expire(connection, company.company_id, "again", noted)
        operation = waiting(connection, company, Condition("company", str(company.company_id)))
        assert noted.open[company.company_id].why == "Intuit said invalid_grant"
        again = connect(connection, "1", noted=noted)
        assert again.company_id == company.company_id
        assert (again.state, again.attention_reason) == ("active", None)
        assert found(connection, operation) == ("queued", company.company_id)
    assert noted.open == {}


def test_expiry_and_return_are_told_to_billing(fleet: Database) -> None:
    """Both leave as accounting events, in the transaction that changes the company."""
    with fleet.transaction(TENANT) as connection:
        company = connect(connection, "1")
        companies.expire(connection, company.company_id, "gone", Noted())
        connect(connection, "1")
    with fleet.transaction("*") as connection:
        told = connection.execute(text("SELECT type, subject FROM outbox_event ORDER BY event_id")).all()
    subject = str(company.company_id)
    assert [tuple(row) for row in told] == [
        ("connection.attention_needed.v1", subject),
        ("connection.restored.v1", subject),
    ]


def test_exception_list_shows_and_closes_it(fleet: Database) -> None:
    """On the real exception list: one open exception a company with the PSA's title, resolved by the reconnect."""
    desk = ConnectionAttention()
    seen = text("SELECT type, title, state FROM exception")
    with fleet.transaction(TENANT) as connection:
        company = connect(connection, "1")
        companies.expire(connection, company.company_id, "gone", desk)
        assert [tuple(row) for row in connection.execute(seen)] == [
            ("accounting_connection_expired", "Accounting connection needs attention", "open")
        ]
        companies.activate(
            connection, TENANT, environment="sandbox", realm_id="1", actor="maria", attention=desk
        )
        assert connection.execute(seen).one().state == "resolved"


def test_companies_are_invisible_to_other_tenants(api: Database, fleet: Database) -> None:
    """Another tenant sees, changes and expires nothing."""
    with fleet.transaction(TENANT) as connection:
        company = connect(connection, "1")
    with api.transaction("tenant-b") as connection:
        assert companies.listed(connection, TENANT) == []
        assert not companies.expire(connection, company.company_id, "mischief", Noted())
        for act in (companies.get, companies.lock):
            with pytest.raises(Refusal, match="no QuickBooks company"):
                act(connection, company.company_id)
        with pytest.raises(Refusal):
            companies.disconnect(connection, company.company_id, "mallory", Noted())


def test_realm_ids_are_opaque(fleet: Database) -> None:
    """A realm id is text: leading zeros count, and letters are nothing special."""
    with fleet.transaction(TENANT) as connection:
        ids = {connect(connection, realm).company_id for realm in ("1", "01", "a-1")}
        assert len(ids) == 3
        assert companies.by_realm(connection, TENANT, "sandbox", "01").realm_id == "01"
        with pytest.raises(Refusal):
            companies.by_realm(connection, TENANT, "production", "01")

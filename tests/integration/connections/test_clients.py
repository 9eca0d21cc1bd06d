"""Clients of connected companies: reserved and waiting calls, metered reads, facts, and no mixing of environments."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from uuid import uuid4

import pytest
from sqlalchemy import text

from services.connections import companies, facts, limiter, meter
from services.connections.clients import Clients
from services.connections.companies import Company
from services.connections.intuit import Intuit
from services.database import Database
from services.quickbooks import calls
from services.quickbooks.errors import NotSent, Throttled
from services.quickbooks.query import select
from tests.support.intuit import Admin, Noted, trouble
from tests.support.sandbox import Sandbox

TENANT = "tenant-a"


@pytest.fixture
def company(admin: Admin) -> Company:
    """A company connected a moment ago."""
    return admin.connected(TENANT)


@pytest.fixture
def clients(fleet: Database, intuit: Intuit, noted: Noted) -> Clients:
    """The clients of a worker process."""
    return Clients(fleet, intuit, noted)


def _term(name: str) -> dict[str, object]:
    return {"Name": name, "Type": "STANDARD", "DueDays": 7}


def test_a_reserved_call_takes_no_second_slot_and_costs_nothing(
    clients: Clients, company: Company, fleet: Database
) -> None:
    """A write whose slot was taken with its intent goes at once, moves no limiter and counts no read."""
    slot = text("SELECT next_call FROM company_limiter")
    with fleet.transaction("*") as connection:
        assert clients.reserve(connection, company.company_id) < 1
        before = connection.execute(slot).scalar_one()
        reads = meter.spent(connection, company.company_id).total
    call = calls.create("Term", _term("Net 7"), requestid=uuid4().hex)
    assert clients.execute(company.company_id, call).data["Term"]["Name"] == "Net 7"
    with fleet.transaction("*") as connection:
        assert connection.execute(slot).scalar_one() == before
        assert meter.spent(connection, company.company_id).total == reads


def test_a_look_takes_its_slot_and_is_counted(clients: Clients, company: Company, fleet: Database) -> None:
    """A read waits for a slot of its own and appears in the company's month, by operation."""
    with fleet.transaction("*") as connection:
        before = connection.execute(text("SELECT next_call FROM company_limiter")).scalar_one()
    clients.look(company.company_id, calls.query(select("Term")))
    with fleet.transaction("*") as connection:
        assert connection.execute(text("SELECT next_call FROM company_limiter")).scalar_one() > before
        spent = meter.spent(connection, company.company_id)
        assert spent.by_operation == {"read": 2, "query": 1}
        assert meter.spent(connection, company.company_id, date(2020, 2, 29)).total == 0


def test_a_429_pauses_the_company_for_everybody(
    clients: Clients, company: Company, fleet: Database, sandbox: Sandbox
) -> None:
    """Throttled once, the company rests as long as Intuit asks, in every process."""
    trouble(sandbox, "throttle", times=1, retry_after=17)
    with pytest.raises(Throttled):
        clients.execute(company.company_id, calls.create("Term", _term("Net 8"), requestid=uuid4().hex))
    with fleet.transaction("*") as connection:
        assert 15 < clients.reserve(connection, company.company_id) <= 17


def test_clients_of_the_other_environment_refuse(
    fleet: Database, intuit: Intuit, company: Company, noted: Noted
) -> None:
    """A fleet that was switched to production sends nothing to a sandbox company, and does not expire it either."""
    production = replace(
        intuit, configuration=intuit.configuration.model_copy(update={"environment": "production"})
    )
    with pytest.raises(NotSent, match="belongs to Intuit's sandbox"):
        Clients(fleet, production, noted).look(company.company_id, calls.read("Preferences"))
    with fleet.transaction("*") as connection:
        assert companies.get(connection, company.company_id).state == "active"


def test_clients_of_a_tenant_do_not_reach_others(
    api: Database, intuit: Intuit, company: Company, noted: Noted
) -> None:
    """The API's clients are narrowed to one tenant."""
    with pytest.raises(NotSent, match="no QuickBooks company"):
        Clients(api, intuit, noted, "tenant-b").look(company.company_id, calls.read("Preferences"))


def test_expired_marks_the_company(clients: Clients, company: Company, fleet: Database, noted: Noted) -> None:
    """What the ledger reports as gone is expired, with its exception, in the ledger's transaction."""
    with fleet.transaction(TENANT) as connection:
        clients.expired(connection, company.company_id, "QuickBooks said 3100")
        assert companies.get(connection, company.company_id).state == "expired"
    assert noted.open[company.company_id].why == "QuickBooks said 3100"


def test_facts_are_read_daily(clients: Clients, company: Company, fleet: Database) -> None:
    """Preferences and company info are due a day after they were read, cost two reads, and are stored whole."""
    with fleet.transaction("*") as connection:
        assert facts.due(connection) == []
        connection.execute(
            text("UPDATE company SET facts_read_at = facts_read_at - interval '25 hours', name = ''")
        )
        assert facts.due(connection) == [company.company_id]
    assert facts.read(fleet, clients, TENANT, company.company_id).name == "Sandbox Company_US_1"
    with fleet.transaction("*") as connection:
        assert facts.due(connection) == []
        assert meter.spent(connection, company.company_id).total == 4
        preferences = facts.preferences(connection, company.company_id)
        stored = connection.execute(text("SELECT company_info FROM company")).scalar_one()
    assert preferences is not None
    assert preferences.sales_forms_prefs is not None
    assert preferences.sales_forms_prefs.custom_txn_numbers is not None
    assert stored["CompanyName"] == "Sandbox Company_US_1", json.dumps(stored)


def test_reads_never_lose_a_count(clients: Clients, company: Company, fleet: Database) -> None:
    """Counting from several places adds up."""
    counter = meter.Meter(fleet)
    for reads in (1, 2, 0, 3):
        counter.count(str(company.company_id), reads, "changes")
    with fleet.transaction("*") as connection:
        assert meter.spent(connection, company.company_id).by_operation["changes"] == 6


def test_horizon_is_what_the_ledger_waits_for() -> None:
    """The ledger sleeps for a slot exactly as long as slots are taken ahead."""
    assert limiter.HORIZON == 10

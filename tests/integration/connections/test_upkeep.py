"""By the clock: tokens renewed before they end, facts read daily, and one company's trouble is its own."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from services.connections import companies, upkeep
from services.connections.clients import Clients
from services.connections.intuit import Intuit
from services.database import Database
from tests.support.intuit import GB, US, Admin, Noted, counted, trouble
from tests.support.sandbox import Sandbox

TENANT = "tenant-a"


@pytest.fixture
def clients(admin: Admin, fleet: Database, intuit: Intuit, noted: Noted) -> Clients:
    """The clients of a worker process; two companies are connected."""
    admin.connected(TENANT, US)
    admin.connected(TENANT, GB)
    return Clients(fleet, intuit, noted)


def test_tokens_are_renewed_before_they_end(clients: Clients, fleet: Database, sandbox: Sandbox) -> None:
    """Only those within the quarter of an hour, and once."""
    assert upkeep.renew_tokens(fleet, clients) == 0
    with fleet.transaction("*") as connection:
        connection.execute(
            text(
                """UPDATE company_token SET access_expires_at = clock_timestamp() + interval '10 minutes'
                    WHERE company_id = (SELECT company_id FROM company WHERE realm_id = :realm)"""
            ),
            {"realm": GB},
        )
    assert upkeep.renew_tokens(fleet, clients) == 1
    assert upkeep.renew_tokens(fleet, clients) == 0
    assert counted(sandbox) == {"refreshes": 1}


def test_one_lost_authorization_stops_nobody(clients: Clients, fleet: Database, noted: Noted) -> None:
    """A company whose refresh token lapsed is expired; the other one's token is renewed."""
    with fleet.transaction("*") as connection:
        connection.execute(
            text("UPDATE company_token SET access_expires_at = clock_timestamp() + interval '1 minute'")
        )
        connection.execute(
            text(
                """UPDATE company_token SET refresh_expires_at = clock_timestamp()
                    WHERE company_id = (SELECT company_id FROM company WHERE realm_id = :realm)"""
            ),
            {"realm": US},
        )
    assert upkeep.renew_tokens(fleet, clients) == 1
    with fleet.transaction("*") as connection:
        states = {one.realm_id: one.state for one in companies.listed(connection, TENANT)}
    assert states == {US: "expired", GB: "active"}
    assert len(noted.open) == 1


def test_facts_are_read_when_a_day_old(clients: Clients, fleet: Database, sandbox: Sandbox) -> None:
    """Every company once a day; one that does not answer comes round again."""
    assert upkeep.read_facts(fleet, clients) == 0
    with fleet.transaction("*") as connection:
        connection.execute(text("UPDATE company SET facts_read_at = facts_read_at - interval '2 days'"))
    trouble(sandbox, "fault", realm=US, entity="Preferences", times=2)  # the client asks a read twice
    assert upkeep.read_facts(fleet, clients) == 1
    assert upkeep.read_facts(fleet, clients) == 1
    assert upkeep.read_facts(fleet, clients) == 0

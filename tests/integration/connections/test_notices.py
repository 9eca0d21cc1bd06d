"""Notices before an authorization ends: once a token and band, and anew after a reconnect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from services.connections import companies, health, notices
from services.connections.companies import Company
from services.database import Database, Role
from services.ledger import timeline
from tests.support.intuit import US, Admin, Noted

TENANT = "tenant-a"


@pytest.fixture
def company(admin: Admin) -> Company:
    """A company that was connected just now."""
    return admin.connected(TENANT, US)


def ends(fleet: Database, days: float, column: str = "refresh_expires_at") -> None:
    """Let the token end in so many days."""
    move = f"UPDATE company_token SET {column} = clock_timestamp() + make_interval(secs => :seconds)"
    with fleet.transaction("*") as connection:
        connection.execute(text(move), {"seconds": days * 86_400})


def tell(fleet: Database) -> int:
    """What the scheduler does by the clock."""
    with fleet.transaction("*") as connection:
        return notices.tell(connection)


def pass_days(database_url: str, days: float) -> None:
    """Let so many days go by, for tokens and for what was told about them."""
    ago = "make_interval(secs => :seconds)"
    with Database(database_url, Role.OWNER) as owner, owner.transaction(TENANT) as connection:
        for table, columns in (
            ("company_token", ("refresh_expires_at", "hard_expires_at")),
            ("token_notice", ("ends_at", "told_at")),
        ):
            moved = ", ".join(f"{column} = {column} - {ago}" for column in columns)
            connection.execute(text(f"UPDATE {table} SET {moved}"), {"seconds": days * 86_400})


def events(fleet: Database) -> list[dict[str, Any]]:
    """What billing was told about connections, in order."""
    with fleet.transaction("*") as connection:
        found = text("SELECT body FROM outbox_event WHERE type = :type ORDER BY sequence")
        rows = connection.execute(found, {"type": "connection.attention_needed.v1"})
        return [json.loads(row.body)["data"] for row in rows]


def test_a_fresh_token_needs_no_notice(fleet: Database, company: Company) -> None:
    """About a hundred days are left; so are more than fourteen."""
    assert tell(fleet) == 0
    ends(fleet, 14.1)
    assert tell(fleet) == 0


def test_each_band_is_told_once(fleet: Database, database_url: str, company: Company) -> None:
    """At 14, 7 and 2 days, once each, however often one looks; health and timeline show all three."""
    ends(fleet, 15)
    told = []
    for days in (0.5, 1, 3, 4, 1, 4, 1):
        pass_days(database_url, days)
        told.append(tell(fleet) + tell(fleet))
    assert told == [0, 1, 0, 1, 0, 1, 0]
    with fleet.transaction(TENANT) as connection:
        shown = health.of(connection, company.company_id).notices
        entries = timeline.read(connection, TENANT, "company", str(company.company_id))
    assert [notice.days for notice in shown] == [14, 7, 2]
    assert [entry.action for entry in entries].count("token_expiring") == 3
    assert [event["reason"] for event in events(fleet)] == ["token_expiring"] * 3


def test_a_missed_band_is_not_made_up_for(fleet: Database, company: Company) -> None:
    """Who ran nothing for weeks hears of five days once, not of fourteen and seven."""
    ends(fleet, 5)
    assert [tell(fleet), tell(fleet)] == [1, 0]
    with fleet.transaction(TENANT) as connection:
        assert [notice.days for notice in notices.told(connection, company.company_id)] == [7]


def test_the_same_end_told_by_every_refresh_is_one_token(fleet: Database, company: Company) -> None:
    """Intuit gives lifetimes in seconds, so an end that does not move is some seconds off after each refresh."""
    for seconds in (0, -40, 25, 3):
        ends(fleet, 13.5 + seconds / 86_400, "hard_expires_at")
        tell(fleet)
    with fleet.transaction(TENANT) as connection:
        (notice,) = notices.told(connection, company.company_id)
    assert (notice.days, notice.hard) == (14, True)
    (event,) = events(fleet)
    assert "after a fixed time" in event["fix"]


def test_a_reconnect_starts_anew(fleet: Database, admin: Admin, company: Company) -> None:
    """What was told about the old token is not shown for the new one, which has its own notices."""
    ends(fleet, 1)
    assert tell(fleet) == 1
    admin.connects(TENANT, US, company.company_id)
    with fleet.transaction(TENANT) as connection:
        assert health.of(connection, company.company_id).notices == []
    assert tell(fleet) == 0
    ends(fleet, 13)
    assert tell(fleet) == 1


def test_only_who_can_do_something_is_told(fleet: Database, company: Company, noted: Noted) -> None:
    """An expired company has its exception already, a token that has ended is expired by its next use."""
    ends(fleet, -1)
    assert tell(fleet) == 0
    ends(fleet, 1)
    with fleet.transaction(TENANT) as connection:
        companies.expire(connection, company.company_id, "revoked", noted)
    assert tell(fleet) == 0

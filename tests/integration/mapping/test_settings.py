"""Settings: typed, a row each, narrower scopes first, every change audited, none tramples another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, event

from services.database import Database
from services.ledger import timeline
from services.mapping import settings
from services.mapping.settings import TENANT as WHOLE
from services.mapping.settings import Reference, Scope, Settings, of_client, of_company
from services.refusals import Refusal

TENANT = "tenant-a"


def test_defaults_are_careful(connection: Connection, company_id: UUID) -> None:
    """Nothing syncs, creates customers or writes fields until somebody says so."""
    found = settings.resolve(connection, TENANT, company_id=company_id, client_id="c-1")
    assert (found.auto_sync, found.auto_create_customers, found.push_customer_fields) == (False, False, False)
    assert (found.poll_interval, found.limiter_share, found.cutover_date) == (15, 0.8, None)


def test_narrower_scopes_win(connection: Connection, company_id: UUID) -> None:
    """Client before company before tenant before default, in one statement."""
    for scope, value in ((WHOLE, "Europe/Berlin"), (of_company(company_id), "America/Denver")):
        settings.put(connection, TENANT, scope, "accounting_time_zone", value, actor="maria")
    for scope, name in ((of_company(company_id), "A"), (of_client("c-1"), "B")):
        settings.put(connection, TENANT, scope, "default_class", {"id": name}, actor="maria")
    statements: list[str] = []
    event.listen(connection, "before_cursor_execute", lambda *given: statements.append(given[2]))
    both = settings.resolve(connection, TENANT, company_id=company_id, client_id="c-1")
    assert len(statements) == 1
    assert (both.accounting_time_zone, both.default_class) == ("America/Denver", Reference(id="B"))
    company = settings.resolve(connection, TENANT, company_id=company_id)
    assert company.default_class == Reference(id="A")
    tenant = settings.resolve(connection, TENANT)
    assert (tenant.accounting_time_zone, tenant.default_class) == ("Europe/Berlin", None)


def test_values_come_back_typed(connection: Connection, company_id: UUID) -> None:
    """Dates, ids, references and maps survive the way through the database."""
    written: list[tuple[Scope, str, Any, Any]] = [
        (WHOLE, "cutover_date", "2026-04-01", date(2026, 4, 1)),
        (
            of_company(company_id),
            "deposit_account",
            {"id": "35", "name": "Checking"},
            Reference(id="35", name="Checking"),
        ),
        (
            of_company(company_id),
            "deposit_accounts",
            {"card:stripe": {"id": "4"}},
            {"card:stripe": Reference(id="4")},
        ),
        (of_company(company_id), "limiter_share", 1, 1.0),
        (of_company(company_id), "read_budget", 20000, 20000),
        (WHOLE, "notice_recipients", ["books@msp.example"], ["books@msp.example"]),
        (of_client("c-1"), "company", str(company_id), company_id),
    ]
    for scope, name, given, _ in written:
        settings.put(connection, TENANT, scope, name, given, actor="maria")
    found = settings.resolve(connection, TENANT, company_id=company_id, client_id="c-1")
    assert [getattr(found, name) for _, name, _, _ in written] == [expected for _, _, _, expected in written]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auto_sync", "true"),
        ("auto_sync", 1),
        ("auto_sync", None),
        ("cutover_date", "01.04.2026"),
        ("cutover_date", "2026-04-01T00:00:00Z"),
        ("accounting_time_zone", "Mars/Olympus"),
        ("accounting_time_zone", "+02:00"),
        ("poll_interval", 0),
        ("poll_interval", 1441),
        ("poll_interval", 1.5),
        ("tax_mode", "none"),
        ("notice_recipients", ["not an address"]),
        ("notice_recipients", "books@msp.example"),
    ],
)
def test_bad_values_are_refused(name: str, value: Any, connection: Connection) -> None:
    """The setting is named, its meaning explained, and nothing is stored."""
    with pytest.raises(Refusal) as refused:
        settings.put(connection, TENANT, WHOLE, name, value, actor="maria")
    assert refused.value.field.startswith(name)
    assert refused.value.sentence.endswith(".")
    assert settings.listed(connection, TENANT) == []


@pytest.mark.parametrize(
    ("scope", "name", "code"),
    [
        (WHOLE, "no_such_thing", "unknown_setting"),
        (WHOLE, "limiter_share", "wrong_scope"),
        (Scope("client", "c-1"), "auto_sync", "wrong_scope"),
    ],
)
def test_settings_have_their_places(scope: Scope, name: str, code: str, connection: Connection) -> None:
    """An unknown name, or a place where the setting means nothing, is refused on writing and on resetting."""
    for act in (
        lambda: settings.put(connection, TENANT, scope, name, 1, actor="maria"),
        lambda: settings.reset(connection, TENANT, scope, name, actor="maria"),
    ):
        with pytest.raises(Refusal) as refused:
            act()
        assert refused.value.code == code


def test_companies_that_do_not_exist_are_refused(connection: Connection) -> None:
    """Neither as the place of a setting nor as its value."""
    for scope, name, value in (
        (of_company(uuid4()), "poll_interval", 5),
        (of_client("c-1"), "company", str(uuid4())),
    ):
        with pytest.raises(Refusal, match="no QuickBooks company"):
            settings.put(connection, TENANT, scope, name, value, actor="maria")


def test_history_tells_every_value(connection: Connection) -> None:
    """Each change with who, before and after; a reset is one too; resetting nothing is told."""
    settings.put(connection, TENANT, WHOLE, "poll_interval", 30, actor="maria")
    settings.put(connection, TENANT, WHOLE, "poll_interval", 5, actor="erik")
    assert settings.reset(connection, TENANT, WHOLE, "poll_interval", actor="erik")
    assert not settings.reset(connection, TENANT, WHOLE, "poll_interval", actor="erik")
    entries = timeline.read(connection, TENANT, "setting", "tenant/poll_interval")
    assert [(one.actor, one.details["before"], one.details["after"]) for one in entries] == [
        ("maria", None, 30),
        ("erik", 30, 5),
        ("erik", 5, None),
    ]


def test_writers_do_not_trample_each_other(fleet: Database) -> None:
    """Different settings written at the same moment are all there afterwards."""
    writes = {"poll_interval": 7, "auto_sync": True, "cutover_date": "2026-01-01", "refunds": "expense"}

    def write(name: str) -> None:
        with fleet.transaction("tenant-race") as connection:
            settings.put(connection, "tenant-race", WHOLE, name, writes[name], actor="race")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, writes))
    with fleet.transaction("tenant-race") as connection:
        rows = {row.name: row.value for row in settings.listed(connection, "tenant-race")}
    assert rows == writes


def test_every_setting_explains_itself() -> None:
    """A description and at least one place for each."""
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert settings.levels(field), name
    assert Settings.model_fields.keys() >= settings.OPERATOR_ONLY

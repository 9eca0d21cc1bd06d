"""An authorization ends and comes back, with the real parts only: work waits, a person is told, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import text

import outbox
from services.connections import companies, health
from services.connections.clients import Clients
from services.connections.companies import Company
from services.connections.intuit import Intuit
from services.database import Database
from services.exceptions import exceptions
from services.exceptions.attention import ConnectionAttention
from services.exceptions.desk import ExceptionDesk
from services.exceptions.exceptions import SyncException
from services.ledger import dispatch, operations
from services.ledger.intake import Intake
from services.ledger.operations import Operation
from services.ledger.runner import Runner
from services.mapping import mappings, settings
from services.outbound.effects import Effects
from services.outbound.handlers import HANDLERS
from tests.support.exporting import invoice
from tests.support.intuit import US, Admin
from tests.support.sandbox import Sandbox

TENANT = "tenant-a"


@dataclass
class Msp:
    """A tenant whose company is connected through the browser, with the fleet's real parts."""

    fleet: Database
    sandbox: Sandbox
    admin: Admin
    clients: Clients
    company: Company

    def bills(self, document_id: str) -> None:
        """Billing finalizes an invoice, and the ledger takes it over."""
        with self.fleet.transaction(TENANT) as connection:
            emitted = outbox.emit(
                connection, TENANT, "invoice.finalized.v1", document_id, invoice(document_id)
            )
            query = text("SELECT body FROM outbox_event WHERE event_id = :id")
            body: str = connection.execute(query, {"id": emitted.event_id}).scalar_one()
        Intake(self.fleet, Effects(), ExceptionDesk()).take_over(body.encode())

    def works(self) -> None:
        """Workers do what is due."""
        runner = Runner(
            self.fleet,
            HANDLERS,
            self.clients,
            ExceptionDesk(),
            lease=timedelta(seconds=60),
            call_within=timedelta(seconds=30),
            replay_within=timedelta(hours=12),
        )
        with self.fleet.transaction("*") as connection:
            due = dispatch.due(connection, in_flight=8, limit=100)
        for command in due:
            runner.run(command.operation_id, command.attempt)

    def operation(self, document_id: str) -> Operation:
        """The export of an invoice."""
        with self.fleet.transaction(TENANT) as connection:
            (found,) = operations.page(connection, document=("invoice", document_id), limit=10).operations
        return found

    def tokens(self, action: str) -> None:
        """Somebody at Intuit: revoke, expire_access, expire_refresh."""
        address = f"{self.sandbox.control}/companies/{US}/tokens"
        requests.post(address, json={"action": action}, timeout=10).raise_for_status()

    def numbers(self) -> list[str]:
        """Numbers of the invoices in QuickBooks."""
        found = requests.get(f"{self.sandbox.control}/companies/{US}/objects/Invoice", timeout=10).json()
        return [one["DocNumber"] for one in found]

    def open(self) -> list[SyncException]:
        """What needs a person."""
        with self.fleet.transaction(TENANT) as connection:
            return exceptions.page(connection, exceptions.Filters()).exceptions

    def told(self) -> list[str]:
        """Events to billing about the connection."""
        query = "SELECT type FROM outbox_event WHERE type LIKE 'connection.%' ORDER BY id"
        with self.fleet.transaction(TENANT) as connection:
            return list(connection.execute(text(query)).scalars())

    def card(self) -> health.Health:
        """The Sync Health card."""
        with self.fleet.transaction(TENANT) as connection:
            return health.of(connection, self.company.company_id)


@pytest.fixture
def msp(api: Database, fleet: Database, intuit: Intuit, sandbox: Sandbox) -> Iterator[Msp]:
    """Connected, mapped, automatic sync on."""
    admin = Admin(api, intuit, ConnectionAttention())
    company = admin.connected(TENANT, US)
    with fleet.transaction(TENANT) as connection:
        for kind, key, external_id in (("customer", "cl-1", "2"), ("item", "svc", "3")):
            mappings.put(
                connection,
                TENANT,
                company.company_id,
                (kind, key, ""),
                external_id=external_id,
                external_name=key,
                actor="admin",
                on_mapping_set=lambda *_: None,
            )
        settings.put(connection, TENANT, settings.TENANT, "auto_sync", True, actor="admin")
    with closing(Clients(fleet, intuit, ConnectionAttention())) as clients:
        yield Msp(fleet, sandbox, admin, clients, company)


def expires(msp: Msp) -> None:
    """The refresh token lapses unseen, and the access token too."""
    msp.tokens("expire_refresh")
    msp.tokens("expire_access")


@pytest.mark.parametrize("ended", [lambda msp: msp.tokens("revoke"), expires], ids=["revoked", "expired"])
def test_work_waits_for_a_reconnect_and_goes_on(msp: Msp, ended: Callable[[Msp], Any]) -> None:
    """The admin is told once, with the PSA's title; invoices wait, no attempt is spent, and they arrive once."""
    ended(msp)
    for document_id in ("inv-1", "inv-2"):
        msp.bills(document_id)
        msp.works()
    for document_id in ("inv-1", "inv-2"):
        found = msp.operation(document_id)
        assert (found.state, found.reason_code, found.attempt) == ("waiting", "company", 1)
    assert msp.numbers() == []
    (attention,) = msp.open()
    assert (attention.type, attention.title) == (
        "accounting_connection_expired",
        "Accounting connection needs attention",
    )
    assert "Reconnect QuickBooks" in attention.fix
    card = msp.card()
    assert (card.company.state, card.operations["waiting"], card.exceptions_open) == ("expired", 2, 1)
    assert msp.told() == ["connection.attention_needed.v1"]
    assert msp.admin.connects(TENANT, US, msp.company.company_id).code == "success"
    msp.works()
    assert sorted(msp.numbers()) == ["INV-1", "INV-2"]
    assert [msp.operation(one).state for one in ("inv-1", "inv-2")] == ["succeeded"] * 2
    assert (msp.open(), msp.card().company.state) == ([], "active")
    assert msp.told() == ["connection.attention_needed.v1", "connection.restored.v1"]


def test_an_expired_access_token_is_nobodys_business(msp: Msp) -> None:
    """It is renewed on the way; the invoice arrives in the same attempt, and nobody is told."""
    msp.tokens("expire_access")
    msp.bills("inv-1")
    msp.works()
    assert msp.numbers() == ["INV-1"]
    assert (msp.open(), msp.told()) == ([], [])


def test_disconnected_by_the_admin(msp: Msp) -> None:
    """Work waits all the same, no exception is opened for what was wanted; the reconnect releases it."""
    with msp.fleet.transaction(TENANT) as connection:
        companies.disconnect(connection, msp.company.company_id, "admin", ConnectionAttention())
    msp.bills("inv-1")
    msp.works()
    assert (msp.operation("inv-1").state, msp.open()) == ("waiting", [])
    assert msp.admin.connects(TENANT, US, msp.company.company_id).code == "success"
    msp.works()
    assert msp.numbers() == ["INV-1"]

"""A tenant with a connected sandbox company and mapped services: everything from event to QuickBooks but the broker.

Limits are off, so that tests of order and crashes are quick; the limiter has tests of its own.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest
import requests
from sqlalchemy import Connection, Row, text

import outbox
from services.database import Database, Role
from services.exceptions import replays
from services.exceptions.desk import ExceptionDesk
from services.ledger import dispatch, links, operations, sweep, timeline, waits
from services.ledger.intake import Intake
from services.ledger.links import Link
from services.ledger.operations import Operation, page
from services.ledger.runner import Runner, Verdict
from services.outbound import decisions
from services.outbound.effects import Effects
from services.outbound.handlers import HANDLERS
from services.quickbooks.call import Call
from services.quickbooks.client import Client
from services.quickbooks.environments import Environment
from services.quickbooks.ports import Kind
from services.quickbooks.reply import Reply
from services.quickbooks.transport import Timeouts
from tests.support.ledger import company, setting
from tests.support.sandbox import Sandbox

TENANT = "t-export"
REALM = "9341450000000001"
APP = {
    "client_id": "fake-client-id",
    "client_secret": "fake-client-secret",
    "redirect_uris": ["http://localhost/callback"],
}

ACTOR = {"type": "system"}
LINE: dict[str, Any] = {
    "id": "l1",
    "service_id": "svc",
    "description": "Managed workstation",
    "quantity": "3",
    "unit_price": "45.00",
    "net_amount": 13500,
    "tax_amount": 0,
    "is_taxable": False,
    "is_discount": False,
}

_SUBJECTS = {
    "credit.applied": "application_id",
    "credit.unapplied": "application_id",
    "credit.expired": "source_id",
    "payment.refunded": "refund_id",
}
"""Which field of an event names its document, where it is not `id`."""


def invoice(document_id: str, *, number: str = "", net: int = 13500, **changes: Any) -> dict[str, Any]:
    """Data of an invoice.finalized event of one line over `net` cents."""
    return {
        "id": document_id,
        "number": number or document_id.upper()[:21],
        "type": "standard",
        "invoice_date": "2026-10-31",
        "due_date": "2026-11-30",
        "finalized_at": "2026-11-01T08:00:00+00:00",
        "currency": "USD",
        "tax_source": "internal",
        "subtotal": net,
        "discount": 0,
        "tax": 0,
        "total": net,
        "client": {"id": "cl-1", "name": "Cool Cars", "tax_exempt": True},
        "lines": [copy.deepcopy(LINE) | {"net_amount": net, "unit_price": str(net // 300 / 1)}],
        "actor": ACTOR,
        **changes,
    }


def credit_note(document_id: str, *, net: int = -8000, **changes: Any) -> dict[str, Any]:
    """Data of a credit_note.finalized event of one line over `net` (negative) cents."""
    data = invoice(document_id, net=net, type="credit_note", reason="service was down", **changes)
    return {name: value for name, value in data.items() if name != "due_date"}


def voided(document_id: str, **changes: Any) -> dict[str, Any]:
    """Data of an invoice.voided or credit_note.voided event."""
    return {"id": document_id, "date": "2026-10-31", "reason": "wrong client", "actor": ACTOR, **changes}


def payment(
    payment_id: str, *shares: tuple[str, int], amount: int | None = None, **changes: Any
) -> dict[str, Any]:
    """Data of a payment.recorded event over the (invoice id, cents) it settles, or over `amount` cents."""
    return {
        "id": payment_id,
        "client": {"id": "cl-1", "name": "Cool Cars", "tax_exempt": True},
        "date": "2026-11-03",
        "received_at": "2026-11-03T09:00:00-08:00",
        "amount": sum(cents for _, cents in shares) if amount is None else amount,
        "currency": "USD",
        "method": "check",
        "reference": "4711",
        "allocations": [{"invoice_id": invoice_id, "amount": cents} for invoice_id, cents in shares],
        "status": "settled",
        **changes,
    }


def applied(
    application_id: str, source_id: str, invoice_id: str, amount: int, **changes: Any
) -> dict[str, Any]:
    """Data of a credit.applied or credit.unapplied event."""
    return {
        "application_id": application_id,
        "source_kind": "credit_note",
        "source_id": source_id,
        "invoice_id": invoice_id,
        "amount": amount,
        "currency": "USD",
        "date": "2026-11-04",
        **changes,
    }


def shares(raw: dict[str, Any]) -> dict[str, float]:
    """What a Payment of the sandbox puts on each transaction, by type and id."""
    return {
        f"{line['LinkedTxn'][0]['TxnType']}:{line['LinkedTxn'][0]['TxnId']}": line["Amount"]
        for line in raw["Line"]
    }


@dataclass
class Straight:
    """`Clients` without limiter and meter: the wire, and a token that was minted."""

    sandbox: Sandbox
    token: str
    realm: str = REALM
    timeouts: Timeouts = field(default_factory=lambda: Timeouts(connect=2, read=2, total=3))
    pauses: list[float] = field(default_factory=list)
    disconnected: list[UUID] = field(default_factory=list)

    def __post_init__(self) -> None:
        environment = Environment(
            name="sandbox",
            api=self.sandbox.api,
            authorize=self.sandbox.api,
            token=self.sandbox.api,
            revoke=self.sandbox.api,
        )
        self._client = Client(
            company="c",
            realm=self.realm,
            environment=environment,
            tokens=self,
            limiter=self,
            meter=self,
            timeouts=self.timeouts,
        )

    def access_token(self, company: str) -> str:
        """The minted token."""
        return self.token

    def refresh(self, company: str, rejected: str) -> str:
        """A token that is refused stays refused."""
        from services.quickbooks.errors import AuthFailed

        raise AuthFailed("the authorization was revoked")

    def acquire(self, company: str, kind: str) -> None:
        """No limits here."""

    def count(self, company: str, reads: int, operation: str) -> None:
        """The sandbox counts."""

    def reserve(self, connection: Connection, company_id: UUID, kind: Kind = "call") -> float:
        """A slot is always free."""
        return 0.0

    def execute(self, company_id: UUID, call: Call) -> Reply:
        """Make the call."""
        return self._client.execute(call)

    def look(self, company_id: UUID, call: Call) -> Reply:
        """Make the read."""
        return self._client.execute(call)

    def pause(self, company_id: object, seconds: float, reason: str) -> None:
        """Remember that a rest was asked for."""
        self.pauses.append(seconds)

    def expired(self, connection: Connection, company_id: UUID, reason: str) -> None:
        """The company needs a reconnect."""
        self.disconnected.append(company_id)
        connection.execute(
            text(
                """UPDATE company SET state = 'expired', attention_reason = 'revoked', attention_since = now()
                    WHERE company_id = :id"""
            ),
            {"id": company_id},
        )


def wire_of(clients: Straight) -> type:
    """What stands for `services.connections.clients.Clients` in a command that is to use these."""

    class Wire:
        """A minted token, no limits, whatever it is made of."""

        def __init__(self, *_: object) -> None:
            self.look = clients.look

        def close(self) -> None:
            """Nothing is pooled."""

    return Wire


@dataclass
class Workbench:
    """Emit, take over and run, with the sandbox's books at hand."""

    fleet: Database
    sandbox: Sandbox
    clients: Straight
    company_id: UUID
    tenant: str = TENANT

    @property
    def realm(self) -> str:
        """The company's realm id."""
        return self.clients.realm

    def __post_init__(self) -> None:
        self.desk = ExceptionDesk()
        self.intake = Intake(self.fleet, Effects(), self.desk)
        self.runner = self.new_runner()

    def new_runner(self, *, lease: float = 20, replay_within: timedelta = timedelta(hours=12)) -> Runner:
        """A worker's runner."""
        return Runner(
            self.fleet,
            HANDLERS,
            self.clients,
            self.desk,
            lease=timedelta(seconds=lease),
            call_within=timedelta(seconds=self.clients.timeouts.total),
            replay_within=replay_within,
        )

    def emit(self, type_: str, subject: str, data: dict[str, Any]) -> bytes:
        """Emit in a transaction of billing; returns the message the relay would publish."""
        with self.fleet.transaction(self.tenant) as connection:
            emitted = outbox.emit(connection, self.tenant, type_, subject, data)
            body: str = connection.execute(
                text("SELECT body FROM outbox_event WHERE event_id = :id"), {"id": emitted.event_id}
            ).scalar_one()
        return body.encode()

    def bill(self, document_id: str, **changes: Any) -> bytes:
        """Emit and take over an invoice."""
        body = self.emit("invoice.finalized.v1", document_id, invoice(document_id, **changes))
        self.intake.take_over(body)
        return body

    def say(self, type_: str, data: dict[str, Any], *, settle: bool = True) -> bytes:
        """Emit and take over any event, without its version; and work until nothing is due."""
        body = self.emit(f"{type_}.v1", str(data[_SUBJECTS.get(type_, "id")]), data)
        self.intake.take_over(body)
        if settle:
            self.settle()
        return body

    def operations(self, document_id: str | None = None, kind: str = "invoice") -> list[Operation]:
        """Operations, oldest first."""
        with self.fleet.transaction(self.tenant) as connection:
            document = (kind, document_id) if document_id else None
            return list(reversed(page(connection, document=document, limit=1000).operations))

    def operation(self, operation_id: UUID) -> Operation:
        """One operation as it stands."""
        with self.fleet.transaction(self.tenant) as connection:
            found = operations.get(connection, operation_id)
        assert found is not None
        return found

    def last(self, kind: str, document_id: str) -> Operation:
        """The newest operation of a document."""
        return self.operations(document_id, kind)[-1]

    def outcome(self, kind: str, document_id: str) -> tuple[str, str | None]:
        """State and reason of the newest operation of a document."""
        last = self.last(kind, document_id)
        return last.state, last.reason_code

    def link(self, kind: str, document_id: str) -> Link | None:
        """Where a document is in QuickBooks."""
        with self.fleet.transaction(self.tenant) as connection:
            return links.of_document(connection, self.company_id, kind, document_id)

    def exceptions(self, state: str = "open") -> list[Row[Any]]:
        """Exceptions of the tenant in a state, oldest first."""
        with self.fleet.transaction(self.tenant) as connection:
            query = text("SELECT * FROM exception WHERE state = :s ORDER BY created_at, exception_id")
            return list(connection.execute(query, {"s": state}))

    def codes(self) -> list[str]:
        """Codes of the open exceptions, oldest first."""
        return [row.code for row in self.exceptions()]

    def replay(self, operation: Operation, *, settle: bool = True) -> None:
        """Retry a failed operation as an operator does."""
        with self.fleet.transaction(self.tenant) as connection:
            replays.again(connection, operation.operation_id, "operator", "mended")
        if settle:
            self.settle()

    def decide(self, operation: Operation, choice: str, **facts: Any) -> None:
        """Choose one of what the exception offers, and work on."""
        with self.fleet.transaction(self.tenant) as connection:
            decisions.decide(
                connection, operation.operation_id, choice, actor="controller", reason="agreed", **facts
            )
        self.settle()

    def offered(self, kind: str, document_id: str) -> decisions.Offer:
        """What can be decided about the newest operation of a document."""
        with self.fleet.transaction(self.tenant) as connection:
            return decisions.offered(connection, self.last(kind, document_id).operation_id)

    def told(self, type_: str) -> list[dict[str, Any]]:
        """Data of the accounting events of a type, in order."""
        with self.fleet.transaction(self.tenant) as connection:
            query = text(
                "SELECT body FROM outbox_event WHERE exchange = 'accounting' AND type = :type ORDER BY id"
            )
            return [
                json.loads(body)["data"]
                for body in connection.execute(query, {"type": f"{type_}.v1"}).scalars()
            ]

    def timeline(self, kind: str, document_id: str) -> list[str]:
        """What happened to a document, in a word each; the chain must be intact."""
        with self.fleet.transaction(self.tenant) as connection:
            entries = timeline.read(connection, self.tenant, kind, document_id)
        assert all(entry.intact for entry in entries)
        return [entry.action for entry in entries]

    def run(self, operation: Operation, runner: Runner | None = None) -> Verdict:
        """Run the present attempt of an operation."""
        return (runner or self.runner).run(operation.operation_id, operation.attempt)

    def make_due(self) -> None:
        """Let the time of every backoff pass."""
        with self.fleet.transaction(self.tenant) as connection:
            connection.execute(
                text("UPDATE operation SET due_at = clock_timestamp() WHERE state IN ('queued', 'scheduled')")
            )

    def expire_leases(self) -> None:
        """Let the time of every lease pass, and the sweep come by."""
        with self.fleet.transaction(self.tenant) as connection:
            connection.execute(
                text(
                    "UPDATE operation SET lease_until = clock_timestamp() - interval '1 second' "
                    "WHERE state = 'running'"
                )
            )
            sweep.sweep(connection)

    def settle(self, rounds: int = 30) -> None:
        """Dispatch and run until nothing is due."""
        for _ in range(rounds):
            self.make_due()
            with self.fleet.transaction("*") as connection:
                commands = dispatch.due(connection, in_flight=50, limit=500)
            if not commands:
                return
            for command in commands:
                self.runner.run(command.operation_id, command.attempt)

    def objects(self, entity: str = "Invoice") -> list[dict[str, Any]]:
        """What the sandbox company has, raw."""
        answer = requests.get(f"{self.sandbox.control}/companies/{self.realm}/objects/{entity}", timeout=5)
        answer.raise_for_status()
        found = answer.json()
        return cast(list[dict[str, Any]], found if isinstance(found, list) else found["objects"])

    def object(self, entity: str, id_: str) -> dict[str, Any]:
        """One object of the sandbox company, raw."""
        return next(one for one in self.objects(entity) if one["Id"] == id_)

    def bookkeeper(self, action: str, **facts: Any) -> dict[str, Any]:
        """Something that a person does in QuickBooks."""
        address = f"{self.sandbox.control}/companies/{self.realm}/bookkeeper/{action}"
        answer = requests.post(address, json=facts, timeout=5)
        answer.raise_for_status()
        return cast(dict[str, Any], answer.json())

    def switch(self, **switches: Any) -> None:
        """Turn switches of the sandbox company."""
        answer = requests.patch(f"{self.sandbox.control}/switches", json=switches, timeout=5)
        answer.raise_for_status()

    def switch_company(self, **switches: Any) -> None:
        """Turn switches of this sandbox company alone."""
        address = f"{self.sandbox.control}/companies/{self.realm}/switches"
        requests.patch(address, json=switches, timeout=5).raise_for_status()

    def prefer(self, group: str, **preferences: Any) -> None:
        """Set preferences of the company, in QuickBooks and as we last read them."""
        address = f"{self.sandbox.control}/companies/{self.realm}/preferences"
        requests.patch(address, json={group: preferences}, timeout=5).raise_for_status()
        self.know(group, **preferences)

    def know(self, group: str, **preferences: Any) -> None:
        """Set preferences of the company as we last read them, only."""
        with self.fleet.transaction(self.tenant) as connection:
            connection.execute(
                text(
                    """UPDATE company SET preferences = jsonb_set(preferences, ARRAY[CAST(:group AS text)],
                              coalesce(preferences -> :group, '{}') || CAST(:given AS jsonb))
                        WHERE company_id = :id"""
                ),
                {"group": group, "given": json.dumps(preferences), "id": self.company_id},
            )

    def set(self, name: str, value: Any, scope: str = "") -> None:
        """Change a setting, of the company unless another scope is named."""
        with self.fleet.transaction(self.tenant) as connection:
            setting(connection, self.tenant, name, value, scope or f"company:{self.company_id}")

    @property
    def reads(self) -> int:
        """Metered reads so far."""
        return self.sandbox.reads(self.realm)

    def trouble(self, kind: str, **conditions: Any) -> None:
        """Switch a fault on."""
        answer = requests.post(
            f"{self.sandbox.control}/troubles", json={"kind": kind, **conditions}, timeout=5
        )
        answer.raise_for_status()

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock."""
        requests.post(
            f"{self.sandbox.control}/clock", json={"seconds": seconds}, timeout=5
        ).raise_for_status()

    def reconnect(self) -> None:
        """The company is approved again, and what waited for it goes on."""
        with self.fleet.transaction(self.tenant) as connection:
            connection.execute(
                text(
                    """UPDATE company SET state = 'active', attention_reason = NULL, attention_since = NULL
                        WHERE company_id = :id"""
                ),
                {"id": self.company_id},
            )
            waits.release(connection, self.tenant, "company", str(self.company_id))

    def no_more_troubles(self) -> None:
        """Switch all faults off."""
        requests.delete(f"{self.sandbox.control}/troubles", timeout=5).raise_for_status()

    def counters(self) -> dict[str, Any]:
        """What the sandbox counted."""
        return cast(dict[str, Any], requests.get(f"{self.sandbox.control}/counters", timeout=5).json())

    def map(self, kind: str, key: str, external_id: str, variant: str = "") -> None:
        """Set a mapping."""
        with self.fleet.transaction(self.tenant) as connection:
            connection.execute(
                text(
                    """INSERT INTO mapping (tenant_id, company_id, kind, key, variant, external_id, external_name,
                                            updated_by)
                       VALUES (:t, :c, :kind, :key, :variant, :external, 'x', 'test')
                       ON CONFLICT (company_id, kind, key, variant)
                       DO UPDATE SET external_id = excluded.external_id"""
                ),
                {
                    "t": self.tenant,
                    "c": self.company_id,
                    "kind": kind,
                    "key": key,
                    "variant": variant,
                    "external": external_id,
                },
            )


def new_workbench(
    fleet: Database, sandbox: Sandbox, *, tenant: str = TENANT, realm: str = REALM
) -> Workbench:
    """A tenant, its sandbox company, and the mappings for `invoice()`."""
    requests.post(f"{sandbox.control}/apps", json=APP, timeout=5).raise_for_status()
    minted = requests.post(
        f"{sandbox.control}/tokens", json={"client_id": APP["client_id"], "realm": realm}, timeout=5
    )
    minted.raise_for_status()
    switches = requests.patch(f"{sandbox.control}/switches", json={"limits": False}, timeout=5)
    switches.raise_for_status()
    with fleet.transaction(tenant) as connection:
        company_id = company(connection, tenant, realm=realm)
        setting(connection, tenant, "auto_sync", True)
    clients = Straight(sandbox, minted.json()["access_token"], realm)
    bench = Workbench(fleet, sandbox, clients, company_id, tenant)
    bench.map("customer", "cl-1", "2")
    bench.map("item", "svc", "3")
    return bench


@pytest.fixture
def workbench(database_url: str, sandbox: Sandbox) -> Iterator[Workbench]:
    """A tenant, a sandbox company, and the mappings for `invoice()`."""
    with Database(database_url, Role.FLEET, pool_size=20) as fleet:
        yield new_workbench(fleet, sandbox)

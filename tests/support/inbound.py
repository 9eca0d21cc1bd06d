"""The workbench of exports with the way back: polls, and everything they open, against the sandbox company."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Row, text

from services.connections import companies
from services.inbound import again, cycles, filing, schedule
from services.inbound.cycles import Cycle
from services.inbound.handlers import HANDLERS as INBOUND
from services.ledger import dispatch, links
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.ledger.ports import Handler
from services.ledger.runner import Runner
from services.outbound.handlers import HANDLERS as OUTBOUND
from services.psa import balances, payments
from tests.support.exporting import Workbench


def payment(payment_id: str, amount: int, invoices: dict[str, int], **changes: Any) -> dict[str, Any]:
    """Data of a payment.recorded event."""
    return {
        "id": payment_id,
        "client": {"id": "cl-1", "name": "Cool Cars", "tax_exempt": True},
        "date": "2026-11-02",
        "received_at": "2026-11-02T08:00:00+00:00",
        "amount": amount,
        "currency": "USD",
        "method": "check",
        "allocations": [{"invoice_id": id_, "amount": part} for id_, part in invoices.items()],
        "status": "settled",
        **changes,
    }


@dataclass
class InboundBench(Workbench):
    """Poll, judge and look at what billing was told."""

    def new_runner(
        self,
        *,
        lease: float = 20,
        replay_within: timedelta = timedelta(hours=12),
        poll: Handler | None = None,
    ) -> Runner:
        """A worker's runner that knows both directions; `poll` takes the place of the ordinary one."""
        handlers = {**OUTBOUND, **INBOUND} | ({"poll": poll} if poll is not None else {})
        return Runner(
            self.fleet,
            handlers,
            self.clients,
            self.desk,
            lease=timedelta(seconds=lease),
            call_within=timedelta(seconds=self.clients.timeouts.total),
            replay_within=replay_within,
        )

    def begin(self) -> None:
        """The first cycle: from here on changes are ours to follow."""
        self.poll()

    def wake(self, cause: schedule.Cause = "request") -> None:
        """Ask for a cycle."""
        with self.fleet.transaction(self.tenant) as connection:
            schedule.wake(connection, self.company_id, cause)

    def open_due(self) -> int:
        """The scheduler comes by."""
        with self.fleet.transaction(self.tenant) as connection:
            return schedule.open_due(connection)

    def poll(self) -> Cycle:
        """One cycle and all that it opens; returns its certificate."""
        self.wake()
        self.open_due()
        self.settle()
        return self.cycle()

    def settle(self, rounds: int = 30) -> None:
        """Dispatch and run until nothing is due and nothing is marked to be judged again."""
        for _ in range(rounds):
            super().settle(rounds)
            with self.fleet.transaction(self.tenant) as connection:
                if not again.open_marked(connection):
                    return

    def invoice(self, document_id: str, amount: int = 10000, **changes: Any) -> str:
        """An invoice of billing, exported; returns its id in QuickBooks."""
        self.bill(document_id, net=amount, **changes)
        self.settle()
        link = self.link("invoice", document_id)
        assert link is not None
        return link.external_id

    def receive(self, amount: str, invoices: dict[str, str], **facts: Any) -> str:
        """A bookkeeper receives money of customer 2, unless another is named; returns the payment's id."""
        body = {"customer": "2", "amount": amount, "invoices": invoices, "date": "2026-11-02", **facts}
        return str(self.bookkeeper("receive-payment", **body)["Id"])

    def native(self, amount: float, customer: str = "2", **fields: Any) -> str:
        """An invoice that a bookkeeper made; returns its id."""
        detail = {"ItemRef": {"value": "3"}, "TaxCodeRef": {"value": "NON"}}
        body = {
            "CustomerRef": {"value": customer},
            "TxnDate": "2026-11-01",
            "Line": [{"DetailType": "SalesItemLineDetail", "Amount": amount, "SalesItemLineDetail": detail}],
            **fields,
        }
        return str(self.bookkeeper("create", entity="Invoice", body=body)["Id"])

    def known_before(self, document_id: str, external_id: str, amount: int, kind: str = "invoice") -> None:
        """An invoice of billing from before the cutover, and its link as the wizard makes it."""
        self.set("cutover_date", "2026-11-01", "tenant")
        self.bill(document_id, net=amount)
        super().settle()
        raw = self.object("Invoice", external_id)
        with self.fleet.transaction(self.tenant) as connection:
            links.put(
                connection,
                Link(
                    tenant_id=self.tenant,
                    company_id=self.company_id,
                    kind=kind,
                    document_id=document_id,
                    external_type="Invoice",
                    external_id=external_id,
                    sync_token=raw["SyncToken"],
                    number=raw.get("DocNumber"),
                    total=Decimal(str(raw["TotalAmt"])),
                    currency="USD",
                    state="synced",
                    snapshot=raw,
                    linked_via="onboarding",
                ),
            )

    def edit_payment(self, payment: str, lines: dict[str, float] | None = None, **changes: Any) -> None:
        """A bookkeeper edits a payment; `lines` are the invoices it pays from then on."""
        raw = self.object("Payment", payment)
        whole = {"CustomerRef": raw["CustomerRef"], "TotalAmt": raw["TotalAmt"], **changes}
        if lines is not None:
            whole["Line"] = [
                {"Amount": amount, "LinkedTxn": [{"TxnId": id_, "TxnType": "Invoice"}]}
                for id_, amount in lines.items()
            ]
        self.bookkeeper("edit", entity="Payment", id=payment, changes=whole)

    def pay(self, payment_id: str, amount: int, invoices: dict[str, int], **changes: Any) -> None:
        """Billing records a payment, and it goes to QuickBooks."""
        self.say("payment.recorded", payment(payment_id, amount, invoices, **changes))

    def external(self, kind: str, document_id: str) -> str:
        """Where a document is in QuickBooks."""
        link = self.link(kind, document_id)
        assert link is not None
        return link.external_id

    def belief(self, external_id: str) -> tuple[str, str | None] | None:
        """What billing believes of a payment in QuickBooks: state and reason."""
        with self.fleet.transaction(self.tenant) as connection:
            found = payments.get(connection, self.company_id, external_id)
        return (found.state, found.code) if found is not None else None

    def last_of(self, entity: str, external_id: str) -> Operation:
        """The newest operation about an object in QuickBooks."""
        subject = filing.JUDGING[entity].subject
        return self.last(subject, filing.subject_id(self.company, external_id))

    def due(self, *invoices: str) -> list[int | None]:
        """What billing has open on invoices."""
        with self.fleet.transaction(self.tenant) as connection:
            found = balances.of(connection, self.tenant, invoices)
        return [found[one].due for one in invoices]

    def cycle(self) -> Cycle:
        """The last certificate."""
        with self.fleet.transaction(self.tenant) as connection:
            return cycles.page(connection, self.company_id, limit=1)[0]

    def drain(self, rounds: int = 60) -> None:
        """Run what is due without letting the time of backoffs pass."""
        for _ in range(rounds):
            with self.fleet.transaction(self.tenant) as connection:
                commands = dispatch.due(connection, in_flight=500, limit=5000)
            if not commands:
                return
            for command in commands:
                self.runner.run(command.operation_id, command.attempt)

    def rows(self, query: str, **values: Any) -> list[Row[Any]]:
        """Rows of the tenant."""
        with self.fleet.transaction(self.tenant) as connection:
            return list(connection.execute(text(query), values))

    def one(self, query: str, **values: Any) -> Any:
        """The only value of the only row."""
        (row,) = self.rows(query, **values)
        return row[0]

    @property
    def company(self) -> companies.Company:
        """The connected company."""
        with self.fleet.transaction(self.tenant) as connection:
            return companies.get(connection, self.company_id)


def new_bench(workbench: Workbench) -> InboundBench:
    """The workbench with the way back; its feed has begun."""
    bench = InboundBench(
        workbench.fleet, workbench.sandbox, workbench.clients, workbench.company_id, workbench.tenant
    )
    bench.begin()
    return bench


@pytest.fixture
def bench(workbench: Workbench) -> InboundBench:
    """A tenant with a connected company whose feed has begun."""
    return new_bench(workbench)

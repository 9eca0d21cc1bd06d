"""A bookkeeper, a billing system that believes what it is told, and crashes between any two writes of ours.

Nothing here is a hook of the product: database sessions are killed by triggers that only a test puts into its own
database, HTTP calls are cut by the sandbox.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import requests
from sqlalchemy.exc import DBAPIError

from services.ledger import sweep
from tests.support.exporting import APP, Workbench, new_workbench
from tests.support.inbound import InboundBench, new_bench
from tests.support.sandbox import Sandbox

_WRITTEN: Final = (
    "change_feed",
    "document",
    "drift",
    "exception",
    "link",
    "operation",
    "outbox_event",
    "poll_cycle",
    "psa_allocation",
    "psa_credit",
    "psa_payment",
    "quickbooks_change",
    "quickbooks_object",
    "timeline",
)
# A sequence counts over rollbacks, so that a write which was lost is not met again at the same number.
_TRAP = """
CREATE SCHEMA IF NOT EXISTS crash;
CREATE SEQUENCE crash.write;
CREATE TABLE crash.plan (at bigint);
CREATE FUNCTION crash.here() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF nextval('crash.write') = (SELECT at FROM crash.plan) THEN
    PERFORM pg_terminate_backend(pg_backend_pid());
    PERFORM pg_sleep(10);
  END IF;
  RETURN NULL;
END $$;
"""


class Trap:
    """Kills the session that makes a chosen write, before the statement ends."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        with psycopg.connect(database_url, autocommit=True) as owner:
            owner.execute(_TRAP)
            for table in _WRITTEN:
                owner.execute(
                    f"CREATE TRIGGER zz_crash AFTER INSERT OR UPDATE OR DELETE ON algasync.{table}"
                    " FOR EACH STATEMENT EXECUTE FUNCTION crash.here()"
                )

    def set(self, writes: int | None) -> None:
        """Let so many writes pass and kill whoever makes the next one; None kills nobody."""
        with psycopg.connect(self._url, autocommit=True) as owner:
            owner.execute("DELETE FROM crash.plan")
            if writes is not None:
                owner.execute("INSERT INTO crash.plan SELECT nextval('crash.write') + %s", (writes + 1,))


@dataclass
class Billing:
    """A billing system's books, kept from nothing but its own acts and the events it gets, in their order."""

    own: dict[str, dict[str, int]] = field(default_factory=dict)
    shares: dict[str, Counter[str]] = field(default_factory=dict)  # of payments, by their name
    credits: dict[str, tuple[str, int]] = field(default_factory=dict)
    _read: int = 0

    def read(self, events: list[tuple[str, dict[str, Any]]]) -> None:
        """Take over all events so far."""
        for type_, data in events[self._read :]:
            getattr(self, "_" + type_.removesuffix(".v1").replace(".", "_"), _nothing)(data)
        self._read = len(events)

    def settled(self, invoice: str) -> int:
        """What was put on an invoice, in cents."""
        own = [shares for id_, shares in self.own.items() if id_ not in self.shares]
        cash = sum(shares[invoice] for shares in [*self.shares.values(), *own] if invoice in shares)
        return cash + sum(amount for on, amount in self.credits.values() if on == invoice)

    def _payment_received(self, data: dict[str, Any]) -> None:
        assert self._name(data) not in self.shares, "told twice"
        self._payment_changed(data)

    def _payment_changed(self, data: dict[str, Any]) -> None:
        counted = Counter[str]()
        for share in data["payment"]["allocations"]:
            counted[share["invoice_id"]] += share["amount"]
        self.shares[self._name(data)] = counted

    def _payment_withdrawn(self, data: dict[str, Any]) -> None:
        self.shares[self._name(data)] = Counter()

    def _credit_applied_in_quickbooks(self, data: dict[str, Any]) -> None:
        self.credits[data["application_id"]] = (data["invoice"]["billing_id"], data["amount"])

    def _credit_withdrawn_in_quickbooks(self, data: dict[str, Any]) -> None:
        del self.credits[data["application_id"]]

    @staticmethod
    def _name(data: dict[str, Any]) -> str:
        return str(data.get("billing_payment_id") or data["payment_id"])


def _nothing(_: dict[str, Any]) -> None:
    """What billing does about events that are none of money."""


class Bookkeeping:
    """One company of one tenant, the people on both sides, and the troubles between them."""

    def __init__(self, workbench: Workbench, trap: Trap) -> None:
        self.bench: InboundBench = new_bench(workbench)
        self.billing = Billing()
        self.trap = trap
        self.customer = "2"
        self.billed: list[str] = []

    def act(self, action: str, **facts: Any) -> dict[str, Any] | None:
        """Something the bookkeeper tries; None when QuickBooks does not let it."""
        address = f"{self.bench.sandbox.control}/companies/{self.bench.realm}/bookkeeper/{action}"
        answer = requests.post(address, json=facts, timeout=10)
        if answer.status_code == 400:
            return None
        answer.raise_for_status()
        return dict(answer.json() or {})

    def open_invoices(self) -> dict[str, float]:
        """What is open on invoices in QuickBooks, by their ids."""
        return {one["Id"]: one["Balance"] for one in self.bench.objects("Invoice") if one["Balance"]}

    def payments(self) -> list[dict[str, Any]]:
        """Payments in QuickBooks that hold something."""
        return [one for one in self.bench.objects("Payment") if one["TotalAmt"] or one["Line"]]

    def through(self, work: Any, *, crash: int | None = None, cut: str | None = None) -> None:
        """Work while a session is killed at a write, and a call is cut; then the dead are noticed."""
        if cut is not None:
            self.bench.trouble(cut, times=1)
        self.trap.set(crash)
        try:
            work()
        except DBAPIError:
            if crash is None:
                raise
        finally:
            self.trap.set(None)
        self.bench.no_more_troubles()
        self.bench.expire_leases()

    def quiet(self) -> None:
        """Nothing is in the way any more: read, judge and tell until nothing changes."""
        self.bench.no_more_troubles()
        self.bench.switch(cdc_cap=1000)
        self.bench.runner = self.bench.new_runner()
        for _ in range(3):
            self.bench.expire_leases()
            self.bench.poll()
        events = self.bench.rows(
            "SELECT type, body FROM outbox_event WHERE exchange = 'accounting' ORDER BY id"
        )
        self.billing.read([(row.type, json.loads(row.body)["data"]) for row in events])

    def controller(self) -> None:
        """Everything that asks a person is decided: QuickBooks is right about money, and about what is void."""
        choices = {"likely_duplicate": "different", "over_application": "apply"}
        failed = {one.operation_id: one for one in self.bench.operations() if one.state == "failed"}
        for one in self.bench.exceptions():
            operation = failed.get(one.operation_id)
            if operation is not None and one.code in choices:
                self.bench.decide(operation, choices[one.code])
            elif operation is not None:  # a customer that was merged is linked again, and the like
                self.bench.replay(operation)
        for row in self.bench.rows("SELECT kind, document_id, change FROM drift WHERE state = 'open'"):
            if row.change == "changed":
                self._accept(row.kind, row.document_id)
            elif row.kind == "invoice":
                data = {
                    "id": row.document_id,
                    "date": "2026-11-05",
                    "reason": "void",
                    "actor": {"type": "system"},
                }
                self.bench.say("invoice.voided", data)

    def violations(self) -> dict[str, int]:
        """Work that nobody would ever do."""
        with self.bench.fleet.transaction(self.bench.tenant) as connection:
            return sweep.violations(connection)

    def close(self) -> None:
        """Nobody works for this company any more, whatever it left behind."""
        self.bench.rows("UPDATE company SET state = 'disconnected', disconnected_at = now() RETURNING 1")

    def _accept(self, kind: str, document_id: str) -> None:
        from services.inbound import resolutions

        with self.bench.fleet.transaction(self.bench.tenant) as connection:
            place = (connection, self.bench.company_id, kind, document_id)
            resolutions.accept(*place, actor="controller", reason="agreed")


def open_books(fleet: Any, sandbox: Sandbox, number: int, trap: Trap) -> Bookkeeping:
    """A tenant of its own with a company of its own."""
    realm = f"{9341450000030000 + number}"
    company = {"realm": realm, "name": f"Books {number}", "switches": {"limits": False}}
    requests.post(f"{sandbox.control}/apps", json=APP, timeout=5).raise_for_status()
    requests.post(f"{sandbox.control}/companies", json=company, timeout=10).raise_for_status()
    return Bookkeeping(new_workbench(fleet, sandbox, tenant=f"t-books-{number}", realm=realm), trap)

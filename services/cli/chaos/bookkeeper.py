"""The bookkeeper of a run: receives money in QuickBooks, corrects it, voids and deletes it, while billing goes on."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import requests
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from services.cli.arena import Arena
from services.cli.chaos.history import CLIENTS, Receipt
from services.cli.stage import Tenant
from services.database import Database
from services.database.engine import ALL_TENANTS
from services.inbound import schedule

_PAUSE: Final = 2.0  # seconds between two turns
_READ_EVERY: Final = 10  # turns; each cycle reads the last five minutes again, and calls are limited
_EAGER: Final = 0.5  # chance that a receipt goes on in a turn
_INVOICES: Final = text(
    """SELECT tenant_id, document_id, external_id FROM link
        WHERE kind = 'invoice' AND document_id = ANY (CAST(:ids AS text[]))"""
)


@dataclass(slots=True)
class _Case:
    """A receipt, and how far the bookkeeper is with it."""

    receipt: Receipt
    payment_id: str = ""
    done: int = 0  # amounts that it has had

    @property
    def over(self) -> bool:
        return self.done > len(self.receipt.amounts)


class Bookkeeper(threading.Thread):
    """Works through receipts whose invoices have arrived, and has the companies read every now and then."""

    def __init__(
        self,
        database: Database,
        arena: Arena,
        tenants: Mapping[str, Tenant],
        receipts: Sequence[Receipt],
        chance: random.Random,
    ) -> None:
        super().__init__(name="bookkeeper", daemon=True)
        self._database = database
        self._arena = arena
        self._tenants = tenants
        self._cases = [_Case(receipt) for receipt in receipts]
        self._chance = chance
        self._turns = itertools.count(1)
        self._stopped = threading.Event()
        self.failure: Exception | None = None
        """What ended it, other than having nothing left to do."""

    @property
    def done(self) -> bool:
        """Whether every receipt is as it will stay."""
        return all(case.over for case in self._cases)

    def received(self, tenant: str) -> dict[str, Receipt]:
        """What became of a tenant's receipts, by QuickBooks' id of the payment."""
        return {
            case.payment_id: case.receipt
            for case in self._cases
            if case.payment_id and case.receipt.tenant == tenant
        }

    def run(self) -> None:
        """Go on until everything is received, or somebody says stop."""
        try:
            while not (self.done or self._stopped.wait(_PAUSE)):
                try:
                    self.turn()
                except DBAPIError:  # the database is away: what was done stays noted, the rest comes later
                    continue
        except Exception as error:
            self.failure = error

    def stop(self) -> None:
        """End it, whatever is left."""
        self._stopped.set()
        self.join()

    def turn(self) -> None:
        """Do something about some receipts, and now and then have every company read."""
        left = [case for case in self._cases if not case.over]
        with self._database.transaction(ALL_TENANTS) as connection:
            rows = connection.execute(_INVOICES, {"ids": [case.receipt.invoice_id for case in left]})
            invoices = {(row.tenant_id, row.document_id): str(row.external_id) for row in rows}
        for case in left:
            invoice = invoices.get((case.receipt.tenant, case.receipt.invoice_id))
            if invoice is not None and self._chance.random() < _EAGER:
                self._step(case, invoice)
        if next(self._turns) % _READ_EVERY == 0:
            self.ask()

    def ask(self) -> None:
        """Have every company read."""
        with self._database.transaction(ALL_TENANTS) as connection:
            for tenant in self._tenants.values():
                schedule.wake(connection, tenant.company_id, "request")

    def _step(self, case: _Case, invoice: str) -> None:
        receipt, customer = case.receipt, CLIENTS[case.receipt.client]
        if case.done == len(receipt.amounts):
            if receipt.gone:
                self._act(receipt, receipt.gone, {"entity": "Payment", "id": case.payment_id})
        elif not case.payment_id:
            amount = f"{receipt.amounts[0] / 100:.2f}"
            facts = {
                "customer": customer,
                "amount": amount,
                "invoices": {invoice: amount},
                "date": receipt.date,
            }
            case.payment_id = str(self._act(receipt, "receive-payment", facts)["Id"])
        else:
            amount_ = receipt.amounts[case.done] / 100
            changes = {
                "CustomerRef": {"value": customer},
                "TotalAmt": amount_,
                "Line": [{"Amount": amount_, "LinkedTxn": [{"TxnId": invoice, "TxnType": "Invoice"}]}],
            }
            self._act(receipt, "edit", {"entity": "Payment", "id": case.payment_id, "changes": changes})
        case.done += 1

    def _act(self, receipt: Receipt, action: str, facts: dict[str, Any]) -> dict[str, Any]:
        realm = self._tenants[receipt.tenant].realm
        address = f"{self._arena.control}/companies/{realm}/bookkeeper/{action}"
        answer = requests.post(address, json=facts, timeout=30)
        answer.raise_for_status()
        return dict(answer.json() or {})

"""The inbound bench with a statement at hand: make it, and edit the books silently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
import requests

from services.exceptions import desk
from services.inbound.reconcile import cost, run
from services.inbound.reconcile.items import Item
from services.inbound.reconcile.period import Period
from services.inbound.reconcile.statement import Statement
from services.ledger import attempts
from tests.support.exporting import REALM, TENANT, Workbench
from tests.support.inbound import InboundBench

ALL = Period(None, date(2030, 12, 31))


@dataclass
class ReconcileBench(InboundBench):
    """Make statements of the company."""

    def statement(self, period: Period = ALL, *, size: int = 1000) -> Statement:
        """Read both books and match them."""
        company = self.company
        known = cost.ask(cost.patient(lambda call: self.clients.look(self.company_id, call)))
        return run.make(
            self.fleet,
            lambda call: self.clients.look(self.company_id, call),
            company,
            period,
            known,
            actor="controller",
            size=size,
        )

    def clean(self, period: Period = ALL) -> Statement:
        """A statement with nothing unexplained, which foots; what is unexplained is named otherwise."""
        made = self.statement(period)
        assert [f"{item.key}: {item.why}" for item in made.listed("unexplained")] == []
        self.foots(made)
        return made

    def foots(self, made: Statement) -> None:
        """The classes account for the difference, and QuickBooks' total is what it says itself."""
        told = made.to_json()
        assert told["foots"] is True
        assert told["difference"] == sum(told["amounts"].values())

    def receivables(self) -> int:
        """What customers owe by the sandbox's own count, in cents."""
        answer = requests.get(f"{self.sandbox.control}/companies/{REALM}/receivables", timeout=5)
        answer.raise_for_status()
        return round(answer.json()["total"] * 100)

    def give_up(self, kind: str, document_id: str, reason: str) -> None:
        """An operator discards the failed step of a document."""
        with self.fleet.transaction(TENANT) as connection:
            failed = self.last(kind, document_id).operation_id
            discarded = attempts.discard(connection, failed, "operator", reason)
            desk.settle(connection, discarded, f"discarded: {reason}", actor="operator")

    def journal(self, amount: float, customer: str = "2") -> str:
        """A journal entry that adds to what a customer owes."""
        entity = {"Type": "Customer", "EntityRef": {"value": customer}}
        lines = [
            {
                "Amount": amount,
                "DetailType": "JournalEntryLineDetail",
                "JournalEntryLineDetail": {"PostingType": kind, "AccountRef": {"value": account}, **more},
            }
            for kind, account, more in (("Debit", "7", {"Entity": entity}), ("Credit", "1", {}))
        ]
        body = {"TxnDate": "2026-11-05", "Line": lines}
        return str(self.bookkeeper("create", entity="JournalEntry", body=body)["Id"])

    def line(self, amount: float) -> dict[str, Any]:
        """A line as a bookkeeper leaves it."""
        detail = {"ItemRef": {"value": "3"}, "TaxCodeRef": {"value": "NON"}}
        return {
            "Id": "1",
            "DetailType": "SalesItemLineDetail",
            "Amount": amount,
            "SalesItemLineDetail": detail,
        }


def keys(items: Sequence[Item]) -> list[str]:
    """Names of items, counted ones only."""
    return [item.key for item in items if item.follows is None]


@pytest.fixture
def books(workbench: Workbench) -> ReconcileBench:
    """A tenant with a connected company whose feed has begun, and a statement to be made of it."""
    bench = ReconcileBench(workbench.fleet, workbench.sandbox, workbench.clients, workbench.company_id)
    bench.advance(2)  # what comes is later than the feed's beginning by more than a stamp's second
    bench.begin()
    bench.advance(2)
    return bench


__all__ = ["ALL", "TENANT", "ReconcileBench", "books", "keys"]

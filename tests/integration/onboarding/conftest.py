"""A company with books of its own, and a PSA that brings its clients and invoices along."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from sqlalchemy import Connection

from services.onboarding import customer_matches, customers, handover, history, history_matches, reading, runs
from services.onboarding.runs import Run
from tests.support.exporting import REALM, TENANT, Workbench

ACTOR = "controller"


def nothing_released(connection: Connection, tenant: str, cause: str) -> None:
    """A hook for mappings that nobody waits for."""


@dataclass
class Wizard:
    """The steps of the wizard, as the command line takes them."""

    bench: Workbench
    released: list[str] = field(default_factory=list)

    def enter(self, entity: str, *bodies: dict[str, Any]) -> list[str]:
        """Let the bookkeeper enter something; returns the ids."""
        answer = requests.post(
            f"{self.bench.sandbox.control}/companies/{REALM}/bookkeeper/create-many",
            json={"entries": [{"entity": entity, "body": body} for body in bodies]},
            timeout=30,
        )
        assert answer.ok, answer.text
        rows = requests.get(
            f"{self.bench.sandbox.control}/companies/{REALM}/objects/{entity}", timeout=30
        ).json()
        found = rows if isinstance(rows, list) else rows["objects"]
        return [str(row["Id"]) for row in found][-len(bodies) :]

    def keeper(self, action: str, **body: Any) -> None:
        """Let the bookkeeper do something else."""
        answer = requests.post(
            f"{self.bench.sandbox.control}/companies/{REALM}/bookkeeper/{action}", json=body, timeout=30
        )
        assert answer.ok, answer.text

    def form(self, customer: str, number: str, amount: str, day: str = "2025-03-31") -> dict[str, Any]:
        """Body of an invoice or credit memo of one line."""
        line = {
            "Amount": amount,
            "DetailType": "SalesItemLineDetail",
            "SalesItemLineDetail": {"ItemRef": {"value": "3"}},
        }
        return {
            "CustomerRef": {"value": customer},
            "DocNumber": number,
            "TxnDate": day,
            "Line": [line],
        }

    def hand_over(self, clients: list[dict[str, Any]], documents: list[dict[str, Any]] | None = None) -> None:
        """Post the PSA's lists."""
        with self.bench.fleet.transaction(TENANT) as connection:
            handover.put_clients(connection, TENANT, clients)
            handover.put_documents(connection, TENANT, documents or [])

    def document(self, id_: str, number: str, total: int, client: str, **other: Any) -> dict[str, Any]:
        """One invoice of the PSA's list."""
        return {
            "id": id_,
            "number": number,
            "date": "2025-03-31",
            "total": total,
            "currency": "USD",
            "client_id": client,
            "state": "sent",
            **other,
        }

    def start(self, *, size: int = 1000) -> Run:
        """Open a run and read the company."""
        with self.bench.fleet.transaction(TENANT) as connection:
            run = runs.start(connection, TENANT, self.bench.company_id, ACTOR)
        reading.read(self.bench.fleet, self.bench.clients, run, size=size)
        return run

    def plan(self, run: Run) -> dict[str, customer_matches.Match]:
        """The customers' plan by client id."""
        return {match.client.id: match for match in customers.plan(self.bench.fleet, run)}

    def history(self, run: Run) -> dict[str, history_matches.Match]:
        """The history's plan by document id."""
        return {match.document.id: match for match in history.match(self.bench.fleet, run)}

    def accept(self, run: Run) -> int:
        """Accept exact customers in bulk."""
        return customers.accept_exact(
            self.bench.fleet, run, actor=ACTOR, on_mapping_set=lambda c, t, cause: self.released.append(cause)
        )

    def writes(self) -> list[str]:
        """What our API calls changed in QuickBooks."""
        counted = self.bench.counters()["companies"].get(REALM, {"requests": {}})["requests"]
        return [request for request in counted if request.split()[-1] not in {"query", "count", "read"}]


@pytest.fixture
def wizard(workbench: Workbench) -> Wizard:
    """A fresh company and a wizard."""
    return Wizard(workbench)

"""One tenant, two sets of books whose ids are the same: nothing of one is ever done in the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import requests
from sqlalchemy import text

from services.ledger import links
from services.quickbooks.call import Call
from services.quickbooks.reply import Reply
from tests.support.exporting import (
    APP,
    TENANT,
    Straight,
    Workbench,
    applied,
    credit_note,
    invoice,
    payment,
    voided,
)
from tests.support.ledger import company

NORTH, SOUTH = "9341450000007001", "9341450000007002"


class Several(Straight):
    """Each company is reached under its own realm."""

    def __init__(self, first: Straight) -> None:
        super().__init__(first.sandbox, first.token, first.realm)
        self.of: dict[UUID, Straight] = {}

    def execute(self, company_id: UUID, call: Call) -> Reply:
        """Make the call there."""
        return self.of[company_id].execute(company_id, call)

    def look(self, company_id: UUID, call: Call) -> Reply:
        """Make the read there."""
        return self.of[company_id].look(company_id, call)


@dataclass
class Branches:
    """A tenant with two companies, the first of them its default."""

    bench: Workbench
    north: UUID
    south: UUID

    def default(self, company_id: UUID) -> None:
        """The tenant's documents go there from now on."""
        with self.bench.fleet.transaction(TENANT) as connection:
            connection.execute(text("UPDATE company SET is_default = false"))
            connection.execute(
                text("UPDATE company SET is_default = true WHERE company_id = :c"), {"c": company_id}
            )

    def objects(self, realm: str, entity: str = "Invoice") -> list[dict[str, Any]]:
        """What a company has."""
        address = f"{self.bench.sandbox.control}/companies/{realm}/objects/{entity}"
        found: list[dict[str, Any]] = requests.get(address, timeout=5).json()
        return found

    def link(self, company_id: UUID, kind: str, document_id: str) -> links.Link | None:
        """Where a document is in a company."""
        with self.bench.fleet.transaction(TENANT) as connection:
            return links.of_document(connection, company_id, kind, document_id)


@pytest.fixture
def branches(workbench: Workbench) -> Branches:
    """Two companies that number their objects alike."""
    several = Several(workbench.clients)
    ids = []
    for realm, default in ((NORTH, True), (SOUTH, False)):
        control = workbench.sandbox.control
        requests.post(f"{control}/companies", json={"realm": realm}, timeout=5).raise_for_status()
        address = f"{control}/companies/{realm}/preferences"
        requests.patch(
            address, json={"SalesFormsPrefs": {"AutoApplyCredit": False}}, timeout=5
        ).raise_for_status()
        minted = requests.post(
            f"{control}/tokens", json={"client_id": APP["client_id"], "realm": realm}, timeout=5
        )
        with workbench.fleet.transaction(TENANT) as connection:
            if default:
                connection.execute(text("UPDATE company SET is_default = false"))
            company_id = company(connection, TENANT, default=default, realm=realm)
        several.of[company_id] = Straight(workbench.sandbox, minted.json()["access_token"], realm)
        ids.append(company_id)
        workbench.company_id = company_id
        workbench.map("customer", "cl-1", "2")
        workbench.map("item", "svc", "3")
    workbench.clients = several
    workbench.runner = workbench.new_runner()
    return Branches(workbench, *ids)


def test_the_same_id_in_both_books(branches: Branches) -> None:
    """Two invoices have one id, each in its company: money, a new date and a void meet only their own."""
    bench = branches.bench
    bench.say("invoice.finalized", invoice("inv-n"))
    bench.say("invoice.finalized", invoice("inv-s", target_company=SOUTH))
    north, south = (
        branches.link(branches.north, "invoice", "inv-n"),
        branches.link(branches.south, "invoice", "inv-s"),
    )
    assert north is not None
    assert south is not None
    assert north.external_id == south.external_id
    assert branches.link(branches.south, "invoice", "inv-n") is None
    bench.say("payment.recorded", payment("pay-s", ("inv-s", 13500)))
    assert [one["Balance"] for one in branches.objects(SOUTH)] == [0.0]
    assert [one["Balance"] for one in branches.objects(NORTH)] == [135.0]
    assert branches.objects(NORTH, "Payment") == []
    bench.say("invoice.voided", voided("inv-n"))
    assert [one["TotalAmt"] for one in branches.objects(NORTH)] == [0.0]
    assert [one["TotalAmt"] for one in branches.objects(SOUTH)] == [135.0]
    assert bench.exceptions() == []


def test_the_same_number_in_both_books_after_a_lost_answer(branches: Branches) -> None:
    """Each company has its own INV-7 of the same client: what is looked for is looked for in its own books."""
    bench = branches.bench
    bench.say("invoice.finalized", invoice("inv-n", number="INV-7"))
    bench.trouble("cut_after", entity="invoice", realm=SOUTH, times=1)
    bench.say("invoice.finalized", invoice("inv-s", number="INV-7", target_company=SOUTH))
    assert [len(branches.objects(realm)) for realm in (NORTH, SOUTH)] == [1, 1]
    assert branches.link(branches.south, "invoice", "inv-s") is not None
    assert bench.exceptions() == []


def test_a_tenant_that_moves_leaves_nothing_behind_and_takes_nothing_along(branches: Branches) -> None:
    """The default moves south: old documents and all that follows them stay north, new ones go south."""
    bench = branches.bench
    bench.say("invoice.finalized", invoice("inv-1"))
    bench.say("credit_note.finalized", credit_note("cn-1"))
    bench.say("invoice.finalized", invoice("inv-2"))
    branches.default(branches.south)
    bench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 3000))
    bench.say("payment.recorded", payment("pay-1", ("inv-1", 10500)))
    bench.say("invoice.corrected", invoice("inv-2", net=9000, target_company=NORTH))
    bench.say("invoice.finalized", invoice("inv-3"))
    bench.say("payment.recorded", payment("pay-3", ("inv-3", 13500)))
    assert bench.exceptions() == []
    north = {one["DocNumber"]: (one["TotalAmt"], one["Balance"]) for one in branches.objects(NORTH)}
    south = {one["DocNumber"]: (one["TotalAmt"], one["Balance"]) for one in branches.objects(SOUTH)}
    assert north == {"INV-1": (135.0, 0.0), "INV-2": (90.0, 90.0)}
    assert south == {"INV-3": (135.0, 0.0)}
    assert [len(branches.objects(realm, "Payment")) for realm in (NORTH, SOUTH)] == [2, 1]
    with bench.fleet.transaction(TENANT) as connection:
        where = connection.execute(text("SELECT document_id, company_id FROM link")).all()
    assert {row.document_id for row in where if row.company_id == branches.south} == {"inv-3", "pay-3"}


def test_money_and_credit_never_cross_from_one_company_to_the_other(branches: Branches) -> None:
    """A credit note of the north for an invoice of the south: named, and nothing is touched."""
    bench = branches.bench
    bench.say("credit_note.finalized", credit_note("cn-1"))
    bench.say("invoice.finalized", invoice("inv-1"))
    bench.say("invoice.finalized", invoice("inv-2", target_company=SOUTH))
    bench.say("credit.applied", applied("app-1", "cn-1", "inv-2", 3000))
    assert bench.outcome("credit_application", "app-1") == ("failed", "several_companies")
    bench.say("payment.recorded", payment("pay-1", ("inv-1", 100), ("inv-2", 100)))
    assert bench.outcome("payment", "pay-1") == ("failed", "several_companies")
    assert all(f"(realm {realm})" in one.happened for one in bench.exceptions() for realm in (NORTH, SOUTH))
    assert [branches.objects(realm, "Payment") for realm in (NORTH, SOUTH)] == [[], []]


def test_a_client_of_the_south_waits_for_the_south(branches: Branches) -> None:
    """The client's company is not connected at present: its invoices wait for it, the others go on."""
    bench = branches.bench
    bench.set("company", str(branches.south), "client:cl-1")
    with bench.fleet.transaction(TENANT) as connection:
        connection.execute(
            text(
                """UPDATE company SET state = 'expired', attention_reason = 'revoked', attention_since = now()
                    WHERE company_id = :c"""
            ),
            {"c": branches.south},
        )
    bench.say("invoice.finalized", invoice("inv-1"))
    assert bench.outcome("invoice", "inv-1") == ("waiting", "company")
    bench.say("invoice.finalized", invoice("inv-2", target_company=NORTH))
    assert bench.outcome("invoice", "inv-2") == ("succeeded", None)
    bench.reconnect()
    bench.settle()
    assert [one["DocNumber"] for one in branches.objects(SOUTH)] == ["INV-1"]

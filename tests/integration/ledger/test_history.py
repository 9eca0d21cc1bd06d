"""The history of a document: complete, in words, as of any moment, and proof against tampering."""

from __future__ import annotations

from datetime import datetime

import pytest
import sqlalchemy
from sqlalchemy import text

from services.database import Database, Role
from services.ledger import history
from services.ledger.history import History
from tests.support.exporting import TENANT, Workbench, payment, voided


def told(bench: Workbench, kind: str, document_id: str, as_of: datetime | None = None) -> History:
    """The history of a document that has one."""
    with bench.fleet.transaction(TENANT) as connection:
        found = history.of_document(connection, TENANT, kind, document_id, as_of=as_of)
    assert found is not None
    return found


def test_every_step_is_told_in_words(workbench: Workbench) -> None:
    """From the event over the call to QuickBooks' answer, with the ids by which each side knows it."""
    workbench.bill("inv-1")
    workbench.settle()
    found = told(workbench, "invoice", "inv-1")
    sentences = [step.sentence for step in found.steps]
    assert sentences == [
        "billing said: invoice finalized (event 1), 135.00 USD",
        "asked QuickBooks to export invoice",
        "QuickBooks did it: export invoice (id 1, number INV-1, 135.00 USD)",
    ]
    asked, answered = found.steps[1].entry.details, found.steps[2].entry.details
    assert asked["requestid"] == answered["requestid"]
    assert answered["intuit_tid"]
    assert found.intact


def test_what_was_known_at_a_moment(workbench: Workbench) -> None:
    """Before the export QuickBooks has nothing and something is owed; afterwards it has the number and the amount."""
    workbench.bill("inv-1")
    taken = told(workbench, "invoice", "inv-1").steps[-1].entry.at
    workbench.settle()
    exported = told(workbench, "invoice", "inv-1").steps[-1].entry.at
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    workbench.say("invoice.voided", voided("inv-1"))

    before = told(workbench, "invoice", "inv-1", as_of=taken).moment
    assert before.quickbooks == {}
    assert list(before.operations.values()) == ["opened"]
    assert before.billing["data"]["total"] == 13500

    between = told(workbench, "invoice", "inv-1", as_of=exported).moment
    assert (between.quickbooks["quickbooks_id"], between.quickbooks["total"]) == ("1", "135.00")
    assert (between.operations, between.exceptions) == ({}, {})

    now = told(workbench, "invoice", "inv-1")
    assert now.moment.billing["said"] == "InvoiceVoided"
    assert list(now.moment.operations.values()) == ["failed"]
    assert ["cannot be voided" in title for title in now.moment.exceptions.values()] == [True]
    assert [(kind, id_) for kind, id_, _ in now.related] == [("payment", "pay-1")]


def test_a_void_is_seen_as_such(workbench: Workbench) -> None:
    """What QuickBooks has is told with its state, not with the amounts it had once."""
    workbench.bill("inv-1")
    workbench.settle()
    workbench.say("invoice.voided", voided("inv-1"))
    assert told(workbench, "invoice", "inv-1").moment.quickbooks["state"] == "voided"


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE timeline SET details = details || '{\"total\": \"1.00\"}' WHERE action = 'succeeded'",
        "UPDATE timeline SET actor = 'nobody' WHERE position = 2",
        "DELETE FROM timeline WHERE position = 2",
        "DELETE FROM timeline WHERE position = 3",
        "DELETE FROM timeline WHERE position = 1",
    ],
)
def test_tampering_shows(workbench: Workbench, tampering: str) -> None:
    """An entry that is changed, taken out of the middle or cut off at the end breaks the chain."""
    workbench.bill("inv-1")
    workbench.settle()
    assert told(workbench, "invoice", "inv-1").intact
    with Database(workbench.fleet.url, Role.OWNER) as owner, owner.transaction(TENANT) as connection:
        connection.execute(text("ALTER TABLE timeline DISABLE TRIGGER USER"))
        assert connection.exec_driver_sql(tampering).rowcount == 1
    assert not told(workbench, "invoice", "inv-1").intact


def test_nobody_edits_it_by_the_way(workbench: Workbench) -> None:
    """The roles that work have no right to it, and its owner is stopped by a trigger."""
    workbench.bill("inv-1")
    for role in (Role.FLEET, Role.OWNER):
        with (
            Database(workbench.fleet.url, role) as database,
            pytest.raises(sqlalchemy.exc.DBAPIError),
            database.transaction(TENANT) as connection,
        ):
            connection.execute(text("DELETE FROM timeline"))


def test_documents_are_found_as_people_name_them(workbench: Workbench) -> None:
    """By kind and id, number, id, or QuickBooks' type and id; and not by what nobody has."""
    workbench.bill("inv-1", number="INV-1042")
    workbench.settle()
    with workbench.fleet.transaction(TENANT) as connection:
        for named in ("invoice/inv-1", "INV-1042", "inv-1", "Invoice:1"):
            assert history.find(connection, named) == [(TENANT, "invoice", "inv-1")], named
        for named in ("INV-1", "invoice/INV-1042", "Invoice:2", "Payment:1"):
            assert history.find(connection, named) == [], named


def test_nothing_happened_is_none(workbench: Workbench) -> None:
    """A document that nobody has heard of has no history."""
    with workbench.fleet.transaction(TENANT) as connection:
        assert history.of_document(connection, TENANT, "invoice", "inv-9") is None

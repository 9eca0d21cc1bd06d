"""A checker that cannot fail proves nothing: every kind of fault is planted, and found."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, create_engine, text

import outbox
from services.cli import parts
from services.cli.arena import Arena
from services.cli.chaos import checker, evidence, history
from services.cli.chaos.bookkeeper import Bookkeeper
from services.cli.chaos.checker import Verdict
from services.cli.chaos.evidence import Books
from services.cli.chaos.history import Expected, History, Receipt
from services.cli.stage import Tenant
from services.configuration import Configuration
from services.connections.vault import Vault
from services.database import to_driver_url
from services.database.engine import ALL_TENANTS
from services.exceptions import upkeep
from services.inbound import schedule
from services.ledger import dispatch
from tests.support.sandbox import Sandbox

TENANT, REALM = "chaos-1", "9341450000003001"


class Settled:
    """A history that was carried out, without processes and a broker: what a clean run leaves behind."""

    def __init__(self, database_url: str, sandbox: Sandbox) -> None:
        key = SecretStr(Fernet.generate_key().decode())
        settings = Configuration(
            database_url=database_url,
            secret_keys=[key],
            quickbooks_api_url=sandbox.api,
            quickbooks_token_url=f"{sandbox.api}/oauth2/v1/tokens/bearer",
        )
        self.engine: Engine = create_engine(
            to_driver_url(database_url), connect_args={"options": "-c search_path=algasync,pg_catalog"}
        )
        self.history: History = history.tell(11, 30, [TENANT], 1)
        fleet = parts.parts(settings, threads=1, application="algasync tests")
        arena = Arena(sandbox.control, fleet.database, Vault.of(settings))
        arena.prepare(limits=False)
        services = history.SERVICES | {history.LATE_SERVICE: "4"}
        company_id = arena.join(TENANT, REALM, customers=history.CLIENTS, items=services)
        for emission in self.history.all:
            with fleet.database.transaction(TENANT) as connection:
                outbox.emit(
                    connection,
                    TENANT,
                    emission.type,
                    emission.subject,
                    emission.data,
                    event_id=emission.event_id,
                )
                body = connection.execute(
                    text("SELECT body FROM outbox_event WHERE event_id = :id"), {"id": emission.event_id}
                ).scalar_one()
            fleet.intake.take_over(body.encode())
            self._carry_out(fleet)
        received = self._receive(fleet, arena, Tenant(TENANT, REALM, company_id))
        self._tidy_up(fleet)
        self.books = {TENANT: evidence.books(arena, REALM, company_id, received)}
        with fleet.database.transaction(ALL_TENANTS) as connection:
            taken = evidence.ledger(connection).events
        self.acknowledged = {event.event_id: event.sequence for event in taken}  # as if all came by the API
        fleet.close()

    @staticmethod
    def _carry_out(fleet: parts.Parts) -> None:
        """What is due, and what becomes due by that."""
        while True:
            with fleet.database.transaction(ALL_TENANTS) as connection:
                connection.execute(text("UPDATE company_limiter SET next_call = '-infinity'"))
                due = dispatch.due(connection, in_flight=50, limit=500)
            if not due:
                return
            for command in due:
                fleet.runner.run(command.operation_id, command.attempt)

    def _receive(self, fleet: parts.Parts, arena: Arena, tenant: Tenant) -> dict[str, Receipt]:
        """What the bookkeeper does, and what becomes of it."""
        chance = random.Random(11)
        keeper = Bookkeeper(fleet.database, arena, {TENANT: tenant}, self.history.receipts, chance)
        while not keeper.done:
            with fleet.database.transaction(ALL_TENANTS) as connection:
                schedule.open_due(connection)
            self._carry_out(fleet)
            keeper.turn()
            keeper.ask()
        with fleet.database.transaction(ALL_TENANTS) as connection:
            schedule.open_due(connection)
        self._carry_out(fleet)
        return keeper.received(TENANT)

    @staticmethod
    def _tidy_up(fleet: parts.Parts) -> None:
        """What collector and relay do."""
        with fleet.database.transaction(ALL_TENANTS) as connection:
            upkeep.rebuild(connection, grace=upkeep.GRACE * 0)
            connection.execute(
                text(
                    """SELECT accounting_event_append(array_agg(event_id)) FROM outbox_event
                        WHERE exchange = 'accounting'"""
                )
            )
            connection.execute(text("DELETE FROM outbox_event"))

    def check(
        self, *statements: str, books: Callable[[Books], Books] | None = None, **values: Any
    ) -> dict[str, set[str]]:
        """What the checker finds, verdict -> documents, after statements that are rolled back again."""
        shown = {TENANT: books(copy.deepcopy(self.books[TENANT]))} if books else self.books
        with self.engine.connect() as connection:
            self._plant(connection, statements, values)
            found = checker.check(self.history, evidence.ledger(connection), shown, self.acknowledged)
        by_verdict: dict[str, set[str]] = {}
        for one in found:
            by_verdict.setdefault(one.verdict, set()).add(one.document)
        return by_verdict

    @staticmethod
    def _plant(connection: Connection, statements: tuple[str, ...], values: dict[str, Any]) -> None:
        for statement in statements:
            done = connection.execute(text(statement), values if ":" in statement else {})
            assert done.rowcount != 0, f"planted nothing: {statement}"

    def one(self, wanted: Callable[[Expected], bool]) -> Expected:
        """A document of the history."""
        return next(one for one in self.history.documents.values() if wanted(one))


@pytest.fixture(scope="module")
def settled(module_database_url: str, _sandbox_process: Sandbox) -> Iterator[Settled]:
    """One clean run for all tests of this module."""
    _sandbox_process.reset()
    made = Settled(module_database_url, _sandbox_process)
    yield made
    made.engine.dispose()


def plain(one: Expected) -> bool:
    """An invoice that stands as it was first billed."""
    return one.kind == "invoice" and one.stands and len(one.revisions) == 1


def name(one: Expected) -> str:
    """As findings name it."""
    return f"{one.kind}/{one.document_id}"


def test_a_clean_run_is_clean(settled: Settled) -> None:
    """Nothing is found where nothing is wrong, in a history with every kind of story."""
    assert settled.check() == {}
    assert {one.type for one in settled.history.all} >= {
        "invoice.corrected.v1",
        "invoice.voided.v1",
        "invoice.written_off.v1",
        "payment.reallocated.v1",
        "payment.reversed.v1",
        "credit.unapplied.v1",
    }


def test_the_same_seed_tells_the_same_history() -> None:
    """A run can be repeated."""
    assert history.tell(5, 60, ["a", "b"], 3) == history.tell(5, 60, ["a", "b"], 3)
    assert history.tell(5, 60, ["a", "b"], 3) != history.tell(6, 60, ["a", "b"], 3)


# --- our side -------------------------------------------------------------------------------------------


def test_a_lost_link(settled: Settled) -> None:
    """The document is in QuickBooks, and we do not know any more which one it is."""
    one = settled.one(plain)
    found = settled.check("DELETE FROM link WHERE document_id = :id", id=one.document_id)
    assert found == {Verdict.LOST: {name(one)}}


def test_a_link_to_another_object(settled: Settled) -> None:
    """A link that points elsewhere."""
    one = settled.one(plain)
    found = settled.check("UPDATE link SET external_id = '99999' WHERE document_id = :id", id=one.document_id)
    assert found == {Verdict.WRONG: {name(one)}}


def test_a_link_with_another_total(settled: Settled) -> None:
    """A link that is a cent off."""
    one = settled.one(plain)
    found = settled.check("UPDATE link SET total = total + 0.01 WHERE document_id = :id", id=one.document_id)
    assert found == {Verdict.WRONG: {name(one)}}


def test_a_skipped_event(settled: Settled) -> None:
    """An event that was acknowledged and never taken over."""
    one = settled.one(plain)
    found = settled.check("DELETE FROM event WHERE document_id = :id", id=one.document_id)
    assert found == {Verdict.LOST: {name(one)}}


def test_an_acknowledged_event_that_was_lost(settled: Settled) -> None:
    """The API said that an event is safe, and nobody has it: the finding says whose word was broken."""
    one = settled.one(plain)
    (event_id,) = [said.event_id for said in settled.history.all if said.subject == one.document_id]
    with settled.engine.connect() as connection:
        settled._plant(connection, ("DELETE FROM event WHERE event_id = :id",), {"id": event_id})
        ledger = evidence.ledger(connection)
    found = checker.check(settled.history, ledger, settled.books, settled.acknowledged)
    assert [(finding.verdict, finding.event_id) for finding in found] == [(Verdict.LOST, event_id)]
    assert "the API had acknowledged it" in found[0].said


def test_an_event_under_another_number_than_acknowledged(settled: Settled) -> None:
    """A repeated request was answered with a number that its event does not have."""
    one = settled.one(plain)
    found = settled.check("UPDATE event SET sequence = 7 WHERE document_id = :id", id=one.document_id)
    assert found == {Verdict.WRONG: {name(one)}}


def test_a_repetition_that_became_an_event(settled: Settled) -> None:
    """The producer repeated its request, and both were taken for facts."""
    one = settled.one(plain)
    found = settled.check(
        """INSERT INTO event
           SELECT gen_random_uuid(), tenant_id, type, document_kind, document_id, sequence + 1, data, occurred_at,
                  traceparent, state, received_at
             FROM event WHERE document_id = :id""",
        id=one.document_id,
    )
    assert found == {Verdict.DOUBLED: {name(one)}}


def test_a_company_that_stayed_disconnected(settled: Settled) -> None:
    """Its authorization was revoked, a person gave it anew, and it did not come back."""
    found = settled.check(
        """UPDATE company SET state = 'expired', attention_reason = 'Token revoked', attention_since = now()
            WHERE realm_id = :realm""",
        realm=REALM,
    )
    assert found == {Verdict.STUCK: {f"company/{REALM}"}}


def test_an_event_without_effect(settled: Settled) -> None:
    """An event that was taken over and asked for nothing."""
    one = settled.one(plain)
    found = settled.check("UPDATE operation SET event_id = NULL WHERE document_id = :id", id=one.document_id)
    assert found == {Verdict.SILENT: {name(one)}}


@pytest.mark.parametrize("state", ["queued", "scheduled"])
def test_an_operation_that_never_ended(settled: Settled, state: str) -> None:
    """Work that is left over when all is settled."""
    one = settled.one(plain)
    found = settled.check(
        f"UPDATE operation SET state = '{state}', finished_at = NULL WHERE document_id = :id",
        id=one.document_id,
    )
    assert found == {Verdict.STUCK: {name(one)}}


def test_an_operation_that_waits_for_nothing(settled: Settled) -> None:
    """A lost wake-up is found twice: as work that did not end, and by the liveness rule."""
    one = settled.one(plain)
    found = settled.check(
        "UPDATE operation SET state = 'waiting', finished_at = NULL WHERE document_id = :id",
        id=one.document_id,
    )
    assert found.keys() == {Verdict.STUCK}
    assert len(found[Verdict.STUCK]) == 2


def test_an_event_that_nobody_publishes(settled: Settled) -> None:
    """A fact that lies in the outbox for ever."""
    found = settled.check(
        """INSERT INTO outbox_event (event_id, tenant_id, exchange, type, document_kind, subject, sequence, body)
           VALUES (gen_random_uuid(), 'chaos-1', 'accounting', 'document.synced.v1', 'invoice', 'x', 1, '{}')"""
    )
    assert found.keys() == {Verdict.STUCK}


def test_an_event_that_waits_for_an_earlier_one(settled: Settled) -> None:
    """A gap in the sequence of a document."""
    one = settled.one(plain)
    found = settled.check("UPDATE event SET state = 'waiting' WHERE document_id = :id", id=one.document_id)
    assert found == {Verdict.STUCK: {name(one)}}


def test_a_failure_without_an_exception(settled: Settled) -> None:
    """Work that needs a person, and nobody was told."""
    found = settled.check("UPDATE exception SET state = 'resolved', closed_at = now()")
    assert Verdict.SILENT in found


def test_a_failure_without_a_letter(settled: Settled) -> None:
    """A failed operation whose letter is not on its exception."""
    found = settled.check("UPDATE letter SET exception_id = NULL")
    assert Verdict.SILENT in found


def test_an_unexpected_failure(settled: Settled) -> None:
    """What should have arrived rests with a person."""
    one = settled.one(plain)
    found = settled.check(
        "UPDATE operation SET state = 'failed', finished_at = NULL WHERE document_id = :id",
        id=one.document_id,
    )
    assert name(one) in found[Verdict.LOST]
    assert name(one) in found[Verdict.SILENT]


def test_a_success_that_should_have_been_a_persons(settled: Settled) -> None:
    """An effect that nobody can carry out was called done."""
    found = settled.check(
        "UPDATE operation SET state = 'succeeded', finished_at = now() WHERE kind = 'write_off'"
    )
    assert Verdict.SILENT in found


def test_a_revision_superseded_by_nothing(settled: Settled) -> None:
    """A step that was dropped for the sake of a later one that does not exist."""
    one = settled.one(plain)
    found = settled.check(
        """UPDATE operation SET state = 'skipped', reason_code = 'superseded', reason = 'x'
            WHERE document_id = :id""",
        id=one.document_id,
    )
    assert found == {Verdict.LOST: {name(one)}}


def test_an_exception_about_nothing(settled: Settled) -> None:
    """A false alarm is a fault, too."""
    found = settled.check(
        """INSERT INTO exception (exception_id, tenant_id, type, entity_kind, entity_id, cause, code, title,
                                  happened, why, fix)
           VALUES (gen_random_uuid(), 'chaos-1', 'accounting_sync_drift', 'invoice', 'inv-x', 'c', 'c', 't', 'h',
                   'w', 'f')"""
    )
    assert found == {Verdict.WRONG: {"invoice/inv-x"}}


def test_billing_told_twice(settled: Settled) -> None:
    """One effect, two facts."""
    one = settled.one(plain)
    found = settled.check(
        """INSERT INTO accounting_event (position, tenant_id, event_id, type, subject, sequence, body)
           SELECT position + 100000, tenant_id, gen_random_uuid(), type, subject, sequence, body
             FROM accounting_event WHERE subject = :id""",
        id=one.document_id,
    )
    assert found == {Verdict.DOUBLED: {name(one)}}


def test_billing_never_told(settled: Settled) -> None:
    """An effect of which billing learned nothing."""
    one = settled.one(plain)
    found = settled.check("DELETE FROM accounting_event WHERE subject = :id", id=one.document_id)
    assert found == {Verdict.SILENT: {name(one)}}


def test_steps_out_of_order(settled: Settled) -> None:
    """A correction that was carried out before what it corrects."""
    one = settled.one(lambda one: len(one.revisions) > 1)
    found = settled.check(
        "ALTER TABLE timeline DISABLE TRIGGER timeline_append_only",
        "UPDATE operation SET revision = 100 - revision WHERE document_id = :id",
        id=one.document_id,
    )
    assert name(one) in found[Verdict.OUT_OF_ORDER]


def test_a_timeline_that_was_changed(settled: Settled) -> None:
    """Somebody rewrote the record."""
    one = settled.one(plain)
    found = settled.check(
        "ALTER TABLE timeline DISABLE TRIGGER timeline_append_only",
        "UPDATE timeline SET actor = 'nobody' WHERE subject_id = :id AND position = 1",
        id=one.document_id,
    )
    assert found == {Verdict.WRONG: {name(one)}}


# --- QuickBooks' side -----------------------------------------------------------------------------------


def invoice_of(books: Books, one: Expected) -> dict[str, Any]:
    """The object in QuickBooks."""
    return next(raw for raw in books.objects["Invoice"] if raw["DocNumber"] == one.number)


def test_a_doubled_create(settled: Settled) -> None:
    """The same document twice."""
    one = settled.one(plain)

    def double(books: Books) -> Books:
        books.objects["Invoice"].append(invoice_of(books, one) | {"Id": "99999"})
        return books

    assert settled.check(books=double) == {Verdict.DOUBLED: {name(one)}}


def test_a_doubled_payment(settled: Settled) -> None:
    """Money twice."""
    one = settled.one(lambda one: one.kind == "payment" and one.stands)

    def double(books: Books) -> Books:
        payment = next(raw for raw in books.objects["Payment"] if raw.get("PaymentRefNum") == one.number)
        books.objects["Payment"].append(payment | {"Id": "99999"})
        return books

    assert settled.check(books=double) == {Verdict.DOUBLED: {name(one)}}


def test_a_wrong_cent(settled: Settled) -> None:
    """A cent too much."""
    one = settled.one(plain)

    def alter(books: Books) -> Books:
        raw = invoice_of(books, one)
        raw["TotalAmt"] = float(one.total) + 0.01
        return books

    assert settled.check(books=alter) == {Verdict.WRONG: {name(one)}}


def test_money_on_another_invoice(settled: Settled) -> None:
    """A payment that does not settle what it should."""
    one = settled.one(lambda one: plain(one) and one.open < one.total)

    def alter(books: Books) -> Books:
        invoice_of(books, one)["Balance"] = float(one.total)
        return books

    assert settled.check(books=alter) == {Verdict.WRONG: {name(one)}}


def test_a_document_that_is_not_there(settled: Settled) -> None:
    """Everything says that it was exported, but for the books."""
    one = settled.one(plain)

    def remove(books: Books) -> Books:
        books.objects["Invoice"].remove(invoice_of(books, one))
        return books

    assert settled.check(books=remove) == {Verdict.LOST: {name(one)}}


def test_a_void_that_did_not_happen(settled: Settled) -> None:
    """Billing voided it, and it stands."""
    one = settled.one(lambda one: one.kind == "payment" and not one.stands)

    def revive(books: Books) -> Books:
        for raw in books.objects["Payment"]:
            if raw.get("PaymentRefNum") == one.number:
                raw["PrivateNote"] = raw["PrivateNote"].removeprefix("Voided - ")
        return books

    assert settled.check(books=revive) == {Verdict.LOST: {name(one)}}


def test_a_strangers_document(settled: Settled) -> None:
    """Something in the company that this tenant never billed."""

    def add(books: Books) -> Books:
        books.objects["Invoice"].append({"Id": "99999", "TotalAmt": 1, "DocNumber": "X-1"})
        return books

    assert settled.check(books=add) == {Verdict.WRONG: {"Invoice/99999"}}


def test_money_that_billing_was_told_otherwise(settled: Settled) -> None:
    """Received in QuickBooks and never told, told twice, told by another amount, or told and not taken back."""
    received = settled.books[TENANT].received
    stays = next(id_ for id_, receipt in received.items() if receipt.final)
    gone = next(id_ for id_, receipt in received.items() if receipt.gone)
    of = "body::jsonb #>> '{data,quickbooks_id}' = :payment AND type LIKE 'payment.%'"
    never = settled.check(f"DELETE FROM accounting_event WHERE {of}", payment=stays)
    assert never == {Verdict.LOST: {f"receipt/{received[stays].invoice_id}"}}
    twice = settled.check(
        f"""INSERT INTO accounting_event
            SELECT 0, tenant_id, gen_random_uuid(), type, subject, sequence, body, recorded_at
              FROM accounting_event WHERE {of} AND type = 'payment.received.v1' LIMIT 1""",
        payment=stays,
    )
    assert twice == {Verdict.DOUBLED: {f"receipt/{received[stays].invoice_id}"}}
    still = settled.check(
        f"DELETE FROM accounting_event WHERE {of} AND type = 'payment.withdrawn.v1'", payment=gone
    )
    assert still == {Verdict.LOST: {f"receipt/{received[gone].invoice_id}"}}

    def other(books: Books) -> Books:
        receipt = received[stays]
        return replace(books, received=dict(books.received) | {stays: replace(receipt, amounts=(1,))})

    assert settled.check(books=other) == {Verdict.WRONG: {f"receipt/{received[stays].invoice_id}"}}


def test_an_older_version_after_a_newer_one(settled: Settled) -> None:
    """The books were right, then wrong, then right again: only their history tells."""
    one = settled.one(lambda one: len(one.revisions) > 1)

    def repeat(books: Books) -> Books:
        key = ("Invoice", invoice_of(books, one)["Id"])
        last = books.versions[key][-1]
        told = [last | {"TotalAmt": float(total)} for total in (*one.revisions, one.revisions[0], one.total)]
        return replace(books, versions={**books.versions, key: told})

    assert settled.check(books=repeat) == {Verdict.OUT_OF_ORDER: {name(one)}}

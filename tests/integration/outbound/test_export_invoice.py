"""An invoice from event to QuickBooks: once, to the cent, whatever the answer was.

Crashes are made from outside: the sandbox cuts, hangs or refuses, leases run out, rows are set as a dead worker
left them.
"""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import requests
from sqlalchemy import text

from services.ledger import attempts, links, pauses, sweep, timeline, waits
from services.ledger.intake import SequenceTaken
from tests.support.exporting import REALM, TENANT, Workbench, invoice
from tests.support.ledger import read, setting


def entry_actions(workbench: Workbench, document_id: str = "inv-1") -> list[str]:
    """The timeline of an invoice in a word each; the chain must be intact."""
    with workbench.fleet.transaction(TENANT) as connection:
        entries = timeline.read(connection, TENANT, "invoice", document_id)
    assert all(entry.intact for entry in entries)
    return [entry.action for entry in entries]


def exceptions(workbench: Workbench, state: str = "open") -> list[Any]:
    """Exceptions of the tenant in a state."""
    with workbench.fleet.transaction(TENANT) as connection:
        return list(
            connection.execute(
                text("SELECT type, code, cause, happened, operation_id FROM exception WHERE state = :s"),
                {"s": state},
            )
        )


def accounting_events(workbench: Workbench) -> list[str]:
    """Types of the events to billing, in order."""
    with workbench.fleet.transaction(TENANT) as connection:
        return list(
            connection.execute(
                text("SELECT type FROM outbox_event WHERE exchange = 'accounting' ORDER BY id")
            ).scalars()
        )


def test_one_invoice_through(workbench: Workbench) -> None:
    """Event, operation, call, link, timeline, and the event back to billing."""
    workbench.bill("inv-1")
    (operation,) = workbench.operations()
    assert operation.state == "queued"
    assert not workbench.run(operation).reject
    (operation,) = workbench.operations()
    assert (operation.state, operation.outcome, operation.tries) == ("succeeded", "answered", 1)
    assert operation.intuit_tid
    assert operation.reply_digest
    (created,) = workbench.objects()
    assert (created["DocNumber"], created["TotalAmt"], created["TxnDate"]) == ("INV-1", 135.0, "2026-10-31")
    with workbench.fleet.transaction(TENANT) as connection:
        link = links.of_document(connection, workbench.company_id, "invoice", "inv-1")
    assert link is not None
    assert (link.external_id, link.number, str(link.total)) == (created["Id"], "INV-1", "135.00")
    assert entry_actions(workbench) == ["InvoiceFinalized", "calling", "succeeded"]
    assert accounting_events(workbench) == ["document.synced.v1"]


def test_an_export_reads_nothing(workbench: Workbench) -> None:
    """Reads cost money: creating an invoice makes no metered call."""
    workbench.bill("inv-1")
    workbench.settle()
    counted = workbench.counters()["companies"][REALM]
    assert (counted["creates"], counted["metered_reads"]) == ({"Invoice": 1}, 0)


def test_duplicate_event_changes_nothing(workbench: Workbench) -> None:
    """The relay publishes at least once; taking over twice is taking over once."""
    body = workbench.bill("inv-1")
    assert workbench.intake.take_over(body) == "duplicate"
    workbench.settle()
    assert len(workbench.operations()) == len(workbench.objects()) == 1
    assert workbench.intake.take_over(body) == "duplicate"


def test_concurrent_duplicates_open_one_operation(workbench: Workbench) -> None:
    """Eight consumers get the same event at once."""
    body = workbench.emit("invoice.finalized.v1", "inv-1", invoice("inv-1"))
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda: said.append(workbench.intake.take_over(body))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["applied"] + ["duplicate"] * 7
    assert len(workbench.operations()) == 1


def test_events_out_of_order_wait_for_the_missing_one(workbench: Workbench) -> None:
    """A correction that arrives before its invoice is kept, and applied once the invoice came."""
    first = workbench.emit("invoice.finalized.v1", "inv-1", invoice("inv-1"))
    second = workbench.emit("invoice.corrected.v1", "inv-1", invoice("inv-1", net=27000))
    assert workbench.intake.take_over(second) == "waiting"
    assert workbench.operations() == []
    assert workbench.intake.take_over(first) == "applied"
    workbench.settle()
    states = [(one.revision, one.state, one.reason_code) for one in workbench.operations()]
    assert states == [(1, "skipped", "superseded"), (2, "succeeded", None)]
    (created,) = workbench.objects()
    assert created["TotalAmt"] == 270.0


def test_two_events_for_one_place_are_refused(workbench: Workbench) -> None:
    """A second event with the sequence of another never overwrites it."""
    body = workbench.bill("inv-1")
    forged = json.dumps(json.loads(body) | {"id": "01900000-0000-7000-8000-00000000beef"}).encode()
    with pytest.raises(SequenceTaken, match="belongs to event"):
        workbench.intake.take_over(forged)


def test_missing_mapping_fails_with_a_named_exception_then_replay_delivers(workbench: Workbench) -> None:
    """Nothing is sent; the exception names the service; mapping and replay bring the invoice over."""
    lines = invoice("inv-1")["lines"]
    lines[0]["service_id"] = "svc-unmapped"
    workbench.bill("inv-1", lines=lines)
    (operation,) = workbench.operations()
    verdict = workbench.run(operation)
    assert (verdict.reject, verdict.code) == (True, "missing_service_mapping")
    assert workbench.run(operation).reject, "a redelivered message of a failed attempt is rejected again"
    assert workbench.objects() == []
    ((type_, code, cause, happened, operation_id),) = exceptions(workbench)
    assert (type_, code) == ("accounting_sync_export_error", "missing_service_mapping")
    assert "svc-unmapped" in happened
    assert cause == f"mapping:item:{workbench.company_id}:svc-unmapped"
    assert operation_id == operation.operation_id
    workbench.map("item", "svc-unmapped", "3")
    with workbench.fleet.transaction(TENANT) as connection:
        replayed = attempts.replay(connection, operation.operation_id, "op", "mapped it")
    assert workbench.run(operation).code == "already_settled", "the old attempt's message is stale"
    assert not workbench.run(replayed).reject
    assert len(workbench.objects()) == 1
    assert exceptions(workbench) == []
    assert len(exceptions(workbench, "resolved")) == 1


@pytest.mark.parametrize("kind", ["cut_before", "cut_after", "cut_within", "hang_before", "hang_after"])
def test_lost_answers_are_resolved_by_the_same_request_id(workbench: Workbench, kind: str) -> None:
    """Cut or hung before or after the commit at QuickBooks: one invoice, one link."""
    workbench.bill("inv-1")
    workbench.trouble(kind, entity="invoice", times=1)
    (operation,) = workbench.operations()
    workbench.run(operation)
    (after,) = workbench.operations()
    assert (after.state, after.outcome) == ("scheduled", "unknown")
    workbench.settle()
    (done,) = workbench.operations()
    assert (done.state, done.generation, done.requestid) == ("succeeded", 0, after.requestid)
    assert done.call == after.call
    assert len(workbench.objects()) == 1


@pytest.mark.parametrize("kind", ["server_error", "throttle"])
def test_transient_answers_come_round_again(workbench: Workbench, kind: str) -> None:
    """A 503 or 429 is due again by itself; a 429 rests the company."""
    workbench.bill("inv-1")
    workbench.trouble(kind, entity="invoice", times=2)
    workbench.settle()
    assert workbench.operations()[0].state == "succeeded"
    assert len(workbench.objects()) == 1
    assert (workbench.clients.pauses != []) == (kind == "throttle")


def test_worker_killed_between_intent_and_answer(workbench: Workbench) -> None:
    """The lease runs out, the sweep frees it, the same call is made again: one invoice."""
    workbench.bill("inv-1")
    (operation,) = workbench.operations()
    workbench.run(operation)  # the call happens ...
    with workbench.fleet.transaction(TENANT) as connection:  # ... and the worker dies before it can record it
        connection.execute(text("DELETE FROM link"))
        connection.execute(
            text(
                """UPDATE operation SET state = 'running', outcome = 'intended', lease_token = gen_random_uuid(),
                          lease_until = clock_timestamp(), finished_at = NULL, reply_digest = NULL"""
            )
        )
    workbench.expire_leases()
    workbench.settle()
    assert workbench.operations()[0].state == "succeeded"
    assert len(workbench.objects()) == 1
    with workbench.fleet.transaction(TENANT) as connection:
        assert links.of_document(connection, workbench.company_id, "invoice", "inv-1") is not None


def test_stopped_beyond_the_lease_writes_nothing(workbench: Workbench) -> None:
    """A worker whose call hangs past its lease finds its token gone; the other worker's record stands."""
    workbench.bill("inv-1")
    workbench.trouble("hang_after", entity="invoice", times=1, seconds=1.0)
    (operation,) = workbench.operations()
    slow = threading.Thread(target=workbench.run, args=(operation,))
    slow.start()
    while workbench.operations()[0].state != "running":
        pass
    workbench.expire_leases()
    workbench.settle()
    slow.join()
    (done,) = workbench.operations()
    assert (done.state, done.tries) == ("succeeded", 1)
    assert len(workbench.objects()) == 1
    assert [one for one in entry_actions(workbench) if one in {"succeeded", "adopted"}] == ["adopted"]


def test_two_workers_at_once_make_one_call(workbench: Workbench) -> None:
    """The same command delivered eight times at once: one take, one create."""
    workbench.bill("inv-1")
    (operation,) = workbench.operations()
    threads = [threading.Thread(target=workbench.run, args=(operation,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert workbench.operations()[0].state == "succeeded"
    assert entry_actions(workbench).count("calling") == 1
    assert len(workbench.objects()) == 1


def test_an_unknown_outcome_is_looked_for_and_adopted(workbench: Workbench) -> None:
    """QuickBooks is asked before anything is sent again, and the full match adopted: one metered read."""
    workbench.bill("inv-1")
    workbench.trouble("cut_after", entity="invoice", times=1)
    workbench.run(workbench.operations()[0])
    workbench.make_due()
    workbench.run(workbench.operations()[0])
    assert workbench.operations()[0].state == "succeeded"
    assert len(workbench.objects()) == 1
    assert "adopted" in entry_actions(workbench)
    assert workbench.reads == 1


def test_a_bookkeepers_invoice_of_the_same_number_is_never_adopted(workbench: Workbench) -> None:
    """Number alone proves nothing: without our marker it is a stranger's, and a person decides."""
    workbench.bill("inv-1")
    (operation,) = workbench.operations()
    workbench.run(operation)
    (ours,) = workbench.objects()
    with workbench.fleet.transaction(TENANT) as connection:  # as if ours had been lost and theirs were there
        connection.execute(text("DELETE FROM link"))
        connection.execute(
            text(
                """UPDATE operation SET state = 'queued', outcome = 'unknown', finished_at = NULL,
                          call = jsonb_set(call, '{body}',
                                 to_jsonb(replace(call ->> 'body', 'algasync AS-', 'algasync AS-OTHER')))"""
            )
        )
    verdict = workbench.run(workbench.operations()[0])
    assert (verdict.reject, verdict.code) == (True, "number_in_use")
    assert [one["Id"] for one in workbench.objects()] == [ours["Id"]]


def test_definite_refusal_asks_a_person_and_a_mended_body_gets_a_new_id(workbench: Workbench) -> None:
    """A refused id never carries a second body: the generation moves on."""
    workbench.map("item", "svc", "999999")
    workbench.bill("inv-1")
    (operation,) = workbench.operations()
    verdict = workbench.run(operation)
    assert verdict.reject
    assert verdict.code.startswith("quickbooks_")
    (refused,) = workbench.operations()
    assert (refused.state, refused.outcome, refused.generation) == ("failed", "refused", 0)
    workbench.map("item", "svc", "3")
    with workbench.fleet.transaction(TENANT) as connection:
        attempts.replay(connection, operation.operation_id, "op", "mended")
    workbench.settle()
    (done,) = workbench.operations()
    assert (done.state, done.generation) == ("succeeded", 1)
    assert done.requestid != refused.requestid
    assert len(workbench.objects()) == 1


def test_revoked_authorization_waits_for_a_reconnect(workbench: Workbench) -> None:
    """No attempt is spent while the company is not connected, and the reconnect releases the work."""
    workbench.bill("inv-1")
    workbench.clients.token = "revoked"
    workbench.run(workbench.operations()[0])
    (waiting,) = workbench.operations()
    assert (waiting.state, waiting.attempt, workbench.clients.disconnected) == (
        "waiting",
        1,
        [workbench.company_id],
    )
    assert workbench.objects() == []


def test_auto_sync_off_and_pauses_hold_without_attempts(workbench: Workbench) -> None:
    """Events are recorded and wait; switching on lets them go."""
    with workbench.fleet.transaction(TENANT) as connection:
        setting(connection, TENANT, "auto_sync", False)
        pauses.pause(
            connection, "company", tenant=TENANT, company_id=workbench.company_id, actor="t", reason="r"
        )
    workbench.bill("inv-1")
    workbench.settle()
    assert workbench.operations()[0].state == "waiting"
    with workbench.fleet.transaction(TENANT) as connection:
        setting(connection, TENANT, "auto_sync", True)
        waits.release(connection, TENANT, "auto_sync", "tenant")
        pauses.resume(connection, "company", tenant=TENANT, company_id=workbench.company_id, actor="t")
    workbench.settle()
    (done,) = workbench.operations()
    assert (done.state, done.attempt, done.tries) == ("succeeded", 1, 1)


def test_a_failed_document_parks_only_itself(workbench: Workbench) -> None:
    """The next step of the failed one waits for it; a neighbour goes on; superseding frees the rest."""
    lines = invoice("inv-1")["lines"]
    lines[0]["service_id"] = "svc-unmapped"
    workbench.bill("inv-1", lines=lines)
    workbench.settle()
    workbench.bill("inv-2")
    workbench.settle()
    assert [one.state for one in workbench.operations("inv-2")] == ["succeeded"]
    voided = {
        "id": "inv-1",
        "date": "2026-11-02",
        "reason": "wrong client",
        "actor": {"type": "system"},
    }
    workbench.intake.take_over(workbench.emit("invoice.voided.v1", "inv-1", voided))
    workbench.settle()
    assert workbench.operations("inv-1")[0].state in {"failed", "skipped"}
    workbench.intake.take_over(workbench.emit("invoice.corrected.v1", "inv-1", invoice("inv-1")))
    assert workbench.operations("inv-1")[0].state == "skipped"


def test_no_lines_and_prepayments_are_skipped_with_a_reason(workbench: Workbench) -> None:
    """Nothing is silent: a skip says why."""
    workbench.bill("inv-1", type="prepayment")
    workbench.bill("inv-2", lines=[], net=0)
    workbench.settle()
    assert [(one.state, one.reason_code) for one in workbench.operations()] == [
        ("skipped", "prepayment"),
        ("skipped", "no_lines"),
    ]


def test_total_that_quickbooks_sees_differently_is_reported(workbench: Workbench) -> None:
    """The export stands, and a cent of difference becomes an exception."""
    workbench.map("tax_code", "CA", "2")
    lines = invoice("inv-1")["lines"]
    lines[0] |= {"is_taxable": True, "tax_amount": 1079, "tax_region": "CA", "tax_rate": "8"}
    requests.patch(
        f"{workbench.sandbox.control}/switches", json={"supplied_tax": "recompute"}, timeout=5
    ).raise_for_status()
    workbench.bill("inv-1", lines=lines, tax=1079, total=14579)
    workbench.settle()
    assert workbench.operations()[0].state == "succeeded"
    ((type_, code, _, happened, _),) = exceptions(workbench)
    assert (type_, code) == ("accounting_sync_drift", "total_differs")
    assert "145.79" in happened
    assert "145.80" in happened


def test_healthy_work_breaks_no_invariant(workbench: Workbench) -> None:
    """In a healthy run the liveness view is empty at every step."""
    workbench.bill("inv-1")
    with workbench.fleet.transaction("*") as connection:
        assert sweep.violations(connection) == {}
    workbench.settle()
    with workbench.fleet.transaction("*") as connection:
        assert sweep.violations(connection) == {}
        operation = read(connection, workbench.operations()[0].operation_id)
    assert operation.finished


def test_an_invoice_over_nothing_keeps_its_number(workbench: Workbench) -> None:
    """$0.00 is exported: a gap in the numbers would have to be explained."""
    workbench.say("invoice.finalized", invoice("inv-1", net=0))
    (made,) = workbench.objects()
    assert (made["DocNumber"], made["TotalAmt"], made["Balance"]) == ("INV-1", 0.0, 0.0)

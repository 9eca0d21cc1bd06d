"""The badge on a document, through real exports: in every state it agrees with links and exceptions."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import event

from services.api.keys import Scope
from services.exceptions import lifecycle
from services.inbound import resolutions
from services.psa import sync_state
from services.psa.sync_state import SyncState
from services.refusals import Refusal
from tests.support.api import Served
from tests.support.exporting import TENANT, applied, credit_note, voided
from tests.support.inbound import InboundBench, payment


def states(bench: InboundBench, *documents: tuple[str, str]) -> list[SyncState]:
    """The badges of documents."""
    with bench.fleet.transaction(TENANT) as connection:
        return sync_state.of(connection, TENANT, documents)


def state(bench: InboundBench, document_id: str = "inv-1", kind: str = "invoice") -> SyncState:
    """The badge of one document."""
    (found,) = states(bench, (kind, document_id))
    return found


def test_a_document_on_its_way_and_there(bench: InboundBench) -> None:
    """Not synced before anybody heard of it, queued while it waits, synced with number, time and its page."""
    assert state(bench).state == "not_synced"
    bench.bill("inv-1", number="1042")
    queued = state(bench)
    assert (queued.state, queued.number, queued.url) == ("queued", "1042", None)
    bench.settle()
    synced = state(bench)
    link = bench.link("invoice", "inv-1")
    assert link is not None
    assert (synced.state, synced.number, synced.exception_id) == ("synced", "1042", None)
    assert synced.url == f"https://app.sandbox.qbo.intuit.com/app/invoice?txnId={link.external_id}"
    assert synced.time is not None
    assert synced.time.utcoffset() is not None


def test_what_waits_for_a_condition_says_which(bench: InboundBench) -> None:
    """With automatic sync off a document is queued, and the badge names why it waits."""
    bench.set("auto_sync", False, "tenant")
    bench.bill("inv-1")
    bench.settle()
    waiting = state(bench)
    assert (waiting.state, waiting.code) == ("queued", "auto_sync")


def test_a_failed_export_is_an_error_with_its_exception_until_it_is_ignored(bench: InboundBench) -> None:
    """The badge leads to the exception; mended it is synced, ignored it is not an error any more."""
    bench.bill("inv-1", client={"id": "cl-9", "name": "Nobody", "tax_exempt": True})
    bench.settle()
    failed = state(bench)
    (open_,) = bench.exceptions()
    assert (failed.state, failed.code, failed.exception_id) == ("error", open_.code, open_.exception_id)
    with bench.fleet.transaction(TENANT) as connection:
        lifecycle.ignore(connection, open_.exception_id, "entered by hand", "controller")
    assert state(bench).state == "not_synced"
    bench.map("customer", "cl-9", "3")
    bench.replay(bench.last("invoice", "inv-1"))
    assert state(bench).state == "synced"


def test_drift_until_it_is_settled(bench: InboundBench) -> None:
    """Changed, voided or deleted in QuickBooks: drift, with its exception, until a person or QuickBooks settles it."""
    first, second = bench.invoice("inv-1"), bench.invoice("inv-2")
    bench.bookkeeper("edit", entity="Invoice", id=first, changes={"DocNumber": "X-1"})
    bench.bookkeeper("void", entity="Invoice", id=second)
    bench.poll()
    drifted = state(bench)
    assert (drifted.state, drifted.code) == ("drift", "doc_number_changed")
    assert drifted.exception_id in {one.exception_id for one in bench.exceptions()}
    assert state(bench, "inv-2").state == "drift"  # so that its actions are offered
    with bench.fleet.transaction(TENANT) as connection:
        resolutions.accept(
            connection, bench.company_id, "invoice", "inv-1", actor="controller", reason="theirs is right"
        )
        resolutions.mark_void(
            connection, bench.company_id, "invoice", "inv-2", actor="controller", reason="it was wrong"
        )
    settled = states(bench, ("invoice", "inv-1"), ("invoice", "inv-2"))
    assert [one.state for one in settled] == ["synced", "voided"]
    assert settled[0].number == "X-1"


def test_voids_follow_billing(bench: InboundBench) -> None:
    """Queued while the void is under way, then voided, with the page of what is left in QuickBooks."""
    bench.invoice("inv-1")
    bench.bill("inv-2")
    bench.say("invoice.voided", voided("inv-2"), settle=False)
    bench.say("invoice.voided", voided("inv-1"), settle=False)
    assert state(bench).state == "queued"
    bench.settle()
    gone, never = states(bench, ("invoice", "inv-1"), ("invoice", "inv-2"))
    assert (gone.state, gone.url is not None) == ("voided", True)
    assert (never.state, never.url) == ("voided", None)  # it never came to QuickBooks


def test_credit_and_money_have_badges_too(bench: InboundBench) -> None:
    """Credit notes, their applications and payments, each with the page of its own kind."""
    bench.invoice("inv-1")
    bench.say("credit_note.finalized", credit_note("cn-1", net=-4000))
    bench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 4000))
    bench.say("payment.recorded", payment("pay-1", 6000, {"inv-1": 6000}))
    found = states(bench, ("credit_note", "cn-1"), ("credit_application", "app-1"), ("payment", "pay-1"))
    assert [one.state for one in found] == ["synced"] * 3
    pages = [str(one.url).split("/app/")[1].split("?")[0] for one in found]
    assert pages == ["creditmemo", "recvpayment", "recvpayment"]
    bench.bookkeeper("delete", entity="Payment", id=bench.external("payment", "pay-1"))
    bench.poll()
    assert state(bench, "pay-1", "payment").state == "voided"


def test_what_is_left_out_on_purpose_says_why(bench: InboundBench) -> None:
    """A prepayment invoice and one from before the cutover are not synced, each with its reason."""
    bench.set("cutover_date", "2026-10-01", "tenant")
    bench.bill("inv-1", type="prepayment")
    bench.bill("inv-2", invoice_date="2026-09-30")
    bench.settle()
    found = states(bench, ("invoice", "inv-1"), ("invoice", "inv-2"))
    assert [(one.state, one.code) for one in found] == [
        ("not_synced", "prepayment"),
        ("not_synced", "before_cutover"),
    ]


def test_five_hundred_badges_are_one_statement(bench: InboundBench) -> None:
    """Bulk asks PostgreSQL once, in the order of the question, in well under a second; more than 500 is refused."""
    for number in range(3):
        bench.invoice(f"inv-{number}")
    asked = [("invoice", f"inv-{number}") for number in range(500)]
    statements: list[str] = []
    with bench.fleet.transaction(TENANT) as connection:
        event.listen(
            connection, "before_cursor_execute", lambda *call: statements.append(call[2])
        )  # the statement
        began = time.perf_counter()
        found = sync_state.of(connection, TENANT, asked)
        took = time.perf_counter() - began
    assert len(statements) == 1
    assert [one.id for one in found] == [id_ for _, id_ in asked]
    assert [one.state for one in found[:4]] == ["synced"] * 3 + ["not_synced"]
    assert took < 1
    with bench.fleet.transaction(TENANT) as connection, pytest.raises(Refusal, match="at most 500"):
        sync_state.of(connection, TENANT, [*asked, ("invoice", "one-more")])


def test_the_api_tells_one_and_many_to_the_tenant_alone(bench: InboundBench, served: Served) -> None:
    """Single and bulk agree; another tenant learns nothing; a bad type and too many are refused by name."""
    bench.invoice("inv/1")  # ids are the PSA's own, whatever is in them
    reader = served.caller(Scope.READ, tenant=TENANT)
    one = reader.get("/v1/documents/invoice/inv/1/sync-state")
    body = {"documents": [{"type": "invoice", "id": "inv/1"}, {"type": "payment", "id": "pay-0"}]}
    many = reader("POST", "/v1/documents/sync-state", json=body)
    assert many.status_code == 200, many.text
    assert many.json()["data"][0] == one
    assert [told["state"] for told in many.json()["data"]] == ["synced", "not_synced"]
    stranger = served.caller(Scope.READ)
    assert stranger.get("/v1/documents/invoice/inv/1/sync-state")["state"] == "not_synced"
    assert reader("GET", "/v1/documents/bill/1/sync-state").status_code == 422
    many_more = {"documents": [{"type": "invoice", "id": str(number)} for number in range(501)]}
    assert reader("POST", "/v1/documents/sync-state", json=many_more).status_code == 422
    assert served.nobody("GET", "/v1/documents/invoice/inv-1/sync-state").status_code == 401

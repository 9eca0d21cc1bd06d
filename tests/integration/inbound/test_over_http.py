"""What an accounting admin's PSA sees and does about the way back, over the API and with the API's own role."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from services.api.keys import Scope
from services.inbound import schedule
from tests.support.api import Caller, Served
from tests.support.exporting import REALM, TENANT
from tests.support.inbound import InboundBench

COMPANY = f"/v1/quickbooks/companies/{REALM}"


@pytest.fixture
def psa(served: Served, bench: InboundBench) -> Caller:
    """The PSA of the bench's tenant."""
    return served.caller(Scope.MANAGE, tenant=TENANT)


def changed(bench: InboundBench, document_id: str = "inv-1", **changes: Any) -> str:
    """An invoice that a bookkeeper edited."""
    qb = bench.invoice(document_id)
    bench.bookkeeper("edit", entity="Invoice", id=qb, changes=changes or {"DueDate": "2026-12-31"})
    bench.poll()
    return qb


def resolve(psa: Caller, resolution: str, document_id: str = "inv-1", **more: Any) -> Any:
    """Ask for a resolution; the answer as it came."""
    body = {
        "kind": "invoice",
        "document_id": document_id,
        "resolution": resolution,
        "reason": "agreed",
        **more,
    }
    return psa("POST", "/v1/drift/resolutions", json=body)


def test_sync_now_reads_at_once_and_its_cycle_says_what_was_seen(psa: Caller, bench: InboundBench) -> None:
    """Asked for over the API, whatever the rest of webhooks; the certificate is listed, newest first."""
    bench.receive("25.00", {})
    asked = psa("POST", f"{COMPANY}/sync")
    assert asked.status_code == 202
    assert bench.open_due() == 1
    bench.settle()
    page = psa.get(f"{COMPANY}/cycles", limit=1)
    (newest,) = page["data"]
    assert newest["number"] == asked.json()["last_cycle"] + 1
    assert (newest["state"], newest["cause"], newest["reads"]) == ("complete", "request", 1)
    assert newest["outcomes"]["new"] == 1
    (older,) = psa.get(f"{COMPANY}/cycles", limit=1, cursor=page["next_cursor"])["data"]
    assert older["number"] == newest["number"] - 1
    assert "sync_asked" in bench.timeline("company", str(bench.company_id))


def test_sync_now_of_a_company_that_is_not_connected_says_so(psa: Caller, bench: InboundBench) -> None:
    """Refused by name instead of a reading that never comes."""
    with bench.fleet.transaction(TENANT) as connection:
        connection.execute(text("UPDATE company SET state = 'disconnected', disconnected_at = now()"))
    answer = psa("POST", f"{COMPANY}/sync")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_connected")


def test_who_asked_learns_which_cycle_answered(bench: InboundBench) -> None:
    """Not one from before, and not the old certificate of a cycle that failed and is tried again."""
    with bench.fleet.transaction(TENANT) as connection:
        since = schedule.ask(connection, bench.company_id, "operator")
        assert schedule.answer(connection, bench.company_id, since) is None
    bench.trouble("fault", entity="cdc", code="2010", fault_type="ValidationFault")
    bench.open_due()
    bench.settle()
    with bench.fleet.transaction(TENANT) as connection:
        refused = schedule.answer(connection, bench.company_id, since)
        assert refused is not None
        assert refused.state == "incomplete"
        again = schedule.ask(connection, bench.company_id, "operator")
    bench.no_more_troubles()
    bench.open_due()
    with bench.fleet.transaction(TENANT) as connection:
        assert schedule.answer(connection, bench.company_id, again) is None
    bench.settle()
    with bench.fleet.transaction(TENANT) as connection:
        answered = schedule.answer(connection, bench.company_id, again)
        assert answered is not None
        assert answered.state == "complete"
        assert answered.number == refused.number
        assert answered.finished_at is not None
        assert answered.finished_at - again < timedelta(minutes=1)


def test_payments_are_listed_and_counted_with_what_became_of_them(psa: Caller, bench: InboundBench) -> None:
    """Told, held and ignored ones by page; the counts leave nothing out."""
    qb = bench.invoice("inv-1")
    told = bench.receive("40.00", {qb: "40.00"})
    held = bench.receive("50.00", {bench.native(50.0): "50.00"})
    bench.receive("60.00", {}, customer="1")
    bench.poll()
    first = psa.get(f"{COMPANY}/payments", limit=1)
    rest = psa.get(f"{COMPANY}/payments", limit=5, cursor=first["next_cursor"])
    rows = first["data"] + rest["data"]
    assert {(row["external_id"], row["state"], row["code"]) for row in rows} == {
        (told, "told", None),
        (held, "held", "unlinked_invoice"),
    }
    assert psa.get(f"{COMPANY}/payments/counts")["counts"] == {
        "told": {"": 1},
        "held": {"unlinked_invoice": 1},
        "ignored": {"unlinked_customer": 1},
    }
    (balance,) = psa.get("/v1/balances", invoice_id=["inv-1", "nobody's"])["data"]
    assert (balance["total"], balance["settled"], balance["due"]) == (10000, 4000, 6000)
    assert [part["source"] for part in balance["parts"]] == ["quickbooks_payment"]


def test_drift_is_listed_with_both_versions(psa: Caller, bench: InboundBench) -> None:
    """Page by page; a document's versions as QuickBooks writes them; closed ones when asked for."""
    changed(bench, "inv-1")
    changed(bench, "inv-2")
    first = psa.get("/v1/drift", limit=1)
    rest = psa.get("/v1/drift", limit=1, cursor=first["next_cursor"])
    assert [row["document_id"] for row in first["data"] + rest["data"]] == ["inv-1", "inv-2"]
    assert first["data"][0]["differences"][0]["field"] == "due date"
    versions = psa.get("/v1/drift/versions", kind="invoice", document_id="inv-1")
    assert (versions["agreed"]["DueDate"], versions["observed"]["DueDate"]) == ("2026-11-30", "2026-12-31")
    assert resolve(psa, "accept").status_code == 200
    assert [row["document_id"] for row in psa.get("/v1/drift")["data"]] == ["inv-2"]
    assert len(psa.get("/v1/drift", state=["open", "closed"])["data"]) == 2


def test_billing_s_version_goes_back_on_request(psa: Caller, bench: InboundBench) -> None:
    """Re-export names its operation; once, however often the request is repeated under its key."""
    qb = changed(bench)
    key = {"Idempotency-Key": "once"}
    body = {"kind": "invoice", "document_id": "inv-1", "resolution": "re_export", "reason": "by mistake"}
    answers = [psa("POST", "/v1/drift/resolutions", json=body, headers=key).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["operation_id"]
    bench.settle()
    assert bench.object("Invoice", qb)["DueDate"] == "2026-11-30"
    bench.poll()
    assert bench.exceptions() == []


def test_void_and_recreate_over_the_api(psa: Caller, bench: InboundBench) -> None:
    """Voided in QuickBooks: one is marked void, the other exported anew; neither can be accepted."""
    first, second = bench.invoice("inv-1"), bench.invoice("inv-2")
    for qb in (first, second):
        bench.bookkeeper("void", entity="Invoice", id=qb)
    bench.poll()
    assert resolve(psa, "accept").json()["code"] == "not_there"
    assert resolve(psa, "mark_void").status_code == 200
    assert resolve(psa, "recreate", "inv-2").status_code == 200
    bench.settle()
    link = bench.link("invoice", "inv-2")
    assert link is not None
    assert link.external_id != second
    assert bench.exceptions() == []


def test_ignored_differences_ask_no_more_and_new_ones_do(psa: Caller, bench: InboundBench) -> None:
    """The same difference stays silent, with its reason; another one is asked about."""
    qb = changed(bench)
    assert resolve(psa, "ignore", reason="only the date").status_code == 200
    (ignored,) = bench.exceptions("ignored")
    assert ignored.resolution == "only the date"
    bench.bookkeeper("edit", entity="Invoice", id=qb, changes={"PrivateNote": "called them"})
    bench.poll()
    assert bench.exceptions() == []
    bench.bookkeeper("edit", entity="Invoice", id=qb, changes={"DocNumber": "X-9"})
    bench.poll()
    assert len(bench.exceptions()) == 1


@pytest.mark.parametrize(
    ("document_id", "changes", "status", "code"),
    [
        ("inv-9", {}, 404, "not_found"),
        ("inv-1", {"reason": " "}, 422, None),
        ("inv-1", {"resolution": "forget"}, 422, None),
    ],
)
def test_what_cannot_be_resolved_is_refused_and_changes_nothing(
    psa: Caller, bench: InboundBench, document_id: str, changes: dict[str, str], status: int, code: str | None
) -> None:
    """An unknown document, no reason, no such resolution."""
    changed(bench)
    answer = resolve(psa, changes.pop("resolution", "accept"), document_id, **changes)
    assert answer.status_code == status, answer.text
    assert code is None or answer.json()["code"] == code
    assert len(bench.exceptions()) == 1

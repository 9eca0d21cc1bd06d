"""Cutover and companies: what is older than us is left alone, and each document belongs to one set of books."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from services.ledger import waits
from tests.support.exporting import REALM, TENANT, Workbench, applied, credit_note, invoice, payment, voided
from tests.support.ledger import company

OTHER = "9341450000000099"


def other_company(workbench: Workbench) -> UUID:
    """A second connected company of the tenant, which is not its default."""
    with workbench.fleet.transaction(TENANT) as connection:
        return company(connection, TENANT, default=False, realm=OTHER)


@pytest.mark.parametrize(
    ("event", "kind", "data"),
    [
        ("invoice.finalized", "invoice", invoice("d-1")),
        ("credit_note.finalized", "credit_note", credit_note("d-1")),
    ],
)
def test_the_cutover_judges_invoices_and_credit_notes_by_their_date(
    workbench: Workbench, event: str, kind: str, data: dict[str, Any]
) -> None:
    """Dated before it they are skipped, on it they go; wall clock and finalization do not matter."""
    workbench.set("cutover_date", "2026-11-01")
    workbench.say(event, data)
    assert workbench.outcome(kind, "d-1") == ("skipped", "before_cutover")
    workbench.say(event, data | {"id": "d-2", "number": "D-2", "invoice_date": "2026-11-01"})
    assert workbench.outcome(kind, "d-2") == ("succeeded", None)


def linked(workbench: Workbench, document_id: str) -> str:
    """An invoice of the bookkeeper's, linked to ours in the wizard's history step."""
    body = {
        "DocNumber": document_id.upper(),
        "CustomerRef": {"value": "2"},
        "TxnDate": "2026-10-31",
        "Line": [
            {
                "DetailType": "SalesItemLineDetail",
                "Amount": 135,
                "SalesItemLineDetail": {"ItemRef": {"value": "3"}},
            }
        ],
    }
    made = workbench.bookkeeper("create", entity="Invoice", body=body)
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(
            text(
                """INSERT INTO link (tenant_id, company_id, kind, document_id, external_type, external_id, sync_token,
                                     number, total, snapshot, linked_via)
                   VALUES (:t, :c, 'invoice', :id, 'Invoice', :external, :token, :number, 135,
                           CAST(:raw AS jsonb), 'onboarding')"""
            ),
            {
                "t": TENANT,
                "c": workbench.company_id,
                "id": document_id,
                "external": made["Id"],
                "token": made["SyncToken"],
                "number": made["DocNumber"],
                "raw": json.dumps(made),
            },
        )
        waits.release_all(connection, TENANT, [waits.link_condition("invoice", document_id)])
    return str(made["Id"])


def test_payments_credits_and_voids_follow_the_link(workbench: Workbench) -> None:
    """An old invoice that the wizard linked is paid, credited and voided like any other."""
    workbench.set("cutover_date", "2026-11-01")
    for number in ("1", "2"):
        workbench.say("invoice.finalized", invoice(f"old-{number}"))
    first, second = linked(workbench, "old-1"), linked(workbench, "old-2")
    workbench.say("credit_note.finalized", credit_note("cn-1", invoice_date="2026-11-01"))
    workbench.say("payment.recorded", payment("pay-1", ("old-1", 10000)))
    workbench.say("credit.applied", applied("app-1", "cn-1", "old-1", 3500))
    assert workbench.object("Invoice", first)["Balance"] == 0.0
    workbench.say("invoice.voided", voided("old-2"))
    assert workbench.object("Invoice", second)["TotalAmt"] == 0.0


def test_unlinked_old_ones_make_one_groupable_cause_and_go_after_linking(workbench: Workbench) -> None:
    """Payment, credit and void of what nobody linked: one cause; linked, a retry carries them out."""
    workbench.set("cutover_date", "2026-11-01")
    for number in ("1", "2", "3"):
        workbench.say("invoice.finalized", invoice(f"old-{number}"))
    workbench.say("credit_note.finalized", credit_note("cn-1", invoice_date="2026-11-01"))
    workbench.say("payment.recorded", payment("pay-1", ("old-1", 10000)))
    workbench.say("credit.applied", applied("app-1", "cn-1", "old-2", 3500))
    workbench.say("invoice.voided", voided("old-3"))
    assert [row.code for row in workbench.exceptions()] == ["unlinked_before_cutover"] * 3
    assert len({row.cause for row in workbench.exceptions()}) == 1
    for number in ("1", "2", "3"):
        linked(workbench, f"old-{number}")
    for kind, document_id in [("payment", "pay-1"), ("credit_application", "app-1"), ("invoice", "old-3")]:
        workbench.replay(workbench.last(kind, document_id))
    assert workbench.exceptions() == []


def test_an_unknown_target_waits_and_never_falls_back(workbench: Workbench) -> None:
    """The document names a company that is not connected: it waits for that one."""
    workbench.say("invoice.finalized", invoice("inv-1", target_company=OTHER))
    waiting = workbench.last("invoice", "inv-1")
    assert (waiting.state, waiting.company_id) == ("waiting", None)
    assert OTHER in (waiting.reason or ""), "it says which one"
    company_id = other_company(workbench)
    with workbench.fleet.transaction(TENANT) as connection:
        waits.release(connection, TENANT, "company", f"realm:{OTHER}", company_id=company_id)
    assert workbench.last("invoice", "inv-1").company_id == company_id
    assert workbench.objects() == []


def test_a_client_has_a_company_of_its_own(workbench: Workbench) -> None:
    """The client's setting beats the tenant's default, the document's target beats both."""
    company_id = other_company(workbench)
    workbench.set("company", str(company_id), "client:cl-1")
    workbench.say("invoice.finalized", invoice("inv-1"), settle=False)
    workbench.say("invoice.finalized", invoice("inv-2", target_company=REALM), settle=False)
    assert workbench.last("invoice", "inv-1").company_id == company_id
    assert workbench.last("invoice", "inv-2").company_id == workbench.company_id


def test_what_follows_a_document_follows_it_to_its_company(workbench: Workbench) -> None:
    """After the default moved on, corrections, payments and voids of an old document stay with its books."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    company_id = other_company(workbench)
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(text("UPDATE company SET is_default = false"))
        connection.execute(
            text("UPDATE company SET is_default = true WHERE company_id = :c"), {"c": company_id}
        )
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 100)))
    assert workbench.last("payment", "pay-1").company_id == workbench.company_id
    workbench.say("invoice.due_date_changed", DUE)
    assert workbench.objects()[0]["DueDate"] == "2026-12-24"
    assert workbench.reads == 1, "the payment moved the invoice's token"
    workbench.say("invoice.finalized", invoice("inv-2"), settle=False)
    assert workbench.last("invoice", "inv-2").company_id == company_id


DUE = {"id": "inv-1", "date": "2026-12-24", "reason": "asked for time", "actor": {"type": "system"}}


def test_a_correction_does_not_make_a_second_invoice_in_another_company(workbench: Workbench) -> None:
    """One sale never stands in two books: an exception says where it is."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    other_company(workbench)
    workbench.say("invoice.corrected", invoice("inv-1", net=100, target_company=OTHER), settle=False)
    workbench.run(workbench.last("invoice", "inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("failed", "in_other_company")
    assert workbench.objects()[0]["TotalAmt"] == 135.0


def test_a_due_date_change_before_the_export_goes_with_it(workbench: Workbench) -> None:
    """The export carries the new date; nothing is left to change after it."""
    workbench.say("invoice.finalized", invoice("inv-1"), settle=False)
    workbench.say("invoice.due_date_changed", DUE)
    assert workbench.objects()[0]["DueDate"] == "2026-12-24"
    assert [(one.state, one.reason_code) for one in workbench.operations("inv-1")] == [
        ("succeeded", None),
        ("skipped", "nothing_changed"),
    ]


def test_a_due_date_change_touches_nothing_else_of_a_linked_invoice(workbench: Workbench) -> None:
    """An invoice of the bookkeeper's, with lines and notes of its own: only the date is another."""
    linked(workbench, "inv-1")
    (before,) = workbench.objects()
    workbench.say("invoice.due_date_changed", DUE)
    (after,) = workbench.objects()
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed - {"MetaData"} == {"DueDate", "SyncToken"}
    workbench.say("invoice.due_date_changed", DUE | {"id": "inv-9"})
    assert workbench.outcome("invoice", "inv-9") == ("failed", "unlinked_before_cutover")

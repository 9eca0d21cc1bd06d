"""Invoices handed over as CSV for QuickBooks' own import: the file, and that nothing of it is exported again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from services.api.keys import Scope
from services.ledger import links, waits
from services.ledger.links import Link
from services.outbound import csv_files, csv_handover
from services.outbound.csv_files import Handover, Selection
from services.refusals import Refusal
from tests.support.api import Served, served
from tests.support.command import RunCli
from tests.support.exporting import TENANT, Workbench, credit_note, invoice, payment, voided

__all__ = ["served"]

OCTOBER = Selection(date(2026, 10, 1), date(2026, 10, 31))


def hand_over(workbench: Workbench, selection: Selection = OCTOBER) -> Handover:
    """As the command does."""
    with workbench.fleet.transaction(TENANT) as connection:
        return csv_handover.hand_over(connection, TENANT, selection, actor="controller")


def table(content: str) -> list[dict[str, str]]:
    """A file as an importer reads it."""
    return list(csv.DictReader(io.StringIO(content, newline="")))


def disconnect(workbench: Workbench) -> None:
    """The company is not connected any more."""
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(text("UPDATE company SET state = 'disconnected', disconnected_at = now()"))


def name(workbench: Workbench, **names: str) -> None:
    """What QuickBooks calls what is mapped."""
    with workbench.fleet.transaction(TENANT) as connection:
        for kind, called in names.items():
            connection.execute(
                text("UPDATE mapping SET external_name = :name WHERE kind = :kind"),
                {"name": called, "kind": kind},
            )


def imported(workbench: Workbench, document_id: str) -> str:
    """The bookkeeper imported the file and the wizard found the invoice; returns its id in QuickBooks."""
    line = {
        "DetailType": "SalesItemLineDetail",
        "Amount": 135,
        "SalesItemLineDetail": {"ItemRef": {"value": "3"}, "Qty": 3, "UnitPrice": 45},
    }
    body = {
        "CustomerRef": {"value": "2"},
        "TxnDate": "2026-10-31",
        "DocNumber": document_id.upper(),
        "Line": [line],
    }
    there = workbench.bookkeeper("create", entity="Invoice", body=body)
    found = workbench.object("Invoice", str(there["Id"]))
    with workbench.fleet.transaction(TENANT) as connection:
        links.put(
            connection,
            Link(
                tenant_id=TENANT,
                company_id=workbench.company_id,
                kind="invoice",
                document_id=document_id,
                external_type="Invoice",
                external_id=found["Id"],
                sync_token=found["SyncToken"],
                number=found["DocNumber"],
                total=found["TotalAmt"],
                currency="USD",
                state="synced",
                snapshot=found,
                linked_via="onboarding",
            ),
        )
        waits.release_all(connection, TENANT, [waits.link_condition("invoice", document_id)])
    return str(found["Id"])


def test_the_file_has_quickbooks_columns(workbench: Workbench) -> None:
    """Columns and formats of the PSA's own export; names as in QuickBooks where they are mapped."""
    name(workbench, customer="Cool Cars Inc", item="Managed Services")
    workbench.set("auto_sync", False, "tenant")
    workbench.say("invoice.finalized", invoice("inv-1", po_number="PO 7", terms="net_15"))
    made = hand_over(workbench)
    (file,) = made.files
    assert (file.invoices, file.rows, file.company_id) == (1, 1, workbench.company_id)
    assert file.name.startswith("quickbooks-invoices-20")
    assert file.content.endswith("\r\n")
    (row,) = table(file.content)
    assert row == {
        "*InvoiceNo": "INV-1",
        "*Customer": "Cool Cars Inc",
        "*InvoiceDate": "10/31/2026",
        "*DueDate": "11/30/2026",
        "*Item": "Managed Services",
        "ItemDescription": "Managed workstation",
        "*ItemQuantity": "3",
        "*ItemRate": "45.0",
        "*ItemAmount": "135.00",
        "Terms": "net_15",
        "Memo": "AlgaPSA: inv-1 | PO PO 7",
        "TaxCode": "",
        "TaxAmount": "0.00",
    }
    assert [(one.kind, one.key, one.name) for one in made.missing] == [("term", "net_15", "net_15")]


def test_it_works_without_connection_and_mappings(workbench: Workbench) -> None:
    """Never connected at all: billing's own names stand in the file, and it says which are missing."""
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(text("SET LOCAL ROLE NONE"))
        for gone in ("mapping", "company_limiter", "company"):
            connection.execute(text(f"DELETE FROM {gone}"))
    workbench.say("invoice.finalized", invoice("inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("waiting", "no_company")
    made = hand_over(workbench)
    (row,) = table(made.files[0].content)
    assert (row["*Customer"], row["*Item"]) == ("Cool Cars", "svc")
    assert {one.kind for one in made.missing} == {"customer", "item", "term"}


def test_names_are_known_after_a_disconnect(workbench: Workbench) -> None:
    """The company is gone, what was mapped is not."""
    name(workbench, customer="Cool Cars Inc")
    disconnect(workbench)
    workbench.say("invoice.finalized", invoice("inv-1"))
    (row,) = table(hand_over(workbench).files[0].content)
    assert row["*Customer"] == "Cool Cars Inc"


def test_handed_over_is_never_exported_and_linked_after_the_import(workbench: Workbench) -> None:
    """Held while the connection is away and after it is back; found in QuickBooks, what followed goes on."""
    disconnect(workbench)
    workbench.say("invoice.finalized", invoice("inv-1"))
    hand_over(workbench)
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(text("UPDATE company SET state = 'active', disconnected_at = NULL"))
        waits.release(connection, TENANT, "company", "default", company_id=workbench.company_id)
        waits.release(connection, TENANT, "company", str(workbench.company_id))
    workbench.settle()
    assert workbench.outcome("invoice", "inv-1") == ("waiting", "csv")
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    assert workbench.outcome("payment", "pay-1") == ("waiting", "link")
    assert workbench.objects("Invoice") == []
    assert workbench.timeline("invoice", "inv-1").count("handed_over_csv") == 1
    id_ = imported(workbench, "inv-1")
    workbench.settle()
    assert [one["Id"] for one in workbench.objects("Invoice")] == [id_]
    assert workbench.outcome("payment", "pay-1") == ("succeeded", None)


def test_a_void_of_what_was_handed_over_waits_for_the_import(workbench: Workbench) -> None:
    """It may stand in QuickBooks by now: saying that there is nothing to void would be wrong."""
    workbench.set("auto_sync", False, "tenant")
    workbench.say("invoice.finalized", invoice("inv-1"))
    hand_over(workbench)
    workbench.say("invoice.voided", voided("inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("waiting", "csv")
    id_ = imported(workbench, "inv-1")
    workbench.settle()
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert workbench.object("Invoice", id_)["TotalAmt"] == 0.0


def test_a_correction_of_what_was_handed_over_is_held_too(workbench: Workbench) -> None:
    """A later revision takes the place of the one that waited, and not the way around the file."""
    workbench.set("auto_sync", False, "tenant")
    workbench.say("invoice.finalized", invoice("inv-1"))
    hand_over(workbench)
    workbench.set("auto_sync", True, "tenant")
    workbench.say("invoice.corrected", invoice("inv-1", net=9000))
    assert [one.state for one in workbench.operations("inv-1")] == ["skipped", "waiting"]
    assert workbench.objects("Invoice") == []


def test_taken_back_it_is_exported(workbench: Workbench) -> None:
    """The file was not imported after all: with a reason, for some or all, and it goes like any other."""
    for document_id in ("inv-1", "inv-2"):
        workbench.set("auto_sync", False, "tenant")
        workbench.say("invoice.finalized", invoice(document_id))
    made = hand_over(workbench)
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(text("UPDATE setting SET value = 'true' WHERE name = 'auto_sync'"))
        waits.release(connection, TENANT, "auto_sync", "tenant")
    workbench.settle()
    assert {one.reason_code for one in workbench.operations()} == {"csv"}
    assert made.handover_id is not None
    assert take_back(workbench, made.handover_id, ["INV-2"]) == 1
    workbench.settle()
    assert [one["DocNumber"] for one in workbench.objects("Invoice")] == ["INV-2"]
    assert take_back(workbench, made.handover_id, []) == 1
    workbench.settle()
    assert len(workbench.objects("Invoice")) == 2
    with pytest.raises(Refusal) as refused:
        take_back(workbench, made.handover_id, [])
    assert refused.value.code == "nothing_to_take_back"


def take_back(workbench: Workbench, handover_id: UUID, named: Sequence[str]) -> int:
    """As the command does."""
    with workbench.fleet.transaction(TENANT) as connection:
        return csv_handover.take_back(
            connection, TENANT, handover_id, named, actor="controller", reason="not imported"
        )


def test_what_failed_waits_like_the_others(workbench: Workbench) -> None:
    """No mapping, so no export: handed over, its exception is settled, and setting the mapping does not send it."""
    data = invoice("inv-1", client={"id": "new", "name": "New", "tax_exempt": True})
    workbench.say("invoice.finalized", data)
    assert workbench.outcome("invoice", "inv-1") == ("failed", "missing_customer_mapping")
    hand_over(workbench)
    workbench.settle()
    assert workbench.outcome("invoice", "inv-1") == ("waiting", "csv")
    assert workbench.exceptions() == []


def test_what_is_left_out_says_why(workbench: Workbench) -> None:
    """In QuickBooks already, prepaid, voided, or handed over before."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.set("auto_sync", False, "tenant")
    workbench.say("invoice.finalized", invoice("inv-2", type="prepayment"))
    workbench.say("invoice.finalized", invoice("inv-3"))
    workbench.say("invoice.voided", voided("inv-3"))
    workbench.say("invoice.finalized", invoice("inv-4"))
    hand_over(workbench, Selection(named=["INV-4"]))
    workbench.say("invoice.finalized", invoice("inv-5"))
    made = hand_over(workbench)
    assert made.invoices == 1
    said = {one.document_id: one.why for one in made.left_out}
    assert [said[id_].split(";")[0].split(",")[0] for id_ in sorted(said)] == [
        "it is in QuickBooks already",
        "a prepayment invoice is not exported",
        "it is voided",
        "it was handed over before",
    ]


def test_credit_notes_are_a_list_to_enter(workbench: Workbench) -> None:
    """In a file of their own, with all that a credit memo needs, positive; and held like what is imported."""
    name(workbench, customer="Cool Cars Inc", item="Managed Services")
    workbench.set("auto_sync", False, "tenant")
    workbench.say("credit_note.finalized", credit_note("cn-1", credits_invoice="inv-1"))
    workbench.say("invoice.finalized", invoice("inv-1"))
    made = hand_over(workbench)
    assert (made.invoices, made.credit_notes) == (1, 1)
    imports, enter = made.files
    assert (imports.kind, enter.kind, enter.invoices) == ("invoice", "credit_note", 1)
    assert enter.name.startswith("credit-notes-to-enter-20")
    (row,) = table(enter.content)
    assert row == {
        "CreditNoteNo": "CN-1",
        "Customer": "Cool Cars Inc",
        "CreditNoteDate": "10/31/2026",
        "Item": "Managed Services",
        "ItemDescription": row["ItemDescription"],
        "ItemQuantity": row["ItemQuantity"],
        "ItemRate": row["ItemRate"],
        "ItemAmount": "80.00",
        "TaxCode": "",
        "TaxAmount": "0.00",
        "Total": "80.00",
        "Reason": "service was down",
        "CreditsInvoiceNo": "INV-1",
        "Memo": "AlgaPSA: cn-1",
    }
    assert round(float(row["ItemQuantity"]) * float(row["ItemRate"]), 2) == 80
    with workbench.fleet.transaction(TENANT) as connection:
        (past,) = csv_handover.listed(connection, TENANT)
    assert [(file.kind, file.invoices) for file in past.files] == [("invoice", 1), ("credit_note", 1)]
    assert past.standing == 2


def test_a_credit_note_that_was_handed_over_is_not_exported_as_well(workbench: Workbench) -> None:
    """Its failed export waits, and so does a void, until it is found in QuickBooks or taken back."""
    note = credit_note("cn-1", client={"id": "new", "name": "New", "tax_exempt": True})
    workbench.say("credit_note.finalized", note)
    assert workbench.outcome("credit_note", "cn-1") == ("failed", "missing_customer_mapping")
    made = hand_over(workbench)
    workbench.map("customer", "new", "2")
    workbench.settle()
    assert workbench.outcome("credit_note", "cn-1") == ("waiting", "csv")
    assert (workbench.exceptions(), workbench.objects("CreditMemo")) == ([], [])
    assert workbench.timeline("credit_note", "cn-1").count("handed_over_csv") == 1
    assert made.handover_id is not None
    assert take_back(workbench, made.handover_id, ["CN-1"]) == 1
    workbench.settle()
    assert workbench.outcome("credit_note", "cn-1") == ("succeeded", None)
    workbench.say("credit_note.finalized", credit_note("cn-2"), settle=False)
    hand_over(workbench, Selection(named=["CN-2"]))
    workbench.say("credit_note.voided", voided("cn-2"))
    assert workbench.outcome("credit_note", "cn-2") == ("waiting", "csv")
    assert len(workbench.objects("CreditMemo")) == 1


def test_what_may_be_on_its_way_is_left_out(workbench: Workbench) -> None:
    """An answer was lost: whether it is in QuickBooks is not known, so no file carries it as well."""
    workbench.bill("inv-1")
    workbench.trouble("cut_after", entity="invoice", times=1)
    operation = workbench.last("invoice", "inv-1")
    workbench.run(operation)
    with pytest.raises(Refusal) as refused:
        hand_over(workbench)
    assert (refused.value.code, "under way" in refused.value.sentence) == ("nothing_to_hand_over", True)
    workbench.settle()
    assert len(workbench.objects("Invoice")) == 1


def test_files_are_as_large_as_quickbooks_takes(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file for each currency, so many invoices and rows at most, and no invoice is split."""
    monkeypatch.setattr(csv_files, "PER_FILE", 2)
    workbench.set("auto_sync", False, "tenant")
    for number in range(3):
        workbench.say("invoice.finalized", invoice(f"inv-{number}"))
    workbench.say("invoice.finalized", invoice("eur-1", currency="EUR"))
    made = hand_over(workbench)
    assert [file.invoices for file in made.files] == [1, 2, 1]
    assert len({file.name for file in made.files}) == 3
    assert ["EUR" in file.name for file in made.files] == [True, False, False]


@pytest.mark.parametrize(
    ("selection", "field"),
    [
        (Selection(), "from"),
        (Selection(date(2026, 11, 1), date(2026, 10, 1)), "to"),
        (Selection(named=["INV-404"]), "invoices"),
    ],
)
def test_wrong_selections_are_refused_by_field(
    workbench: Workbench, selection: Selection, field: str
) -> None:
    """And nothing is handed over."""
    with pytest.raises(Refusal) as refused:
        hand_over(workbench, selection)
    assert refused.value.field == field


def test_by_the_api(served: Served, workbench: Workbench) -> None:
    """A dry run holds nothing; a repeated request hands over once; the file downloads as text."""
    workbench.set("auto_sync", False, "tenant")
    workbench.say("invoice.finalized", invoice("inv-1"))
    reader = served.caller(Scope.READ, tenant=TENANT)
    manager = served.caller(Scope.MANAGE, tenant=TENANT)
    wanted = {"from": "2026-10-01", "to": "2026-10-31"}
    assert reader("POST", "/v1/csv-exports", json=wanted).status_code == 403
    dry = manager("POST", "/v1/csv-exports", json=wanted | {"dry_run": True}).json()
    assert (dry["handover_id"], dry["invoices"]) == (None, 1)
    assert reader.get("/v1/csv-exports")["data"] == []
    headers = {"Idempotency-Key": "k"}
    first, second = (
        manager("POST", "/v1/csv-exports", json=wanted, headers=headers).json() for _ in range(2)
    )
    assert first == second
    (told,) = reader.get("/v1/csv-exports")["data"]
    assert (told["handover_id"], told["standing"]) == (first["handover_id"], 1)
    address = f"/v1/csv-exports/{first['handover_id']}"
    file = reader("GET", f"{address}/files/1")
    assert file.headers["Content-Type"].startswith("text/csv")
    assert file.headers["Content-Disposition"] == f'attachment; filename="{first["files"][0]["name"]}"'
    assert table(file.text)[0]["*InvoiceNo"] == "INV-1"
    assert reader("GET", f"{address}/files/2").status_code == 404
    assert manager("POST", f"{address}/take-back", json={"reason": "x"}).json() == {"taken_back": 1}
    assert manager("POST", "/v1/csv-exports", json={"from": "2026-13-01"}).status_code == 422


def test_by_the_command_line(
    workbench: Workbench, database_url: str, run_cli: RunCli, tmp_path: Path
) -> None:
    """Files are written once, never over others; earlier ones can be written again and taken back."""
    env = {"DATABASE_URL": database_url, "ALGASYNC_TENANT": TENANT}
    workbench.set("auto_sync", False, "tenant")
    workbench.say("invoice.finalized", invoice("inv-1"))
    period = ("--from", "2026-10-01", "--to", "2026-10-31")
    dry = run_cli("csv", "export", *period, "--dry-run", "--json", env=env)
    assert json.loads(dry.stdout)["invoices"] == 1, dry.stderr
    folder = tmp_path / "out"
    done = run_cli("csv", "export", *period, "--folder", str(folder), "--json", env=env)
    made: dict[str, Any] = json.loads(done.stdout)
    (written,) = folder.iterdir()
    assert (written.name, "content" in made["files"][0]) == (made["files"][0]["name"], False)
    assert table(written.read_text(encoding="utf-8"))[0]["*InvoiceNo"] == "INV-1"
    again = run_cli("csv", "files", made["handover_id"], "--folder", str(folder), env=env)
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
    other = run_cli("csv", "files", made["handover_id"], "--folder", str(tmp_path / "b"), env=env)
    assert other.returncode == 0, other.stderr
    assert (tmp_path / "b" / written.name).read_bytes() == written.read_bytes()
    refused = run_cli("csv", "take-back", made["handover_id"], env=env)
    assert (refused.returncode, "--reason" in refused.stderr) == (2, True)
    back = run_cli("csv", "take-back", made["handover_id"], "--reason", "not imported", "--json", env=env)
    assert json.loads(back.stdout) == {"taken_back": 1}

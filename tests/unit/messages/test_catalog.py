"""The catalog lists exactly the events of the contract."""

from __future__ import annotations

from messages import CATALOG, entry_of, lookup

BILLING = {
    "invoice.finalized.v1": "invoice",
    "invoice.corrected.v1": "invoice",
    "invoice.tax_requested.v1": "invoice",
    "invoice.voided.v1": "invoice",
    "invoice.written_off.v1": "invoice",
    "invoice.due_date_changed.v1": "invoice",
    "credit_note.finalized.v1": "credit_note",
    "credit_note.voided.v1": "credit_note",
    "credit.applied.v1": "credit_application",
    "credit.unapplied.v1": "credit_application",
    "credit.expired.v1": "credit",
    "payment.recorded.v1": "payment",
    "payment.reallocated.v1": "payment",
    "payment.reversed.v1": "payment",
    "payment.refunded.v1": "refund",
    "client.updated.v1": "client",
}
ACCOUNTING = {
    "document.synced.v1",
    "document.drifted.v1",
    "document.tax_computed.v1",
    "payment.received.v1",
    "payment.changed.v1",
    "payment.withdrawn.v1",
    "credit.applied_in_quickbooks.v1",
    "credit.withdrawn_in_quickbooks.v1",
    "exception.opened.v1",
    "exception.resolved.v1",
    "connection.attention_needed.v1",
    "connection.restored.v1",
}


def test_the_contract_is_complete() -> None:
    """Every event of the contract is there under its type name, and no other."""
    assert set(CATALOG) == {f"com.algapsa.billing.{key}" for key in BILLING} | {
        f"com.algapsa.accounting.{key}" for key in ACCOUNTING
    }


def test_kinds_of_billing_events() -> None:
    """The ledger files each event under the kind of its document."""
    assert {entry.routing_key: entry.kind for entry in CATALOG.values() if entry.room == "billing"} == BILLING


def test_names_and_models_find_the_same_entry() -> None:
    """An entry is found by its name when reading and by its model when making."""
    for name, entry in CATALOG.items():
        assert lookup(name) is entry
        assert entry_of(entry.model.model_construct()) is entry

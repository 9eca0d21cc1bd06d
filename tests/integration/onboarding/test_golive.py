"""Going live: what waited is counted and decided, the dry run tells the truth, a run can be taken back."""

from __future__ import annotations

import datetime

import pytest

from services.mapping import mappings, settings
from services.onboarding import golive, history, runs, undo
from services.outbound.handlers import HANDLERS
from services.refusals import Refusal
from tests.integration.onboarding.conftest import ACTOR, Wizard, nothing_released
from tests.support.exporting import TENANT, invoice
from tests.support.ledger import setting

CUTOVER = datetime.date(2026, 11, 1)


@pytest.fixture
def held(wizard: Wizard) -> Wizard:
    """Four invoices that wait because automatic sync is off: one old, one without customer, two fine."""
    with wizard.bench.fleet.transaction(TENANT) as connection:
        setting(connection, TENANT, "auto_sync", False)
    wizard.bench.bill("old", number="G-1", invoice_date="2026-10-31")
    for number, document in ((2, "new"), (3, "newer")):
        wizard.bench.bill(document, number=f"G-{number}", invoice_date="2026-11-01", due_date="2026-12-01")
    stranger = {"id": "cl-9", "name": "Stranger", "tax_exempt": True}
    data = invoice("ask", number="G-4", invoice_date="2026-11-02", due_date="2026-12-02", client=stranger)
    wizard.bench.say("invoice.finalized", data)
    return wizard


def test_dry_run_says_what_the_first_sync_then_does(held: Wizard) -> None:
    """Count and sum by side of the cutover; each document's fate from the exporter itself, and it comes true."""
    bench = held.bench
    run = held.start()
    with bench.fleet.transaction(TENANT) as connection:
        waiting = golive.waiting(connection, run, HANDLERS, CUTOVER)
        steps = golive.dry_run(connection, run, HANDLERS, CUTOVER)
    assert [(one.before_cutover, one.documents, one.total) for one in waiting] == [
        (False, 3, 40500),
        (True, 1, 13500),
    ]
    assert {step.document_id: (step.would, step.code) for step in steps} == {
        "old": ("skip", "before_cutover"),
        "new": ("send", ""),
        "newer": ("send", ""),
        "ask": ("ask", "missing_customer_mapping"),
    }
    with bench.fleet.transaction(TENANT) as connection:
        assert settings.resolve(connection, TENANT, company_id=bench.company_id).cutover_date is None
    golive.go_live(bench.fleet, run, HANDLERS, cutover=CUTOVER, decision="export", actor=ACTOR)
    bench.settle()
    assert bench.outcome("invoice", "old") == ("skipped", "before_cutover")
    assert bench.outcome("invoice", "new")[0] == "succeeded"
    assert bench.outcome("invoice", "ask")[0] == "failed"
    numbers = [one["DocNumber"] for one in bench.objects() if one.get("DocNumber", "").startswith("G-")]
    assert sorted(numbers) == ["G-2", "G-3"]


def test_what_waited_can_be_marked_as_handled(held: Wizard) -> None:
    """Marked as handled it ends as skipped with that word, and later invoices are exported."""
    bench, run = held.bench, held.start()
    done = golive.go_live(bench.fleet, run, HANDLERS, cutover=CUTOVER, decision="handled", actor=ACTOR)
    assert done == 4
    bench.bill("after", number="G-9", invoice_date="2026-11-03", due_date="2026-12-03")
    bench.settle()
    assert bench.outcome("invoice", "new") == ("skipped", "handled")
    assert [one["DocNumber"] for one in bench.objects() if one.get("DocNumber", "").startswith("G-")] == [
        "G-9"
    ]
    with pytest.raises(Refusal, match="finished"):
        golive.go_live(bench.fleet, run, HANDLERS, cutover=CUTOVER, decision="handled", actor=ACTOR)


def test_undo_takes_a_run_back_and_leaves_what_others_changed(wizard: Wizard) -> None:
    """Links, mappings and settings of a run go back as they were; what somebody changed since stays and is named."""
    bench = wizard.bench
    one, two = wizard.enter("Customer", {"DisplayName": "Kept Co"}, {"DisplayName": "Gone Co"})
    wizard.enter("Invoice", wizard.form("2", "U-1", "5.00"))
    wizard.hand_over(
        [{"id": "kept", "name": "Kept Company"}, {"id": "gone", "name": "Gone"}],
        [wizard.document("u1", "U-1", 500, "cl-1")],
    )
    run = wizard.start()
    assert wizard.accept(run) == 2
    assert history.link_confident(bench.fleet, run, actor=ACTOR) == 1
    golive.go_live(bench.fleet, run, HANDLERS, cutover=CUTOVER, decision="export", actor=ACTOR)
    bench.map("customer", "kept", "3")
    with bench.fleet.transaction(TENANT) as connection:
        back = undo.undo(connection, run.run_id, actor=ACTOR, on_mapping_set=nothing_released)
    assert back.undone == {"mapped client": 1, "linked invoice": 1, "set setting": 2}
    assert back.kept == ["what client kept is in QuickBooks stays: somebody changed it since"]
    assert bench.link("invoice", "u1") is None
    assert bench.timeline("invoice", "u1") == ["linked", "unlinked"]
    with bench.fleet.transaction(TENANT) as connection:
        held = mappings.page(connection, TENANT, bench.company_id, kind=mappings.Kind.CUSTOMER)
        resolved = settings.resolve(connection, TENANT, company_id=bench.company_id)
        assert {row.key for row in held} == {"cl-1", "kept"}, (one, two)
        assert (resolved.cutover_date, resolved.auto_sync) == (None, True)
        assert runs.get(connection, run.run_id).state == "undone"
    with pytest.raises(Refusal, match="undone before"), bench.fleet.transaction(TENANT) as connection:
        undo.undo(connection, run.run_id, actor=ACTOR, on_mapping_set=nothing_released)
    assert wizard.writes() == []

"""A batch of which nobody knows what became: looked for, repeated, believed as little as any other call."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from services.ledger import pauses
from services.ledger.operations import Operation
from services.outbound import announcements
from tests.support.batches import alive, arrived, asked, backlog, batch, gather
from tests.support.exporting import TENANT, Workbench, invoice, voided


@pytest.mark.parametrize("trouble", ["cut_before", "cut_after", "server_error"])
def test_an_answer_that_is_lost(workbench: Workbench, trouble: str) -> None:
    """The same bytes under the same request id bring it, and what they made is looked at once more."""
    ids = backlog(workbench, 4, size=4)
    workbench.trouble(trouble, entity="batch", times=1)
    workbench.run(gather(workbench)[0])
    assert batch(workbench).outcome == "unknown"
    assert {one.outcome for one in workbench.operations(ids[0])} == {"unknown"}
    alive(workbench)
    workbench.settle()
    assert asked(workbench, "create") == 0
    arrived(workbench, ids)


def test_the_request_id_is_forgotten(workbench: Workbench) -> None:
    """Nothing guards the numbers, and QuickBooks knows no id: what stands in full is found, and not made again."""
    workbench.prefer("SalesFormsPrefs", CustomTxnNumbers=False)
    ids = backlog(workbench, 4, size=4)
    workbench.trouble("cut_after", entity="batch", times=1)
    workbench.switch(requestid_remembered=False)
    workbench.run(gather(workbench)[0])
    before = workbench.reads
    workbench.settle()
    assert (asked(workbench), workbench.reads) == (1, before + 1)
    assert workbench.timeline("invoice", ids[0])[-1] == "adopted"
    arrived(workbench, ids)


def test_a_refusal_of_a_repeated_item_is_not_believed_before_asking(workbench: Workbench) -> None:
    """One was deleted, the id is forgotten and the books are closed: who is there is adopted, the other one asks."""
    workbench.prefer("SalesFormsPrefs", CustomTxnNumbers=False)
    ids = backlog(workbench, 4, size=4)
    workbench.trouble("cut_after", entity="batch", times=1)
    workbench.run(gather(workbench)[0])
    gone = next(one for one in workbench.objects() if one["DocNumber"] == "INV-02")
    workbench.bookkeeper("delete", entity="Invoice", id=gone["Id"])
    workbench.switch(requestid_forgets_after_seconds=1)
    workbench.advance(5)
    workbench.bookkeeper("close-books", through="2026-10-31")
    workbench.settle()
    assert asked(workbench) == 2
    assert workbench.outcome("invoice", "inv-02")[0] == "failed"
    arrived(workbench, [one for one in ids if one != "inv-02"])


def test_a_repeated_batch_that_is_refused_is_not_believed_before_asking(workbench: Workbench) -> None:
    """The first try may still be at work: nobody goes alone before that is over and it was looked for."""
    ids = backlog(workbench, 4, size=4)
    workbench.trouble("cut_before", entity="batch", times=1)
    workbench.run(gather(workbench)[0])
    workbench.switch(batch_size=3)
    workbench.make_due()
    assert workbench.run(batch(workbench)).code == "read_back"
    assert (batch(workbench).outcome, batch(workbench).state) == ("unknown", "scheduled")
    assert (batch(workbench).due_at - batch(workbench).updated_at).total_seconds() == pytest.approx(
        130, abs=1
    )
    workbench.settle()
    assert (asked(workbench), asked(workbench, "create")) == (2, 4)
    arrived(workbench, ids)


def test_a_question_that_is_refused_lets_nobody_go(workbench: Workbench) -> None:
    """QuickBooks does not want to be asked for a batch: everybody in it stays unknown, and is asked for again."""
    ids = backlog(workbench, 4, size=4)
    workbench.trouble("cut_after", entity="batch", times=1)
    workbench.run(gather(workbench)[0])
    workbench.trouble("fault", operation="query", code="150", times=1)
    workbench.make_due()
    workbench.run(batch(workbench))
    assert batch(workbench).outcome == "unknown"
    assert {one.outcome for one in workbench.operations(ids[0])} == {"unknown"}
    workbench.settle()
    arrived(workbench, ids)


def long_ago(bench: Workbench) -> None:
    """The call was made 13 hours ago."""
    with bench.fleet.transaction(TENANT) as connection:
        connection.execute(
            text(
                "UPDATE operation SET called_at = called_at - interval '13 hours' WHERE kind = 'export_batch'"
            )
        )


def test_an_old_batch_is_looked_for_by_one_question(workbench: Workbench) -> None:
    """Half a day later nobody trusts the id: what is there is adopted, what is not goes alone, looking first."""
    ids = backlog(workbench, 4, size=4)
    workbench.trouble("cut_after", entity="batch", times=1)
    workbench.run(gather(workbench)[0])
    lost = next(one for one in workbench.objects() if one["DocNumber"] == "INV-02")
    workbench.bookkeeper("delete", entity="Invoice", id=lost["Id"])
    long_ago(workbench)
    before = workbench.reads
    workbench.make_due()
    assert workbench.run(batch(workbench)).code == "read_back"
    waits = batch(workbench).due_at - batch(workbench).updated_at
    assert waits.total_seconds() == pytest.approx(130, abs=1)  # it may still be at work there until then
    workbench.make_due()
    assert workbench.run(batch(workbench)).code == "succeeded"
    assert workbench.reads == before + 1
    assert [workbench.outcome("invoice", one)[0] for one in ids] == [
        "succeeded",
        "succeeded",
        "scheduled",
        "succeeded",
    ]
    assert "adopted" in workbench.timeline("invoice", "inv-00")
    workbench.settle()
    assert "read_back" in workbench.timeline("invoice", "inv-02")
    assert asked(workbench) == 1
    arrived(workbench, ids)


def test_a_strangers_document_of_the_same_number_is_not_adopted(workbench: Workbench) -> None:
    """Somebody else entered the number meanwhile: that one document asks a person, the others go."""
    ids = backlog(workbench, 4, size=4)
    workbench.trouble("cut_before", entity="batch", times=1)
    workbench.run(gather(workbench)[0])
    line = {
        "Amount": 90,
        "DetailType": "SalesItemLineDetail",
        "SalesItemLineDetail": {"ItemRef": {"value": "3"}},
    }
    workbench.bookkeeper(
        "create",
        entity="Invoice",
        body={"DocNumber": "INV-00", "CustomerRef": {"value": "2"}, "Line": [line]},
    )
    long_ago(workbench)
    workbench.settle()
    assert workbench.outcome("invoice", ids[0]) == ("failed", "number_in_use")
    assert [workbench.outcome("invoice", one)[0] for one in ids[1:]] == ["succeeded"] * 3
    assert len(workbench.objects()) == 4


def test_one_that_was_deleted_before_the_answer_came_is_asked_about(workbench: Workbench) -> None:
    """The replay tells of a dead id: nothing is linked to it, a person decides, and a retry makes it once."""
    ids = backlog(workbench, 4, size=4)
    workbench.trouble("cut_after", entity="batch", times=1)
    workbench.run(gather(workbench)[0])
    gone = next(one for one in workbench.objects() if one["DocNumber"] == "INV-02")
    workbench.bookkeeper("delete", entity="Invoice", id=gone["Id"])
    workbench.settle()
    assert workbench.outcome("invoice", "inv-02") == ("failed", "deleted_meanwhile")
    assert workbench.link("invoice", "inv-02") is None
    assert len(workbench.objects()) == 3
    workbench.replay(workbench.last("invoice", "inv-02"))
    arrived(workbench, ids)
    assert workbench.codes() == []


def test_a_void_and_a_correction_while_nobody_knows(workbench: Workbench) -> None:
    """What may have been sent is superseded by nothing: void and correction wait for the batch, and follow."""
    ids = backlog(workbench, 4, size=4)
    workbench.trouble("cut_after", entity="batch", times=1)
    workbench.run(gather(workbench)[0])
    workbench.say("invoice.voided", voided(ids[0]), settle=False)
    workbench.say("invoice.corrected", invoice(ids[1], net=60000), settle=False)
    assert [one.state for one in workbench.operations(ids[0])] == ["waiting", "waiting"]
    workbench.settle()
    assert [one.state for one in workbench.operations(ids[0])] == ["succeeded", "succeeded"]
    assert [one.state for one in workbench.operations(ids[1])] == ["succeeded", "succeeded"]
    totals = {one["DocNumber"]: one["TotalAmt"] for one in workbench.objects()}
    assert (totals["INV-00"], totals["INV-01"], len(totals)) == (0, 600, 4)


def test_a_batch_that_wears_out_is_on_the_list_and_replays(workbench: Workbench) -> None:
    """Its documents wait for it and for nothing else; a person hears of it, and a retry finds out what happened."""
    ids = backlog(workbench, 4, size=4)
    workbench.trouble("cut_before", entity="batch", times=1)
    workbench.run(gather(workbench)[0])
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(text("UPDATE operation SET tries = 11 WHERE kind = 'export_batch'"))
    workbench.trouble("server_error", entity="batch", times=1)
    workbench.settle()
    assert workbench.codes() == ["quickbooks_unavailable"]
    assert workbench.outcome("invoice", ids[0]) == ("waiting", "batch")
    alive(workbench)
    workbench.replay(batch(workbench))
    assert workbench.codes() == []
    arrived(workbench, ids)


def test_an_authorization_that_ends_meanwhile(workbench: Workbench) -> None:
    """The batch waits for the reconnect, and goes on under what it was before."""
    ids = backlog(workbench, 4, size=4)
    workbench.trouble("cut_before", entity="batch", times=1)
    workbench.run(gather(workbench)[0])
    workbench.trouble("unauthorized", entity="batch", times=1)
    workbench.settle()
    assert (batch(workbench).state, batch(workbench).outcome) == ("waiting", "unknown")
    alive(workbench)
    workbench.reconnect()
    workbench.settle()
    arrived(workbench, ids)


def stumble(patched: pytest.MonkeyPatch, document_id: str) -> None:
    """A mistake of ours: recording this one document fails."""
    told = announcements.synced

    def synced(connection: Any, operation: Operation, *facts: Any) -> None:
        if operation.document_id == document_id:
            raise RuntimeError("a mistake")
        told(connection, operation, *facts)

    patched.setattr(announcements, "synced", synced)


def test_who_was_in_a_batch_looks_first_whatever_came_between(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in QuickBooks under the batch's request id, so that its own would make it again; even after a pause."""
    workbench.prefer("SalesFormsPrefs", CustomTxnNumbers=False)
    ids = backlog(workbench, 4, size=4)
    with monkeypatch.context() as patched:
        stumble(patched, "inv-02")
        workbench.run(gather(workbench)[0])
    assert workbench.outcome("invoice", "inv-02") == ("scheduled", "read_back")
    stop: dict[str, Any] = {"tenant": TENANT, "company_id": workbench.company_id, "actor": "operator"}
    with workbench.fleet.transaction(TENANT) as connection:
        pauses.pause(connection, "company", reason="lunch", **stop)
    workbench.settle()
    assert workbench.outcome("invoice", "inv-02") == ("waiting", "pause")
    with workbench.fleet.transaction(TENANT) as connection:
        pauses.resume(connection, "company", **stop)
    workbench.settle()
    arrived(workbench, ids)


def test_one_whose_recording_fails_holds_up_only_itself(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours in one document: the others are recorded, and it is found again once that is mended."""
    ids = backlog(workbench, 4, size=4)
    with monkeypatch.context() as patched:
        stumble(patched, "inv-02")
        gather(workbench)
        workbench.settle()
    assert workbench.outcome("invoice", "inv-02") == ("failed", "internal_error")
    assert workbench.outcome("invoice", "inv-03") == ("succeeded", None)
    workbench.replay(workbench.last("invoice", "inv-02"))
    arrived(workbench, ids)

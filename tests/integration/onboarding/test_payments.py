"""Payments of history: balances of linked invoices agree afterwards, nothing is told twice, doubt is left to people."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from services.onboarding import golive, history, payments, reading, runs, undo
from services.onboarding.runs import Run
from services.outbound.handlers import HANDLERS
from services.psa import balances
from services.refusals import Refusal
from tests.integration.onboarding.conftest import ACTOR, Wizard, nothing_released
from tests.support.exporting import TENANT
from tests.support.inbound import InboundBench, bench

__all__ = ["bench"]

STATES = {"open": "sent", "late": "overdue", "done": "paid", "some": "partially_applied"}


@pytest.fixture
def books(wizard: Wizard, bench: InboundBench) -> Wizard:
    """Four invoices of customer 2, each paid half; one payment over two of them, one on an invoice of nobody."""
    wizard.bench = bench
    ids = dict(
        zip(
            STATES,
            wizard.enter("Invoice", *(wizard.form("2", f"N-{name}", "100.00") for name in STATES)),
            strict=True,
        )
    )
    (stranger,) = wizard.enter("Invoice", wizard.form("1", "N-other", "100.00"))
    for invoice in (*ids.values(), stranger):
        bench.receive("50.00", {invoice: "50.00"}, customer="1" if invoice == stranger else "2")
    bench.receive("20.00", {ids["open"]: "10.00", ids["done"]: "10.00"})
    documents = [
        wizard.document(name, f"N-{name}", 10000, "cl-1", state=state) for name, state in STATES.items()
    ]
    wizard.hand_over([{"id": "cl-1", "name": "Cool Cars"}], documents)
    return wizard


@pytest.fixture
def run(books: Wizard) -> Run:
    """A run whose history is linked and whose payments are read."""
    run = books.start()
    assert history.link_confident(books.bench.fleet, run, actor=ACTOR) == 4
    assert reading.read(books.bench.fleet, books.bench.clients, run, ["Payment"])
    return run


def verdicts(books: Wizard, run: Run) -> list[tuple[tuple[str, ...], str]]:
    """Invoices and verdict of every payment."""
    with books.bench.fleet.transaction(TENANT) as connection:
        return sorted((one.invoices, one.verdict) for one in payments.plan(connection, run))


def test_what_is_open_gets_its_money_and_a_rerun_tells_nothing(
    books: Wizard, run: Run, bench: InboundBench
) -> None:
    """Open and overdue invoices get their half; paid ones are left alone, partly paid and mixed ones are for people."""
    assert verdicts(books, run) == [
        ((), "not_ours"),
        (("done",), "paid"),
        (("late",), "bring"),
        (("open",), "bring"),
        (("open", "done"), "review"),
        (("some",), "review"),
    ]
    assert payments.bring_over(bench.fleet, run, actor=ACTOR) == {"new": 2, "seen": 0, "echo": 0}
    bench.settle()
    with bench.fleet.transaction(TENANT) as connection:
        found = balances.of(connection, TENANT, list(STATES))
    assert {id_: sum(part.amount for part in one.parts) for id_, one in found.items()} == {
        "open": 5000,
        "late": 5000,
        "done": 0,
        "some": 0,
    }
    assert len(bench.told("payment.received")) == 2
    assert payments.bring_over(bench.fleet, run, actor=ACTOR) == {"new": 0, "seen": 2, "echo": 0}
    bench.settle()
    assert len(bench.told("payment.received")) == 2
    assert bench.exceptions() == []
    with bench.fleet.transaction(TENANT) as connection:
        kept = undo.undo(connection, run.run_id, actor=ACTOR, on_mapping_set=nothing_released).kept
    assert any("payments that were brought over stay" in sentence for sentence in kept)


def test_a_screen_asks_and_the_fleet_brings(books: Wizard, run: Run, bench: InboundBench) -> None:
    """Asked once, done by the fleet's errand; going live waits for it; nothing asked, nothing done."""
    with bench.fleet.transaction(TENANT) as connection:
        assert payments.ask(connection, run, actor=ACTOR)
        assert not payments.ask(connection, run, actor=ACTOR)
    last: dict[str, Any] = {"cutover": datetime.date(2026, 11, 1), "decision": "export", "actor": ACTOR}
    with pytest.raises(Refusal, match="still being brought over"):
        golive.go_live(bench.fleet, run, HANDLERS, **last)
    assert payments.bring_asked(bench.fleet) == 1
    assert payments.bring_asked(bench.fleet) == 0
    bench.settle()
    assert len(bench.told("payment.received")) == 2
    golive.go_live(bench.fleet, run, HANDLERS, **last)
    with bench.fleet.transaction(TENANT) as connection:
        assert runs.get(connection, run.run_id).state == "finished"


def test_unread_payments_are_a_named_refusal(books: Wizard) -> None:
    """First read, then judge."""
    run = books.start()
    with books.bench.fleet.transaction(TENANT) as connection, pytest.raises(Refusal, match="not read yet"):
        payments.plan(connection, run)

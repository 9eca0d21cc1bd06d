"""After any history of people, cuts and crashes, once everything is settled: a statement has nothing unexplained.

The histories, their seed and how to search longer are those of the inbound tests.
"""

from __future__ import annotations

import itertools
import os
from datetime import date

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from services.database import Database, Role
from services.inbound.reconcile import cost, run
from services.inbound.reconcile.period import Period
from tests.integration.inbound.test_machine import SEED, STEPS, Books
from tests.support.bookkeeping import Trap, open_books
from tests.support.sandbox import Sandbox

EXAMPLES = int(os.environ.get("ALGASYNC_MACHINE_EXAMPLES", "2"))


class Reconciled(Books):
    """The same, with a statement at the end."""

    def agree(self) -> None:
        """Nothing is unexplained, and QuickBooks' total is what its documents say is open."""
        super().agree()
        bench = self.books.bench
        made = run.make(
            bench.fleet,
            lambda call: bench.clients.look(bench.company_id, call),
            bench.company,
            Period(None, date(2030, 12, 31)),
            cost.ask(lambda call: bench.clients.look(bench.company_id, call)),
            actor="controller",
        )
        assert [f"{item.key}: {item.why}" for item in made.listed("unexplained")] == []
        assert made.to_json()["foots"]
        open_ = {"Invoice": "Balance", "CreditMemo": "RemainingCredit", "Payment": "UnappliedAmt"}
        left = {
            entity: sum(round(one[name] * 100) for one in bench.objects(entity))
            for entity, name in open_.items()
        }
        assert made.totals.quickbooks == left["Invoice"] - left["CreditMemo"] - left["Payment"]


@pytest.mark.timeout(60 + 40 * EXAMPLES)
def test_no_history_ends_in_a_false_alarm(database_url: str, sandbox: Sandbox) -> None:
    """Payments, credits, edits, voids, deletions and merges that were told, with cuts and crashes on the way."""
    numbers, trap = itertools.count(1), Trap(database_url)
    with Database(database_url, Role.FLEET, pool_size=8) as fleet:

        class Here(Reconciled):
            make = staticmethod(lambda: open_books(fleet, sandbox, next(numbers), trap))

        run_state_machine_as_test(
            seed(SEED + 1)(Here),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )

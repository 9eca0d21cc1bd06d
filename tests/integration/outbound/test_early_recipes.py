"""What people do by hand is told although it has to wait, and asked for in its turn."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from services.ledger import attempts
from services.outbound import early_recipes
from tests.support.exporting import Workbench, invoice, payment

BOUNCED = {"id": "pay-1", "date": "2026-11-09", "reason": "bounced"}
EXPIRED = {"source_kind": "direct_grant", "source_id": "gr-1", "currency": "USD"}


def by_the_clock(workbench: Workbench) -> Mapping[str, int]:
    """What the scheduled job did."""
    with workbench.fleet.transaction("*") as connection:
        return early_recipes.report(connection)


def test_a_bounced_payment_that_could_not_be_exported(workbench: Workbench) -> None:
    """Both are on the list, each in its own words; once the first is settled the recipe itself takes its place."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500), currency="EUR"))
    workbench.say("payment.reversed", BOUNCED)
    assert [row.state for row in workbench.operations("pay-1", "payment")] == ["failed", "waiting"]
    assert by_the_clock(workbench) == {"opened": 1, "closed": 0}
    failed, told = workbench.exceptions()
    assert (failed.type, failed.code) == ("accounting_sync_export_error", "currency_mismatch")
    assert (told.type, told.code) == ("accounting_sync_waiting", "recipe_waiting")
    assert "Enter an expense in QuickBooks dated 2026-11-09" in told.fix
    assert by_the_clock(workbench) == {"opened": 0, "closed": 0}
    first = workbench.operations("pay-1", "payment")[0]
    with workbench.fleet.transaction(workbench.tenant) as connection:
        attempts.discard(connection, first.operation_id, "controller", "it never came")
    workbench.settle()
    assert workbench.outcome("payment", "pay-1") == ("failed", "unsupported_effect")
    assert by_the_clock(workbench) == {"opened": 0, "closed": 1}
    assert "recipe_waiting" not in workbench.codes()


def test_credit_that_expires_twice(workbench: Workbench) -> None:
    """The second recipe is told while the first is not yet entered, and covers up nothing of it."""
    workbench.say("credit.expired", EXPIRED | {"amount": 500, "date": "2026-11-09"})
    for amount in (700, 900):
        workbench.say("credit.expired", EXPIRED | {"amount": amount, "date": "2026-11-10"})
    by_the_clock(workbench)
    by_the_clock(workbench)
    first, second = workbench.exceptions()
    assert ("takes 5.00 USD" in first.fix, "takes 7.00 USD" in second.fix) == (True, True)
    assert (first.occurrences, second.occurrences) == (1, 1)


@pytest.mark.parametrize("setting", ["expense", "exception"])
def test_what_we_post_ourselves_is_no_recipe(workbench: Workbench, setting: str) -> None:
    """While the connection is lost a person is told what is to be done; not what we do after the reconnect."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    for name, id_ in (("refund_account", "35"), ("receivables_account", "84")):
        workbench.set(name, {"id": id_, "name": name})
    workbench.set("refunds", setting)
    with workbench.fleet.transaction(workbench.tenant) as connection:
        workbench.clients.expired(connection, workbench.company_id, "revoked")
    workbench.say("payment.reversed", BOUNCED)
    assert workbench.outcome("payment", "pay-1") == ("waiting", "company")
    assert by_the_clock(workbench)["opened"] == (setting == "exception")


def test_a_recipe_that_is_on_the_list_is_not_told_again(workbench: Workbench) -> None:
    """It was asked for, somebody tried again, and the connection was lost: one item, the one that was there."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    workbench.say("payment.reversed", BOUNCED)
    assert workbench.outcome("payment", "pay-1") == ("failed", "unsupported_effect")
    with workbench.fleet.transaction(workbench.tenant) as connection:
        workbench.clients.expired(connection, workbench.company_id, "revoked")
        (_, returned) = workbench.operations("pay-1", "payment")
        attempts.replay(connection, returned.operation_id, "controller", "it was entered")
    workbench.settle()
    assert workbench.outcome("payment", "pay-1") == ("waiting", "company")
    assert by_the_clock(workbench)["opened"] == 0

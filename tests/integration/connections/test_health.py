"""The Sync Health card: cycles, work, token, reads and settings, all without asking QuickBooks."""

from __future__ import annotations

from typing import Any

import pytest

from services.connections import catalog, health
from services.connections.health import Health
from services.ledger import pauses
from services.mapping import settings
from services.mapping.settings import Reference
from services.refusals import Refusal
from tests.support.exporting import TENANT
from tests.support.inbound import InboundBench


def card(bench: InboundBench) -> Health:
    """The card as the PSA reads it."""
    with bench.fleet.transaction(TENANT) as connection:
        return health.of(connection, bench.company_id)


def test_cycles(bench: InboundBench) -> None:
    """When all changes were last seen, until where by QuickBooks' clock, and when they are looked for again."""
    first = card(bench)
    cycle = bench.cycle()
    assert (first.complete_cycle_at, first.cursor) == (cycle.finished_at, cycle.cursor_after)
    assert first.next_cycle_at is not None
    assert first.webhook_at is None
    bench.trouble("fault", entity="cdc", code="10000")
    bench.wake("webhook")
    bench.wake("request")
    bench.open_due()
    bench.drain()
    stuck = card(bench)
    assert bench.cycle().state != "complete"
    assert (stuck.complete_cycle_at, stuck.cursor) == (first.complete_cycle_at, first.cursor)
    assert stuck.webhook_at is not None


def test_reads_against_the_budget(bench: InboundBench) -> None:
    """What the month has cost, by operation, next to what it may cost."""
    before = card(bench)
    assert before.read_budget is None
    with bench.fleet.transaction(TENANT) as connection:
        scope = settings.of_company(bench.company_id)
        settings.put(connection, TENANT, scope, "read_budget", 500, actor="admin")
    assert card(bench).read_budget == 500
    assert before.reads_this_month.total == sum(before.reads_this_month.by_operation.values())


def test_work_by_state(bench: InboundBench) -> None:
    """Counts of operations by state, all states named, and when the oldest unfinished one was asked for."""
    bench.invoice("inv-1")
    assert card(bench).oldest_unfinished_at is None
    bench.bill("inv-2")
    shown = card(bench)
    assert shown.operations["queued"] == 1
    assert shown.operations["succeeded"] >= 1
    assert set(shown.operations) == {
        *("queued", "running", "waiting", "scheduled", "succeeded", "skipped", "failed", "discarded")
    }
    assert shown.oldest_unfinished_at is not None


def test_settings_of_the_panel(bench: InboundBench) -> None:
    """Automatic sync, cutover, customers made by themselves, deposit account, class and department, stop switches."""
    scope = settings.of_company(bench.company_id)
    account = {"id": "5", "name": "Checking"}
    with bench.fleet.transaction(TENANT) as connection:
        settings.put(connection, TENANT, scope, "deposit_account", account, actor="admin")
        settings.put(connection, TENANT, scope, "default_class", {"id": "1", "name": "West"}, actor="admin")
        settings.put(connection, TENANT, settings.TENANT, "auto_create_customers", True, actor="admin")
        pauses.pause(connection, "tenant", actor="admin", reason="month end", tenant=TENANT)
    shown = card(bench)
    assert shown.auto_sync
    assert shown.deposit_account == Reference(**account)
    assert (shown.default_class, shown.default_department) == (Reference(id="1", name="West"), None)
    assert (shown.auto_create_customers, shown.paused) == (True, ["tenant"])


def test_processor_payments_that_go_to_a_bank_account(bench: InboundBench) -> None:
    """A warning for each processor, a word for the usual account; none for Undeposited Funds or a clearing account."""
    catalog.read(bench.fleet, bench.clients, TENANT, bench.company_id, ["Account"])
    scope = settings.of_company(bench.company_id)

    def told() -> list[tuple[str, bool]]:
        found = [one for one in card(bench).findings if one.code.endswith("payments_to_bank")]
        return [(one.code, one.risk) for one in found]

    def choose(name: str, value: Any) -> None:
        with bench.fleet.transaction(TENANT) as connection:
            settings.put(connection, TENANT, scope, name, value, actor="admin")

    assert told() == []
    choose("deposit_accounts", {"card:stripe": {"id": "4"}, "check": {"id": "5"}})
    assert told() == []
    choose("deposit_accounts", {"card:stripe": {"id": "5"}, "check": {"id": "5"}})
    assert told() == [("processor_payments_to_bank", True)]
    choose("deposit_account", {"id": "5"})
    assert told() == [("processor_payments_to_bank", True), ("payments_to_bank", False)]


def test_drift_and_exceptions(bench: InboundBench) -> None:
    """A document that was changed in QuickBooks counts as drifted, and its exception as open."""
    external = bench.invoice("inv-1")
    bench.bookkeeper("void", entity="Invoice", id=external)
    bench.poll()
    shown = card(bench)
    assert (shown.drifted, shown.exceptions_open) == (1, 1)


def test_company_of_another_tenant(bench: InboundBench) -> None:
    """There is no card for it."""
    with (
        bench.fleet.transaction("somebody-else") as connection,
        pytest.raises(Refusal, match="no QuickBooks"),
    ):
        health.of(connection, bench.company_id)

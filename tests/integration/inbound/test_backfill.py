"""Payments from before the feed, handed over by whoever read the company's history."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from services.inbound import backfill
from services.quickbooks import calls
from services.quickbooks.query import select
from tests.support.exporting import TENANT
from tests.support.inbound import InboundBench


def take(bench: InboundBench) -> Counter[str]:
    """Hand over every payment that the company has."""
    reply = bench.clients.look(bench.company_id, calls.query(select("Payment").order_by("Id").page(1, 1000)))
    rows: list[dict[str, Any]] = reply.data["QueryResponse"].get("Payment", [])
    with bench.fleet.transaction(TENANT) as connection:
        counted = backfill.take(connection, bench.company, rows)
    bench.settle()
    return counted


def test_history_becomes_partly_paid_invoices_and_a_second_run_applies_nothing(bench: InboundBench) -> None:
    """Only what pays a linked invoice arrives; the feed, told of the same payment later, sees it as known."""
    native = bench.native(100.0)
    stranger = bench.native(50.0, customer="1")
    paid = bench.receive("60.00", {native: "60.00"}, date="2026-10-12")
    bench.receive("50.00", {stranger: "50.00"}, customer="1", date="2026-10-13")
    bench.advance(900)
    with bench.fleet.transaction(TENANT) as connection:
        later = {"h": timedelta(minutes=15)}
        connection.execute(
            text("UPDATE change_feed SET cursor = cursor + :h, begins_at = begins_at + :h"), later
        )
    bench.poll()
    bench.known_before("inv-1", native, 10000)
    assert take(bench) == {"new": 2}
    assert bench.due("inv-1") == [4000]
    (told,) = bench.told("payment.received")
    assert (told["quickbooks_id"], told["payment"]["date"]) == (paid, "2026-10-12")
    assert take(bench) == {"seen": 2}
    bench.edit_payment(paid, {native: 70}, TotalAmt=70)
    bench.poll()
    assert bench.due("inv-1") == [3000]
    assert len(bench.told("payment.received")) == len(bench.told("payment.changed")) == 1
    assert bench.exceptions() == []


def test_a_payment_of_ours_is_not_told_back(bench: InboundBench) -> None:
    """The history holds what we exported ourselves: an echo there too."""
    bench.invoice("inv-1")
    bench.pay("pay-1", 4000, {"inv-1": 4000})
    assert take(bench) == {"echo": 1}
    assert bench.told("payment.received") == []
    assert bench.due("inv-1") == [6000]

"""Traces: one from billing over the call to QuickBooks to the event that goes back, and none unless asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import text

import outbox
from services.cli import tracing
from services.cli.tracing import Tracing
from services.ledger.runner import Runner, Verdict
from services.outbound.handlers import HANDLERS
from tests.support.exporting import TENANT, Workbench, invoice
from workers.fleet import Fleet

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def spans(exporter: InMemorySpanExporter) -> Mapping[str, ReadableSpan]:
    """Finished spans by name."""
    return {span.name: span for span in exporter.get_finished_spans()}


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Keeps spans in memory."""
    return InMemorySpanExporter()


@pytest.fixture
def fleet(workbench: Workbench, exporter: InMemorySpanExporter) -> Fleet:
    """What the actors call, traced."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traced = Tracing(provider, workbench.fleet)
    runner = Runner(
        workbench.fleet,
        HANDLERS,
        traced.clients(workbench.clients),
        workbench.desk,
        lease=timedelta(seconds=20),
        call_within=timedelta(seconds=3),
        replay_within=timedelta(hours=12),
    )
    return traced.fleet(
        Fleet(
            intake=lambda body, _: workbench.intake.take_over(body),
            run=runner.run,
            file_letter=lambda _: None,
            ask_database=lambda: None,
            notify=lambda _: None,
        )
    )


def emit(workbench: Workbench, document_id: str) -> bytes:
    """Emit within a trace of billing's."""
    with workbench.fleet.transaction(TENANT) as connection:
        made = outbox.emit(
            connection,
            TENANT,
            "invoice.finalized.v1",
            document_id,
            invoice(document_id),
            traceparent=TRACEPARENT,
        )
        query = text("SELECT body FROM outbox_event WHERE event_id = :id")
        return str(connection.execute(query, {"id": made.event_id}).scalar_one()).encode()


def run(workbench: Workbench, fleet: Fleet, document_id: str) -> Verdict:
    """Run the only operation of a document."""
    one = workbench.last("invoice", document_id)
    return fleet.run(one.operation_id, one.attempt)


def test_one_trace_from_billing_to_quickbooks_and_back(
    workbench: Workbench, fleet: Fleet, exporter: InMemorySpanExporter
) -> None:
    """Intake, operation and call are spans of the trace that billing began; the accounting event carries it back."""
    fleet.intake(emit(workbench, "inv-1"), {"traceparent": TRACEPARENT, "tenant": TENANT})
    assert not run(workbench, fleet, "inv-1").reject
    found = spans(exporter)
    assert set(found) == {"take over", "export_invoice", "quickbooks create"}
    for span in found.values():
        assert span.context is not None
        assert f"{span.context.trace_id:032x}" == TRACE
    called, operation = found["quickbooks create"], found["export_invoice"]
    assert called.parent is not None
    assert operation.context is not None
    assert called.parent.span_id == operation.context.span_id
    assert called.attributes is not None
    assert called.attributes["quickbooks.entity"] == "Invoice"
    assert called.attributes["quickbooks.intuit_tid"]
    with workbench.fleet.transaction(TENANT) as connection:
        query = text("SELECT body FROM outbox_event WHERE type = 'document.synced.v1'")
        synced = json.loads(connection.execute(query).scalar_one())
    assert synced["traceparent"].split("-")[1] == TRACE
    assert synced["traceparent"] != TRACEPARENT


def test_a_failure_shows_in_its_span(
    workbench: Workbench, fleet: Fleet, exporter: InMemorySpanExporter
) -> None:
    """A refused operation is an error with its reason, and nothing secret is in any attribute."""
    workbench.trouble("fault", entity="invoice", code="6000")
    fleet.intake(emit(workbench, "inv-1"), {})
    assert run(workbench, fleet, "inv-1").reject
    span = spans(exporter)["export_invoice"]
    assert not span.status.is_ok
    told = str(
        [(one.attributes, one.events, one.status.description) for one in exporter.get_finished_spans()]
    )
    assert workbench.clients.token not in told


def test_nobody_asked_nobody_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an endpoint in the environment there is no provider, and OpenTelemetry is not even imported."""
    monkeypatch.delenv(tracing.ENDPOINT, raising=False)
    assert tracing.provider("algasync test") is None


def test_spans_go_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an endpoint, spans are exported there under the process' name."""
    monkeypatch.setenv(tracing.ENDPOINT, "http://127.0.0.1:1")
    made = tracing.provider("algasync test")
    assert made is not None
    assert made.resource.attributes["service.name"] == "algasync test"
    made.shutdown()
